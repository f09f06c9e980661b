# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The path of a session, as the record of its past knows it now."""

from collections import deque
from dataclasses import dataclass

from da3_ros.geometry import rigid
from da3_ros.geometry.arrays import Array
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.session_record import SessionRecord
from da3_ros.ros import conversions
from da3_ros.ros.message_types import Path, PoseStamped
from da3_ros.ros.output.placement import PlacedKeyframe
import numpy as np

# Rounding aside, the frame of the path moves only when the map is corrected.
_SAME = 1e-9


@dataclass(frozen=True, eq=False)
class _Step:
    """
    One keyframe.

    :param id: the keyframe's.
    :param stamp_ns: the frame's.
    :param camera_T_body: (4, 4) of what the path is of.
    """

    id: int  # noqa: A003
    stamp_ns: int
    camera_T_body: Array


class PathHistory:
    """
    Remember which keyframes the path is of, and make it of where they are now.

    Messages are made once, and again only when a correction moves them.
    """

    def __init__(self, record: SessionRecord) -> None:
        """
        Begin a session.

        :param record: knows where its keyframes are, and the frame that they are shown in.
        """
        self._record = record
        self._steps: deque[_Step] = deque()
        self._poses: deque[PoseStamped] = deque()
        self._frame = ''
        self._frame_T_map: Array = np.eye(4)
        self._num_corrections = -1

    def extend(self, keyframe: PosedKeyframe, placed: PlacedKeyframe, *, max_size: int) -> None:
        """
        Append a keyframe.

        :param keyframe: the newest, which is recorded.
        :param placed: its poses.
        :param max_size: most poses; when full, the oldest is dropped.
        """
        step = _Step(
            keyframe.id, keyframe.stamp_ns,
            rigid.inverse(placed.world_T_camera) @ placed.world_T_body)
        self._steps.append(step)
        if not self._renew():
            self._poses.append(self._to_message(step))
        while len(self._steps) > max_size:
            self._steps.popleft()
            self._poses.popleft()

    def message(self) -> Path | None:
        """Make the message, with the stamp of the newest pose, or None where there is none."""
        self._renew()
        if not self._poses:
            return None
        return Path(header=self._poses[-1].header, poses=list(self._poses))

    def _renew(self) -> bool:
        """Make all poses anew if they have moved; tell whether."""
        num_corrections = self._record.num_corrections
        frame, frame_T_map = self._record.shown
        is_same = np.allclose(self._frame_T_map, frame_T_map, rtol=0.0, atol=_SAME)
        if is_same and frame == self._frame and num_corrections == self._num_corrections:
            return False
        self._frame, self._frame_T_map = frame, frame_T_map
        self._num_corrections = num_corrections
        self._poses = deque(self._to_message(step) for step in self._steps)
        return True

    def _to_message(self, step: _Step) -> PoseStamped:
        recalled = self._record.recall(step.id)
        assert recalled is not None
        # The scale belongs to the depth, not to the pose.
        map_T_camera = recalled.map_S_camera.rigid_part()
        pose = self._frame_T_map @ map_T_camera @ step.camera_T_body
        return conversions.to_pose_stamped(
            pose, conversions.to_header(step.stamp_ns, self._frame))
