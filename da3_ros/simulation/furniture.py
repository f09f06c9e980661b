# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Seeded pieces that stand, hang or lie in a scene, each made of a few primitives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from da3_ros.simulation.materials import random_colour, random_material
from da3_ros.simulation.scene import Material, Primitive, Shape, Texture, Vector
import numpy as np


@dataclass(frozen=True)
class Part:
    """
    A primitive in the frame of its piece (x forward, z up, origin on the ground).

    :param shape: which.
    :param centre: x, y, z [m].
    :param half_size: [m].
    :param material: its look.
    """

    shape: Shape
    centre: Sequence[float] | Vector
    half_size: Sequence[float] | Vector
    material: Material


def rotation_z(angle_rad: float) -> Vector:
    """Return the (3, 3) rotation about z."""
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def place(parts: Sequence[Part], position: Vector, yaw_rad: float) -> list[Primitive]:
    """
    Put a piece into the world.

    :param parts: the piece.
    :param position: (3,) [m] of its origin, world.
    :param yaw_rad: its heading about z.
    """
    world_R_piece = rotation_z(yaw_rad)
    return [
        Primitive(
            part.shape, position + world_R_piece @ np.asarray(part.centre, dtype=np.float64),
            np.asarray(part.half_size, dtype=np.float64), world_R_piece, part.material,
        )
        for part in parts
    ]


def radius(parts: Sequence[Part]) -> float:
    """Return the radius [m] of the circle on the ground around a piece's origin."""
    return max(
        float(np.linalg.norm(np.abs(part.centre[:2]) + part.half_size[:2])) for part in parts)


def table(rng: np.random.Generator) -> list[Part]:
    """Make a table with something on it."""
    x, y, height = rng.uniform(0.35, 0.6), rng.uniform(0.5, 0.9), rng.uniform(0.55, 0.85)
    wood = random_material(rng, cells_per_m=(3.0, 9.0))
    legs = random_material(rng, cells_per_m=(6.0, 16.0))
    parts = [Part(Shape.BOX, (0.0, 0.0, height - 0.025), (x, y, 0.025), wood)]
    parts += [
        Part(Shape.BOX, (i * (x - 0.06), j * (y - 0.06), 0.5 * height - 0.025),
             (0.03, 0.03, 0.5 * height - 0.025), legs)
        for i in (-1, 1) for j in (-1, 1)
    ]
    for _ in range(int(rng.integers(1, 4))):
        size = rng.uniform(0.05, 0.16, 3)
        shape = (Shape.BOX, Shape.ELLIPSOID, Shape.CYLINDER)[int(rng.integers(3))]
        if shape is not Shape.BOX:
            size[1] = size[0]
        centre = (*(rng.uniform(-0.6, 0.6, 2) * (x, y)), height + size[2])
        parts.append(Part(shape, centre, size, random_material(rng, cells_per_m=(5.0, 16.0))))
    return parts


def shelf(rng: np.random.Generator) -> list[Part]:
    """Make a shelf with rows of books."""
    depth, width, height = rng.uniform(0.14, 0.2), rng.uniform(0.4, 0.75), rng.uniform(1.2, 2.0)
    wood = random_material(rng, cells_per_m=(3.0, 8.0))
    num_rows = int(rng.integers(3, 5))
    row_height = height / num_rows
    sides = [
        Part(Shape.BOX, (0.0, side * width, 0.5 * height), (depth, 0.02, 0.5 * height), wood)
        for side in (-1, 1)
    ]
    back = Part(
        Shape.BOX, (-depth, 0.0, 0.5 * height), (0.015, width, 0.5 * height),
        random_material(rng, cells_per_m=(2.0, 6.0)))
    parts = [*sides, back]
    for row in range(num_rows + 1):
        bottom = row * row_height
        parts.append(Part(Shape.BOX, (0.0, 0.0, bottom), (depth, width, 0.02), wood))
        if row == num_rows:
            break
        left = -width + 0.05
        for _ in range(2):
            books = rng.uniform(0.12, 0.4) * width
            high = 0.5 * row_height * rng.uniform(0.5, 0.85)
            look = random_material(
                rng, cells_per_m=(9.0, 16.0), patterns=(Texture.STRIPES, Texture.PATCHES))
            parts.append(Part(
                Shape.BOX, (0.02, left + books, bottom + 0.02 + high), (0.12, books, high), look))
            left += 2.0 * books + rng.uniform(0.03, 0.2)
    return parts


