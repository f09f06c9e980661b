# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What is saved."""

from collections.abc import Iterator
from dataclasses import dataclass

from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.archive import ArchivedKeyframe, ArchivedPose
from da3_ros.mapping.keyframe import PosedKeyframe
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Session:
    """
    A session as it is known now.

    :param keyframes: that are kept, oldest first.
    :param poses: of these and of keyframes that are not kept.
    :param frame: name of the frame that everything is saved in.
    :param frame_T_map: (4, 4) where the map lies in it.
    :param num_corrections: corrections of the map that all of this has seen.
    """

    keyframes: tuple[ArchivedKeyframe, ...]
    poses: tuple[ArchivedPose, ...]
    frame: str
    frame_T_map: NDArray[np.float64]
    num_corrections: int = 0

    def frame_S_camera(self, pose: ArchivedPose) -> Sim3:
        """
        Return where a keyframe was in the frame.

        :param pose: of the session.
        """
        return Sim3.from_rigid(self.frame_T_map) @ pose.map_S_camera

    def restored(self) -> Iterator[PosedKeyframe]:
        """Unpack one keyframe after the other; their poses and depths are those of the frame."""
        for keyframe in self.keyframes:
            yield keyframe.restored(self.frame_S_camera(keyframe.pose))
