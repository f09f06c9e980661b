# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""How hands, heads and robots hold a camera: attitudes, shake, and two cameras on one body."""

from da3_ros.geometry.rigid import Array
import numpy as np

_TURNED_SHARE = 0.7
_DOWN_DEG = (-15.0, 45.0)
_ROLL_DEG = 10.0
_ANY_ROLL_SHARE = 0.1
_SHAKE_SHARE = 0.5
_TILT_DEG = (8.0, 2.0, 4.0)
_MAX_SHAKE_DEG = 2.5
_RIG_SHARE = 0.12
_MAX_RIG_YAW_DEG = 100.0
_MAX_RIG_OFFSET_M = 0.2


def handled(rng: np.random.Generator, poses: Array) -> Array:
    """
    Turn and shake a camera that a robot carries upright.

    :param rng: source of randomness.
    :param poses: (N, 4, 4) world_T_camera.
    :returns: (N, 4, 4).
    """
    if rng.uniform() < _SHAKE_SHARE:
        tilt = np.radians(rng.normal(size=3) * _TILT_DEG)
        shake = np.radians(rng.normal(size=(len(poses), 3)) * rng.uniform(0.0, _MAX_SHAKE_DEG))
        poses = _times(poses, rotations(tilt + shake))
    if rng.uniform() < _TURNED_SHARE:
        down = rng.uniform(*_DOWN_DEG)
        roll = rng.uniform(-90.0, 90.0) if rng.uniform() < _ANY_ROLL_SHARE else (
            _ROLL_DEG * rng.normal())
        poses = turned(poses, down_deg=down, roll_deg=roll)
    return poses


def turned(poses: Array, *, down_deg: float, roll_deg: float) -> Array:
    """
    Turn all cameras alike: down about their x axes, then about their optical axes.

    :param poses: (N, 4, 4) world_T_camera.
    :param down_deg: positive looks further down.
    :param roll_deg: positive turns the camera to the right.
    :returns: (N, 4, 4).
    """
    down = rotations(np.array([[-np.radians(down_deg), 0.0, 0.0]]))
    roll = rotations(np.array([[0.0, 0.0, np.radians(roll_deg)]]))
    return _times(poses, down @ roll)


def mounted_in_pairs(rng: np.random.Generator, poses: Array) -> Array:
    """
    Sometimes put a second camera on the body: every other view is then the second one's.

    Both see the same instant, so half of the poses are used, each twice.

    :param rng: source of randomness.
    :param poses: (N, 4, 4) world_T_camera.
    :returns: (N, 4, 4).
    """
    if rng.uniform() >= _RIG_SHARE:
        return poses
    yaw = np.radians(rng.uniform(-1.0, 1.0) * _MAX_RIG_YAW_DEG)
    first_T_second = np.eye(4)
    first_T_second[:3, :3] = rotations(np.array([[0.0, yaw, 0.0]]))[0]
    first_T_second[:3, 3] = rng.uniform(-1.0, 1.0, 3) * (_MAX_RIG_OFFSET_M, 0.05, 0.1)
    pairs = np.repeat(poses[:(len(poses) + 1) // 2], 2, axis=0)[:len(poses)]
    pairs[1::2] = pairs[1::2] @ first_T_second
    return pairs


def rotations(vectors: Array) -> Array:
    """
    Return the rotations of rotation vectors (Rodrigues).

    :param vectors: (N, 3) [rad].
    :returns: (N, 3, 3).
    """
    angle = np.linalg.norm(vectors, axis=1)[:, None, None] + 1e-12
    x, y, z = (vectors / angle[:, :, 0]).T
    zero = np.zeros_like(x)
    skew = np.moveaxis(np.array([[zero, -z, y], [z, zero, -x], [-y, x, zero]]), 2, 0)
    result: Array = np.eye(3) + np.sin(angle) * skew + (1.0 - np.cos(angle)) * skew @ skew
    return result


def _times(poses: Array, rotation: Array) -> Array:
    result = poses.copy()
    result[:, :3, :3] = poses[:, :3, :3] @ rotation
    return result
