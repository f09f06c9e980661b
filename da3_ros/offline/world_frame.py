# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""In which frame a session is written: the one in which the node shows its path."""

import logging

from da3_ros.geometry import rigid
from da3_ros.geometry.camera import Array
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.ros.output.level_start import level_start
from da3_ros.ros.parameters.settings import NodeSettings
import numpy as np

_logger = logging.getLogger(__name__)


class WorldFrame:
    """
    Where the pipeline's own map lies, by ``tf.mode`` and ``world.gravity``, session by session.

    The first keyframe of a session of which that is known tells it.
    """

    def __init__(self, settings: NodeSettings, *, is_given: bool = False) -> None:
        """
        Begin a session.

        :param settings: modes and names.
        :param is_given: somebody gave the poses of the cameras in a world of their own, which is
            that of the outputs, too.
        """
        self._settings = settings
        self._is_given = is_given
        self._start: Array | None = None

    def begin_session(self) -> None:
        """Forget where the map lies."""
        self._start = None

    def place(self, keyframe: PosedKeyframe, map_T_odom: Array) -> bool:
        """
        Tell whether it is known where a keyframe lies, and remember it of the first one.

        :param keyframe: with a pose.
        :param map_T_odom: (4, 4) of its window.
        """
        robot, base = keyframe.robot_T_camera, keyframe.base_T_camera
        mode = self._settings.tf.mode
        if (mode in ('odom_to_base', 'map_to_odom') and base is None) or (
                mode == 'map_to_odom' and robot is None):
            return False
        if self._start is not None:
            return True
        if mode == 'odom_to_base':
            assert base is not None
            self._start = base @ rigid.inverse(keyframe.odom_T_camera)
        elif mode == 'map_to_odom' or self._is_given:
            if robot is not None:
                self._start = robot @ rigid.inverse(map_T_odom @ keyframe.odom_T_camera)
        else:
            self._start = self._level(keyframe)
        return True

    def shown(self, map_T_odom: Array) -> tuple[str, Array]:
        """
        Return the name of the frame, and where the map lies in it.

        :param map_T_odom: (4, 4) of the last window.
        """
        start = np.eye(4) if self._start is None else self._start
        tf = self._settings.tf
        if tf.has_map or self._is_given:
            return tf.map_frame, start
        return tf.odom_frame, start @ rigid.inverse(map_T_odom)

    def _level(self, keyframe: PosedKeyframe) -> Array:
        if self._settings.world.gravity != 'tf':
            return np.eye(4)
        if keyframe.base_T_camera is None:
            _logger.warning(
                'world.gravity: no %s above %s when the world began: its first camera is taken to '
                'be level', self._settings.tf.base_frame, keyframe.frame_id)
            return np.eye(4)
        return level_start(keyframe.base_T_camera, keyframe.odom_T_camera)
