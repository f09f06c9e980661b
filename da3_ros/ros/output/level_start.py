# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""How the first camera looked, by the robot that it sits on."""

from da3_ros.geometry import rigid
from da3_ros.geometry.arrays import Array
import numpy as np

# Of a camera that looks almost straight up or down, the upper edge of the image tells more.
_MIN_LEVEL_SHARE = 0.1
_FORWARD, _UP_IN_IMAGE = np.array([0.0, 0.0, 1.0]), np.array([0.0, -1.0, 0.0])


def level_start(base_T_camera: Array, start_T_camera: Array) -> Array:
    """
    Level the world of a camera: z is that of the robot's base, x still points where it looked.

    :param base_T_camera: (4, 4) pose of the camera on the robot.
    :param start_T_camera: (4, 4) its pose in its own world.
    :returns: (4, 4) a turn about the origin, to be applied to that world.
    """
    rotation = base_T_camera[:3, :3]
    forward = rotation @ _FORWARD
    if np.hypot(forward[0], forward[1]) < _MIN_LEVEL_SHARE:
        # Of one that looks up, the upper edge points back.
        forward = -np.sign(forward[2]) * (rotation @ _UP_IN_IMAGE)
    x, y = forward[:2] / np.hypot(forward[0], forward[1])
    level_R_base = np.array([[x, y, 0.0], [-y, x, 0.0], [0.0, 0.0, 1.0]])
    return rigid.from_rotation_translation(
        level_R_base @ rotation @ start_T_camera[:3, :3].T, np.zeros(3))


def tilt_deg(level_T_start: Array) -> float:
    """
    Return by how much the camera's own world was tilted.

    :param level_T_start: (4, 4) what levelled it.
    """
    return float(np.degrees(np.arccos(np.clip(level_T_start[2, 2], -1.0, 1.0))))
