# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Surface coordinates, faces and normals of a hit.

With p the hit in the local frame [m], h the half size and q = p / h:

BOX: axis k = the one of greatest abs(q_k) (the first of equals); face = 2 k + (p_k > 0);
u, v = the other two components of p in ascending order; normal = sign(p_k) along k.
ELLIPSOID: face 0; u = h_x atan2(q_y, q_x), v = h_z asin(clamp(q_z)); normal along q / h.
CYLINDER: a cap where abs(q_z) > sqrt(q_x^2 + q_y^2): face 1 + (p_z > 0), u, v = p_x, p_y,
normal = sign(p_z) z; else the side: face 0, u = h_x atan2(q_y, q_x), v = p_z, normal along
(q_x / h_x, q_y / h_y, 0).
PLANE: face 0; u, v = p_x, p_y; normal = z on the camera's side.
"""

from dataclasses import dataclass

from da3_ros.simulation.scene import Floats, Shape
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Surface:
    """
    Coordinates for the texture and normal for the light.

    :param u: (N,) [m].
    :param v: (N,) [m].
    :param face: (N,) uint32.
    :param normal: (3, N), unit, local frame.
    """

    u: Floats
    v: Floats
    face: NDArray[np.uint32]
    normal: Floats


def describe(shape: Shape, half_size: Floats, point: Floats, origin: Floats) -> Surface:
    """
    Describe the surface at hits.

    :param shape: which.
    :param half_size: (3,) [m].
    :param point: (3, N) hits [m], local frame.
    :param origin: (3,) the camera [m], local frame.
    """
    if shape is Shape.BOX:
        return _box(half_size, point)
    if shape is Shape.PLANE:
        normal = np.zeros_like(point)
        normal[2] = np.sign(origin[2])
        return Surface(point[0], point[1], np.zeros(point.shape[1], dtype=np.uint32), normal)
    q = point / half_size[:, None]
    around = half_size[0] * np.arctan2(q[1], q[0])
    normal = q / half_size[:, None]
    face = np.zeros(point.shape[1], dtype=np.uint32)
    if shape is Shape.ELLIPSOID:
        normal /= np.sqrt((normal * normal).sum(axis=0))
        return Surface(around, half_size[2] * np.arcsin(np.clip(q[2], -1.0, 1.0)), face, normal)
    cap = np.abs(q[2]) > np.hypot(q[0], q[1])
    face[cap] = 1 + (point[2, cap] > 0.0)
    normal[2] = 0.0
    normal[:, cap] = np.stack([0.0 * q[0, cap], 0.0 * q[0, cap], np.sign(q[2, cap])])
    normal /= np.sqrt((normal * normal).sum(axis=0))
    return Surface(
        np.where(cap, point[0], around), np.where(cap, point[1], point[2]), face, normal)


def _box(half_size: Floats, point: Floats) -> Surface:
    axis = np.argmax(np.abs(point) / half_size[:, None], axis=0)
    along = np.take_along_axis(point, axis[None], axis=0)[0]
    normal = np.zeros_like(point)
    np.put_along_axis(normal, axis[None], np.sign(along)[None], axis=0)
    return Surface(
        u=np.where(axis == 0, point[1], point[0]),
        v=np.where(axis == 2, point[1], point[2]),
        face=(2 * axis + (along > 0.0)).astype(np.uint32),
        normal=normal,
    )
