# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Rigid motions SE(3) as 4x4 matrices.

``a_T_b`` maps coordinates from frame b to frame a, so that inner names cancel:
``a_T_c = a_T_b @ b_T_c``. Quaternions are in ROS order (x, y, z, w).
"""

from da3_ros.geometry.arrays import Array
import numpy as np

# REP-103: the optical frame (x right, y down, z forward) seen from a body-style frame
# (x forward, y left, z up).
BODY_R_OPTICAL: Array = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def from_rotation_translation(rotation: Array, translation: Array) -> Array:
    """
    Build ``a_T_b`` from its rotation and translation.

    :param rotation: (3, 3) ``a_R_b``.
    :param translation: (3,) ``a_t_b``.
    :returns: (4, 4).
    """
    a_T_b = np.eye(4)
    a_T_b[:3, :3] = rotation
    a_T_b[:3, 3] = translation
    return a_T_b


def inverse(a_T_b: Array) -> Array:
    """
    Invert rigid motions without a general matrix inverse.

    :param a_T_b: (..., 4, 4).
    :returns: (..., 4, 4) ``b_T_a``.
    """
    b_R_a = np.swapaxes(a_T_b[..., :3, :3], -1, -2)
    b_T_a = np.zeros(a_T_b.shape)
    b_T_a[..., :3, :3] = b_R_a
    b_T_a[..., :3, 3] = -np.einsum('...ij,...j->...i', b_R_a, a_T_b[..., :3, 3])
    b_T_a[..., 3, 3] = 1.0
    return b_T_a


def to_quaternion(rotation: Array) -> Array:
    """
    Convert a rotation matrix to a unit quaternion.

    Shepperd's method: the largest of the four components divides, so it is stable everywhere.

    :param rotation: (3, 3).
    :returns: (4,) in the order x, y, z, w, with w >= 0.
    """
    m = rotation
    trace = m[0, 0] + m[1, 1] + m[2, 2]
    squares = np.array([
        1.0 + 2.0 * m[0, 0] - trace,
        1.0 + 2.0 * m[1, 1] - trace,
        1.0 + 2.0 * m[2, 2] - trace,
        1.0 + trace,
    ])
    products = np.array([
        [squares[0], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[2, 1] - m[1, 2]],
        [m[0, 1] + m[1, 0], squares[1], m[1, 2] + m[2, 1], m[0, 2] - m[2, 0]],
        [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], squares[2], m[1, 0] - m[0, 1]],
        [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], squares[3]],
    ])
    quaternion: Array = products[int(np.argmax(squares))]
    quaternion = quaternion / np.linalg.norm(quaternion)
    return quaternion if quaternion[3] >= 0.0 else -quaternion


def from_quaternion(quaternion: Array) -> Array:
    """
    Convert a quaternion to a rotation matrix.

    :param quaternion: (4,) in the order x, y, z, w; any norm but zero.
    :returns: (3, 3).
    :raises ValueError: if the norm is zero or not finite.
    """
    norm = float(np.linalg.norm(quaternion))
    if not np.isfinite(norm) or norm < 1e-12:
        raise ValueError(f'quaternion: got {quaternion}, expected a finite non-zero norm')
    x, y, z, w = np.asarray(quaternion, dtype=np.float64) / norm
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])


def interpolate(a_T_b: Array, a_T_c: Array, share: float) -> Array:
    """
    Go a share of the way from one pose to another, or a little beyond.

    Positions and normalised quaternions are interpolated linearly: for poses a few degrees apart.

    :param a_T_b: (4, 4), for share 0.
    :param a_T_c: (4, 4), for share 1.
    :param share: of the way.
    :returns: (4, 4).
    """
    b, c = to_quaternion(a_T_b[:3, :3]), to_quaternion(a_T_c[:3, :3])
    if b @ c < 0.0:
        c = -c
    return from_rotation_translation(
        from_quaternion((1.0 - share) * b + share * c),
        (1.0 - share) * a_T_b[:3, 3] + share * a_T_c[:3, 3])


def transform_points(a_T_b: Array, points: Array) -> Array:
    """
    Map points from frame b to frame a.

    :param a_T_b: (4, 4).
    :param points: (..., 3) in b.
    :returns: (..., 3) in a.
    """
    result: Array = points @ a_T_b[:3, :3].T + a_T_b[:3, 3]
    return result


def rotation_angle(rotation: Array) -> float:
    """
    Return the angle of a rotation in radians, in [0, pi].

    :param rotation: (3, 3).
    """
    sine = 0.5 * np.linalg.norm([
        rotation[2, 1] - rotation[1, 2],
        rotation[0, 2] - rotation[2, 0],
        rotation[1, 0] - rotation[0, 1],
    ])
    cosine = 0.5 * (np.trace(rotation) - 1.0)
    return float(np.arctan2(sine, cosine))
