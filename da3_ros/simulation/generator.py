# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Seeded generators of rooms and outdoor courts."""

from enum import Enum

from da3_ros.simulation import furniture
from da3_ros.simulation.furniture import Part
from da3_ros.simulation.materials import random_colour, random_material, wall_material
from da3_ros.simulation.scene import (
    Environment,
    Light,
    Material,
    Primitive,
    Scene,
    Shape,
    Texture,
    Vector,
)
import numpy as np

_FLOORS = (Texture.CHECKER, Texture.STRIPES, Texture.BRICKS, Texture.NOISE, Texture.PATCHES)
_WALLS = (Texture.BRICKS, Texture.NOISE, Texture.STRIPES, Texture.SPOTS)
_GROUND_M = 60.0
_BORDER_M = 0.25
_LOWEST_M = 0.2


class Place(Enum):
    """Kind of a scene."""

    ROOM = 'room'
    COURT = 'court'


def generate_scene(
    seed: int, place: Place = Place.ROOM, *, furnished: float = 1.0
) -> Scene:
    """
    Generate a scene; the same arguments give the same scene.

    :param seed: not negative.
    :param place: a furnished room, or a court under the sky with walls around.
    :param furnished: share of the usual number of pieces of furniture.
    """
    rng = np.random.default_rng((seed, list(Place).index(place)))
    return _room(rng, furnished) if place is Place.ROOM else _court(rng, furnished)


def _room(rng: np.random.Generator, furnished: float) -> Scene:
    half = np.array([rng.uniform(1.8, 4.5), rng.uniform(1.8, 4.5)])
    height = float(rng.uniform(2.3, 3.6))
    walls = wall_material(rng, _WALLS)
    primitives = [
        _plane((0.0, 0.0, 0.0), half, np.eye(3), wall_material(rng, _FLOORS)),
        _plane((0.0, 0.0, height), half, np.diag([1.0, -1.0, -1.0]), wall_material(rng, _WALLS)),
    ]
    for side in range(4):
        look = walls if rng.uniform() < 0.4 else wall_material(rng, _WALLS)
        depth, width = half[side % 2], half[1 - side % 2]
        world_R_wall = furniture.rotation_z(0.5 * np.pi * side)
        primitives.append(_plane(
            world_R_wall @ np.array([-depth, 0.0, 0.5 * height]), (width, 0.5 * height),
            world_R_wall @ _UPRIGHT, look))
        for _ in range(int(rng.integers(1, 4))):
            hung = np.array([
                -depth, rng.uniform(-0.8, 0.8) * width, rng.uniform(0.45, 0.75) * height])
            primitives += furniture.place(
                furniture.picture(rng), world_R_wall @ hung, 0.5 * np.pi * side)
    primitives += _furnish(
        rng, half, num_at_walls=round(4 * furnished),
        num_standing=round(furnished * int(rng.integers(4, 9))))
    lights = tuple(
        Light(False, np.array([*(rng.uniform(-0.6, 0.6, 2) * half), 0.92 * height]), colour)
        for colour in _lamp_colours(rng)
    )
    ambient = float(rng.uniform(0.3, 0.5))
    return Scene(
        tuple(primitives), lights, Environment((ambient, ambient, ambient)),
        lower=np.array([-half[0] + _BORDER_M, -half[1] + _BORDER_M, _LOWEST_M]),
        upper=np.array([half[0] - _BORDER_M, half[1] - _BORDER_M, height - _BORDER_M]),
    )