def sofa(rng: np.random.Generator) -> list[Part]:
    """Make a sofa."""
    width = rng.uniform(0.5, 1.0)
    cloth = random_material(rng, cells_per_m=(2.0, 8.0))
    cushion = random_material(rng, cells_per_m=(4.0, 10.0))
    return [
        Part(Shape.BOX, (0.0, 0.0, 0.22), (0.4, width, 0.2), cloth),
        Part(Shape.BOX, (-0.36, 0.0, 0.55), (0.1, width, 0.3), cloth),
        Part(Shape.BOX, (0.0, -width, 0.35), (0.42, 0.1, 0.3), cloth),
        Part(Shape.BOX, (0.0, width, 0.35), (0.42, 0.1, 0.3), cloth),
        Part(Shape.ELLIPSOID, (-0.15, 0.4 * width, 0.52), (0.1, 0.22, 0.18), cushion),
    ]


def crates(rng: np.random.Generator) -> list[Part]:
    """Make a stack of crates."""
    parts: list[Part] = []
    bottom = 0.0
    size = rng.uniform(0.2, 0.45, 3)
    for _ in range(int(rng.integers(1, 4))):
        offset = rng.uniform(-0.08, 0.08, 2)
        parts.append(Part(
            Shape.BOX, (*offset, bottom + size[2]), size, random_material(rng)))
        bottom += 2.0 * size[2]
        size = size * rng.uniform(0.55, 0.95, 3)
    return parts


def barrel(rng: np.random.Generator) -> list[Part]:
    """Make a barrel, a bin or a post."""
    thick, high = rng.uniform(0.08, 0.4), rng.uniform(0.2, 0.9)
    return [Part(Shape.CYLINDER, (0.0, 0.0, high), (thick, thick, high), random_material(rng))]


def ball(rng: np.random.Generator) -> list[Part]:
    """Make a ball or an egg on the ground."""
    half = rng.uniform(0.15, 0.5) * np.array([1.0, 1.0, rng.uniform(0.7, 1.3)])
    return [Part(Shape.ELLIPSOID, (0.0, 0.0, half[2]), half, random_material(rng))]


def plant(rng: np.random.Generator) -> list[Part]:
    """Make a pot with a bush."""
    pot, stem = rng.uniform(0.12, 0.25), rng.uniform(0.1, 0.5)
    bush = rng.uniform(0.2, 0.45, 3)
    green = random_colour(rng, saturation=(0.4, 0.8), value=(0.25, 0.6))
    leaves = Material(
        Texture.NOISE, (0.3 * green[0], green[1], 0.3 * green[2]), (0.02, 0.06, 0.01),
        cells_per_m=float(rng.uniform(4.0, 9.0)), seed=int(rng.integers(1 << 20)), detail=0.9)
    bark = random_material(rng, cells_per_m=(8.0, 16.0))
    return [
        Part(Shape.CYLINDER, (0.0, 0.0, pot), (pot, pot, pot), random_material(rng)),
        Part(Shape.CYLINDER, (0.0, 0.0, 2 * pot + stem), (0.04, 0.04, stem), bark),
        Part(Shape.ELLIPSOID, (0.0, 0.0, 2 * pot + 2 * stem + 0.6 * bush[2]), bush, leaves),
    ]


STANDING: tuple[Callable[[np.random.Generator], list[Part]], ...] = (
    table, shelf, sofa, crates, crates, barrel, ball, plant)
AT_WALLS: tuple[Callable[[np.random.Generator], list[Part]], ...] = (shelf, shelf, sofa, crates)


def picture(rng: np.random.Generator) -> list[Part]:
    """Make a picture for a wall; it looks along x, its origin is on the wall."""
    half = (0.015, rng.uniform(0.2, 0.7), rng.uniform(0.2, 0.55))
    frame = random_material(rng, cells_per_m=(4.0, 10.0))
    look = random_material(rng, cells_per_m=(2.0, 7.0))
    return [
        Part(Shape.BOX, (0.0, 0.0, 0.0), (half[0], half[1] + 0.05, half[2] + 0.05), frame),
        Part(Shape.BOX, (0.01, 0.0, 0.0), half, look),
    ]
