# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Where the keyframes of a recording lie: as in the node, or in a world that somebody gave."""

from dataclasses import replace

from da3_ros.geometry import rigid
from da3_ros.geometry.arrays import Array
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.session_record import SessionRecord
from da3_ros.ros.insight.counters import Counters
from da3_ros.ros.output.placement import KeyframePlacer, PlacedKeyframe
from da3_ros.ros.parameters.settings import NodeSettings


class _NobodyElse:
    """The transforms of a recording are not those of its outputs."""

    def parents(self, child: str) -> frozenset[str]:
        """Return no parents."""
        del child
        return frozenset()


class WorldFrame:
    """Place keyframes, and tell the record in which frame the past is shown."""

    def __init__(
        self, settings: NodeSettings, record: SessionRecord, *, has_robot: bool = False,
        is_given: bool = False,
    ) -> None:
        """
        Begin a session.

        :param settings: modes and names.
        :param record: of the sessions.
        :param has_robot: frames come with what a robot says of them; else the camera is alone,
            whatever the modes.
        :param is_given: somebody gave poses of the cameras in a world of their own, in which the
            outputs are, too, from the first keyframe on that has one.
        """
        tf, gravity = settings.tf, settings.world.gravity
        if not has_robot:
            tf, gravity = replace(tf, mode='none' if tf.mode == 'none' else 'camera'), 'none'
        self._tf = tf
        self._levels = gravity == 'tf'
        self._record = record
        self._is_given = is_given
        self.begin_session()

    def begin_session(self) -> None:
        """Forget where the last one lay."""
        self._placer = KeyframePlacer(
            self._tf, None if self._tf.mode == 'none' else _NobodyElse(), Counters(),
            levels=self._levels)
        self.newest: PlacedKeyframe | None = None
        self._keyframe: PosedKeyframe | None = None
        self._given_T_map: Array | None = None

    def place(self, keyframe: PosedKeyframe, map_T_odom: Array) -> PlacedKeyframe | None:
        """
        Place a keyframe.

        :param keyframe: with a pose.
        :param map_T_odom: (4, 4) the pipeline's correction of its ``odom``.
        :returns: None where the recording does not say what ``tf.mode`` needs to know.
        """
        placed = self._placer.place(keyframe, map_T_odom)
        if placed is None:
            return None
        if placed.leads or self.newest is None:
            self.newest, self._keyframe = placed, keyframe
        robot = keyframe.robot_T_camera
        if self._is_given and self._given_T_map is None and robot is not None:
            self._given_T_map = robot @ rigid.inverse(map_T_odom @ keyframe.odom_T_camera)
        return placed

    def correct(self, map_T_odom: Array) -> None:
        """
        Place the newest keyframe as a loop has corrected the map.

        :param map_T_odom: (4, 4) as it is now.
        """
        if self._keyframe is not None:
            placed = self._placer.place(self._keyframe, map_T_odom)
            self.newest = placed or self.newest

    def show(self) -> None:
        """Tell the record in which frame the session is shown."""
        if self._given_T_map is not None:
            self._record.show(self._tf.map_frame, self._given_T_map)
        elif self.newest is not None:
            self._record.show(self.newest.path_frame, self.newest.path_T_map)