def _court(rng: np.random.Generator, furnished: float) -> Scene:
    half = rng.uniform(4.0, 10.0, 2)
    primitives = [_plane(
        (0.0, 0.0, 0.0), (_GROUND_M, _GROUND_M), np.eye(3), wall_material(rng, _FLOORS))]
    for side in range(4):
        depth, width = half[side % 2], half[1 - side % 2]
        world_R_wall = furniture.rotation_z(0.5 * np.pi * side)
        left = -width
        while left < width:
            segment = min(rng.uniform(1.5, 5.0), width - left)
            height = rng.uniform(1.0, 5.0)
            if rng.uniform() < 0.8:
                block = Part(
                    Shape.BOX, (-depth - 0.5, left + 0.5 * segment, 0.5 * height),
                    (0.5, 0.5 * segment, 0.5 * height), wall_material(rng, _WALLS))
                primitives += furniture.place([block], np.zeros(3), 0.5 * np.pi * side)
                hung = np.array([-depth, left + 0.5 * segment, 0.55 * height])
                primitives += furniture.place(
                    furniture.picture(rng), world_R_wall @ hung, 0.5 * np.pi * side)
            left += segment
    primitives += _furnish(
        rng, half, num_at_walls=round(4 * furnished),
        num_standing=round(furnished * int(rng.integers(8, 15))))
    azimuth, elevation = rng.uniform(0.0, 2.0 * np.pi), np.radians(rng.uniform(25.0, 65.0))
    towards_sun = np.array([
        np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation),
        np.sin(elevation)])
    sun = Light(True, towards_sun, (1.0, 0.95, 0.85))
    sky = Environment(
        ambient=(0.32, 0.35, 0.4), horizon=(0.75, 0.8, 0.85),
        zenith=random_colour(rng, saturation=(0.3, 0.7), value=(0.6, 0.95)))
    return Scene(
        tuple(primitives), (sun,), sky,
        lower=np.array([-half[0] + _BORDER_M, -half[1] + _BORDER_M, _LOWEST_M]),
        upper=np.array([half[0] - _BORDER_M, half[1] - _BORDER_M, 3.0]),
    )


# Columns: the wall's horizontal direction, up, and the normal into the room (x of the piece).
_UPRIGHT: Vector = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def _plane(
    centre: Vector | tuple[float, float, float], half: Vector | tuple[float, float],
    world_R_local: Vector, material: Material,
) -> Primitive:
    return Primitive(
        Shape.PLANE, np.asarray(centre, dtype=np.float64), np.array([half[0], half[1], 1.0]),
        world_R_local, material)


def _lamp_colours(rng: np.random.Generator) -> list[tuple[float, float, float]]:
    total = rng.uniform(0.7, 1.1)
    num_lamps = int(rng.integers(1, 3))
    return [
        (total / num_lamps, total / num_lamps * rng.uniform(0.85, 1.0),
         total / num_lamps * rng.uniform(0.7, 1.0))
        for _ in range(num_lamps)
    ]


def _furnish(
    rng: np.random.Generator, half: Vector, *, num_at_walls: int, num_standing: int,
) -> list[Primitive]:
    """Fill the ground without overlaps; pieces that find no room are left out."""
    taken: list[tuple[Vector, float]] = []
    primitives: list[Primitive] = []
    for number in range(num_at_walls + num_standing):
        at_wall = number < num_at_walls
        choice = furniture.AT_WALLS if at_wall else furniture.STANDING
        piece = choice[int(rng.integers(len(choice)))](rng)
        reach = furniture.radius(piece)
        for _ in range(10):
            side = int(rng.integers(4))
            yaw = 0.5 * np.pi * side if at_wall else rng.uniform(0.0, 2.0 * np.pi)
            limit = np.maximum(half - reach, 0.0)
            centre = rng.uniform(-1.0, 1.0, 2) * limit
            if at_wall:
                depth = max(part.half_size[0] - part.centre[0] for part in piece)
                local = np.array([depth - half[side % 2], centre[1 - side % 2], 0.0])
                centre = (furniture.rotation_z(yaw) @ local)[:2]
            if all(np.linalg.norm(centre - c) > reach + r for c, r in taken):
                taken.append((centre, reach))
                primitives += furniture.place(piece, np.array([*centre, 0.0]), yaw)
                break
    for _ in range(int(rng.integers(0, 4))):
        primitives += _floating(rng, half)
    return primitives


def _floating(rng: np.random.Generator, half: Vector) -> list[Primitive]:
    """Hang a thing in the air at any angle: geometry that no floor explains."""
    axis_1, axis_2 = np.linalg.qr(rng.normal(size=(3, 3)))[0][:, :2].T
    world_R_local = np.column_stack([axis_1, axis_2, np.cross(axis_1, axis_2)])
    size = np.exp(rng.uniform(np.log(0.08), np.log(0.35), 3))
    shape = (Shape.BOX, Shape.ELLIPSOID, Shape.CYLINDER)[int(rng.integers(3))]
    centre = np.array([*(rng.uniform(-0.8, 0.8, 2) * half), rng.uniform(1.4, 2.2)])
    return [Primitive(shape, centre, size, world_R_local, random_material(rng))]
