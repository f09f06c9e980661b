# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Light on surfaces; every renderer of the scenes computes these formulas.

At a point x with unit normal n, unit direction c to the camera, albedo a, gloss g, world frame:

    light l: to = position - x (lamp) or direction (sun); e = to / |to|
             strength = colour * visible, for a lamp also / (1 + 0.05 |to|^2)
             lambert = max(0, n.e)
             highlight = g * max(0, n.normalise(e + c))^32 where lambert > 0, else 0
    radiance = a * (ambient * (0.8 + 0.2 n_z) + sum strength * lambert) + sum strength * highlight

``visible`` is 0 where a BOX, ELLIPSOID or CYLINDER is entered by the ray from x + 0.002 n towards
the light, before the lamp: 0 < t < 1 with direction ``to`` for a lamp, 0 < t for the sun. A point
in shadow keeps the ambient light.
"""

from da3_ros.simulation import intersection
from da3_ros.simulation.scene import Floats, SceneArrays, Shape
import numpy as np
from numpy.typing import NDArray

_OFFSET_M = np.float32(0.002)
_SLACK_M = 0.001


def sky(environment: Floats, up: Floats) -> Floats:
    """
    Return the sky's radiance.

    :param environment: (9,) as in ``SceneArrays``.
    :param up: (N,) z of the unit rays, world frame.
    :returns: (3, N).
    """
    height = np.sqrt(np.maximum(up, 0.0))
    horizon, zenith = environment[3:6, None], environment[6:9, None]
    radiance: Floats = horizon + (zenith - horizon) * height
    return radiance


def illuminate(
    arrays: SceneArrays, point: Floats, *,
    normal: Floats, to_camera: Floats, albedo: Floats, gloss: Floats,
) -> Floats:
    """
    Return the radiance of surfaces.

    :param arrays: the scene.
    :param point: (3, N) [m], world.
    :param normal: (3, N), unit, world.
    :param to_camera: (3, N), unit, world.
    :param albedo: (3, N).
    :param gloss: (N,).
    :returns: (3, N).
    """
    diffuse = arrays.environment[:3, None] * (0.8 + 0.2 * normal[2])
    shine = np.zeros_like(diffuse)
    for light in arrays.lights:
        if light[0] > 0.5:
            to_light = np.broadcast_to(light[1:4, None], point.shape)
            strength = np.ones_like(gloss)
        else:
            to_light = light[1:4, None] - point
            strength = 1.0 / (1.0 + 0.05 * (to_light * to_light).sum(axis=0))
        unit = to_light / np.sqrt((to_light * to_light).sum(axis=0))
        lambert = np.maximum((normal * unit).sum(axis=0), 0.0)
        lit = np.flatnonzero(lambert)
        shadow = _shadow(arrays.primitives, light, (point + _OFFSET_M * normal)[:, lit])
        strength[lit[shadow]] = 0.0
        diffuse += light[4:7, None] * (strength * lambert)
        glossy = np.flatnonzero((gloss > 0.0) & (lambert > 0.0))
        half = unit[:, glossy] + to_camera[:, glossy]
        half /= np.sqrt((half * half).sum(axis=0)) + 1e-6
        highlight = gloss[glossy] * np.maximum((normal[:, glossy] * half).sum(axis=0), 0.0) ** 32
        shine[:, glossy] += light[4:7, None] * (strength[glossy] * highlight)
    radiance: Floats = albedo * diffuse + shine
    return radiance


def _shadow(primitives: Floats, light: Floats, point: Floats) -> NDArray[np.bool_]:
    """Return (N,): whether something stands between the points and the light."""
    shadow = np.zeros(point.shape[1], dtype=bool)
    beam = _Sunbeam(light[1:4], point) if light[0] > 0.5 else _Lampbeam(light[1:4], point)
    for row in primitives:
        shape = int(row[0])
        if shape < 0 or shape == Shape.PLANE:
            continue
        candidate = np.flatnonzero(beam.may_pass(row) & ~shadow)
        if len(candidate) == 0:
            continue
        local_R_world = row[7:16].reshape(3, 3).T
        origin = local_R_world @ (point[:, candidate] - row[1:4, None])
        direction = local_R_world @ beam.direction(point[:, candidate])
        distance = intersection.first_hit(Shape(shape), origin, direction, row[4:7])
        shadow[candidate[(distance > 0.0) & (distance < beam.end)]] = True
    return shadow


class _Lampbeam:
    """Segments from points to a lamp."""

    end = 1.0

    def __init__(self, lamp: Floats, point: Floats) -> None:
        self._lamp = lamp
        ray = point - lamp[:, None]
        self._unit = ray / np.sqrt((ray * ray).sum(axis=0))

    def may_pass(self, row: Floats) -> NDArray[np.bool_]:
        """Return (N,): whether the segment's line touches the bounding sphere."""
        axis = row[1:4] - self._lamp
        reach = float(np.linalg.norm(axis))
        radius = float(np.linalg.norm(row[4:7])) + _SLACK_M
        if reach <= radius:
            return np.ones(self._unit.shape[1], dtype=bool)
        return np.asarray((axis / reach) @ self._unit >= np.sqrt(1.0 - (radius / reach) ** 2))

    def direction(self, point: Floats) -> Floats:
        """Return (3, N); the lamp is at ray parameter 1."""
        direction: Floats = self._lamp[:, None] - point
        return direction


class _Sunbeam:
    """Half-lines from points to the sun."""

    end = np.inf

    def __init__(self, towards_sun: Floats, point: Floats) -> None:
        self._towards_sun = towards_sun
        # Two axes across the light: a bounding sphere becomes a circle.
        self._across = np.linalg.svd(towards_sun[None])[2][1:]
        self._x, self._y = self._across @ point

    def may_pass(self, row: Floats) -> NDArray[np.bool_]:
        """Return (N,): whether the half-line's line touches the bounding sphere."""
        x, y = self._across @ row[1:4]
        radius = float(np.linalg.norm(row[4:7])) + _SLACK_M
        return np.asarray((self._x - x) ** 2 + (self._y - y) ** 2 < radius ** 2)

    def direction(self, point: Floats) -> Floats:
        """Return (3, N)."""
        return np.broadcast_to(self._towards_sun[:, None], point.shape)
