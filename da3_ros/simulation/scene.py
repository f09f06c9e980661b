# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Descriptions of rendered scenes, and their layout as flat arrays.

World axes are x, y on the ground and z up, in metres. A scene is data only: ``renderer`` casts
rays at it on a CPU, and ``training`` has a CUDA kernel for the same arrays. Both follow this
text; ``texture`` and ``shading`` state their formulas in the same way.

Arrays (float32, row-major), as ``Scene.arrays`` returns them:

``primitives`` (P, 16)
    0 shape (``Shape``; -1 = unused row), 1-3 centre in the world, 4-6 half size along the local
    axes, 7-15 ``world_R_local`` row by row.
``materials`` (P, 13), one per primitive
    0 texture kind (``Texture``), 1-3 colour a, 4-6 colour b (linear RGB), 7 cells per metre,
    8 cosine and 9 sine of the in-plane angle, 10 seed (an integer below 2^20), 11 detail
    (amplitude of the fine noise), 12 gloss.
``lights`` (L, 7)
    0 one if directional, 1-3 position of the lamp or unit vector towards the sun, 4-6 linear RGB.
``environment`` (9,)
    0-2 ambient light, 3-5 radiance of the sky at the horizon, 6-8 at the zenith.

Shapes in their local frame, with h = half size and q = p / h:

``BOX``       max(abs(q)) = 1.
``ELLIPSOID`` abs(q) = 1.
``CYLINDER``  q.x^2 + q.y^2 = 1 between the caps q.z = -1 and q.z = 1.
``PLANE``     z = 0, abs(q.x) <= 1, abs(q.y) <= 1; seen from both sides, casts no shadow.

Solids are seen from outside only: a ray that starts inside one does not hit it. Where no ray
hits, depth is +inf and the sky shines: radiance = horizon + (zenith - horizon) * sqrt(max(0, e.z))
with e the ray's unit direction.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Floats = NDArray[np.float32]
Colour = tuple[float, float, float]


class Shape(IntEnum):
    """Kind of a primitive."""

    BOX = 0
    ELLIPSOID = 1
    CYLINDER = 2
    PLANE = 3


class Texture(IntEnum):
    """Kind of a procedural texture; formulas in ``texture``."""

    NOISE = 0
    CHECKER = 1
    STRIPES = 2
    BRICKS = 3
    SPOTS = 4
    PATCHES = 5


@dataclass(frozen=True)
class Material:
    """
    Look of a surface.

    :param texture: which pattern mixes the two colours.
    :param colour_a: linear RGB in [0, 1].
    :param colour_b: linear RGB in [0, 1].
    :param cells_per_m: frequency of the pattern [1/m].
    :param angle_rad: rotation of the pattern in the surface.
    :param seed: integer in [0, 2^20).
    :param detail: amplitude of the fine noise over the pattern, in [0, 1].
    :param gloss: strength of the highlight, in [0, 1].
    """

    texture: Texture
    colour_a: Colour
    colour_b: Colour
    cells_per_m: float
    angle_rad: float = 0.0
    seed: int = 0
    detail: float = 0.5
    gloss: float = 0.0

    def row(self) -> list[float]:
        """Return the material's row of the array ``materials``."""
        return [
            float(self.texture), *self.colour_a, *self.colour_b, self.cells_per_m,
            float(np.cos(self.angle_rad)), float(np.sin(self.angle_rad)),
            float(self.seed), self.detail, self.gloss,
        ]


@dataclass(frozen=True, eq=False)
class Primitive:
    """
    One solid or plane.

    :param shape: which.
    :param centre: (3,) [m], world.
    :param half_size: (3,) [m], along the local axes.
    :param world_R_local: (3, 3).
    :param material: its look.
    """

    shape: Shape
    centre: Vector
    half_size: Vector
    world_R_local: Vector
    material: Material

    def row(self) -> list[float]:
        """Return the primitive's row of the array ``primitives``."""
        return [float(self.shape), *self.centre, *self.half_size, *self.world_R_local.ravel()]


@dataclass(frozen=True, eq=False)
class Light:
    """
    A lamp or the sun.

    :param directional: whether ``vector`` is a direction.
    :param vector: (3,) position of the lamp [m] or unit vector towards the sun, world.
    :param colour: linear RGB; above 1 for strong lights.
    """

    directional: bool
    vector: Vector
    colour: Colour


@dataclass(frozen=True)
class Environment:
    """
    What shines from everywhere.

    :param ambient: linear RGB of the indirect light.
    :param horizon: linear RGB of the sky at the horizon.
    :param zenith: linear RGB of the sky overhead.
    """

    ambient: Colour
    horizon: Colour = (0.0, 0.0, 0.0)
    zenith: Colour = (0.0, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class SceneArrays:
    """
    A scene as the renderers take it; the module's text gives the columns.

    :param primitives: (P, 16) float32.
    :param materials: (P, 13) float32.
    :param lights: (L, 7) float32.
    :param environment: (9,) float32.
    """

    primitives: Floats
    materials: Floats
    lights: Floats
    environment: Floats


@dataclass(frozen=True, eq=False)
class Scene:
    """
    A place with truth.

    :param primitives: solids and planes.
    :param lights: at least one.
    :param environment: ambient light and sky.
    :param lower: (3,) [m], least corner of the region where cameras may move.
    :param upper: (3,) [m], its greatest corner.
    """

    primitives: tuple[Primitive, ...]
    lights: tuple[Light, ...]
    environment: Environment
    lower: Vector
    upper: Vector

    def arrays(self) -> SceneArrays:
        """Lay the scene out as flat arrays."""
        environment = self.environment
        return SceneArrays(
            primitives=np.array([p.row() for p in self.primitives], dtype=np.float32),
            materials=np.array([p.material.row() for p in self.primitives], dtype=np.float32),
            lights=np.array(
                [[float(x.directional), *x.vector, *x.colour] for x in self.lights],
                dtype=np.float32,
            ),
            environment=np.array(
                [*environment.ambient, *environment.horizon, *environment.zenith],
                dtype=np.float32,
            ),
        )

    def clearance(self, points: Vector) -> Vector:
        """
        Return a lower bound of the distance to the nearest solid or to the region's border.

        :param points: (N, 3) [m], world.
        :returns: (N,) [m]; negative outside of the region, zero or less inside a solid.
        """
        border = np.minimum(points - self.lower, self.upper - points).min(axis=1)
        solids = [p for p in self.primitives if p.shape is not Shape.PLANE]
        if not solids:
            return np.asarray(border)
        centres = np.stack([p.centre for p in solids])
        half_sizes = np.stack([p.half_size for p in solids])
        rotations = np.stack([p.world_R_local for p in solids])
        offsets = points[:, None] - centres
        local = np.abs(np.einsum('pji,npj->npi', rotations, offsets)) - half_sizes
        outside = np.linalg.norm(np.maximum(local, 0.0), axis=2)
        inside = np.minimum(local.max(axis=2), 0.0)
        nearest: Vector = np.minimum(border, (outside + inside).min(axis=1))
        return nearest
