# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The last poses of a session, kept as the map knows them now."""

from collections import deque
from dataclasses import dataclass, replace

from da3_ros.geometry import rigid
from da3_ros.mapping.correction import MapCorrection
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.ros import conversions
from da3_ros.ros.conversions import Array
from da3_ros.ros.output.placement import PlacedKeyframe
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path
import numpy as np

# Rounding aside, the frame of the path moves only when the map is corrected.
_SAME = 1e-9


@dataclass(frozen=True, eq=False)
class _Step:
    """
    One keyframe.

    :param id: the keyframe's.
    :param stamp_ns: the frame's.
    :param map_T_camera: (4, 4) in the pipeline's map.
    :param camera_T_body: (4, 4) of what the path is of.
    """

    id: int  # noqa: A003
    stamp_ns: int
    map_T_camera: Array
    camera_T_body: Array


class PathHistory:
    """
    Remember where the camera was, and move it when the map is corrected.

    Messages are made once, and again only when a correction moves them.
    """

    def __init__(self) -> None:
        """Begin a session."""
        self._steps: deque[_Step] = deque()
        self._poses: deque[PoseStamped] = deque()
        self._frame = ''
        self._frame_T_map: Array = np.eye(4)

    def extend(
        self, keyframe: PosedKeyframe, placed: PlacedKeyframe, map_T_odom: Array, *, max_size: int
    ) -> None:
        """
        Append a keyframe.

        :param keyframe: the newest.
        :param placed: its poses.
        :param map_T_odom: (4, 4) the pipeline's correction at that time.
        :param max_size: most poses; when full, the oldest is dropped.
        """
        camera_T_body = rigid.inverse(placed.world_T_camera) @ placed.world_T_body
        step = _Step(
            keyframe.id, keyframe.stamp_ns, map_T_odom @ keyframe.odom_T_camera, camera_T_body)
        self.show(placed)
        self._steps.append(step)
        self._poses.append(self._to_message(step))
        while len(self._steps) > max_size:
            self._steps.popleft()
            self._poses.popleft()

    def correct(self, correction: MapCorrection) -> None:
        """
        Move every pose to where it is known to be now; ``show`` or ``extend`` must follow.

        :param correction: of the map.
        """
        for i, step in enumerate(self._steps):
            move = correction.move_of(step.id)
            self._steps[i] = replace(step, map_T_camera=move.transform_pose(step.map_T_camera))
        self._frame = ''

    def show(self, placed: PlacedKeyframe) -> None:
        """
        Bring the path to the frame that it is published in.

        :param placed: poses of the newest keyframe.
        """
        is_same = np.allclose(self._frame_T_map, placed.path_T_map, rtol=0.0, atol=_SAME)
        if is_same and self._frame == placed.path_frame:
            return
        self._frame, self._frame_T_map = placed.path_frame, placed.path_T_map
        self._poses = deque(self._to_message(step) for step in self._steps)

    def message(self) -> Path:
        """Make the message, with the stamp of the newest pose; there must be one."""
        return Path(header=self._poses[-1].header, poses=list(self._poses))

    def _to_message(self, step: _Step) -> PoseStamped:
        pose = self._frame_T_map @ step.map_T_camera @ step.camera_T_body
        return conversions.to_pose_stamped(
            pose, conversions.to_header(step.stamp_ns, self._frame))
