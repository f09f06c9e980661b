# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What enters and leaves the mapping layer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
import time
from typing import Protocol

from da3_ros.inference.prediction import WindowPrediction
from da3_ros.mapping.picture import Picture
import numpy as np
from numpy.typing import NDArray

NS_PER_S = 10**9
"""Stamps are whole nanoseconds."""


@dataclass(frozen=True, eq=False)
class Frame:
    """
    One received, rectified camera image.

    :param stamp_ns: time of exposure as in the message's header, in nanoseconds.
    :param image: (H, W, 3) uint8 RGB.
    :param intrinsics: (3, 3) float64 [px] of ``image``, or None where unknown.
    :param frame_id: name of the camera's optical frame.
    :param robot_T_camera: (4, 4) float64 [m] pose of the camera at ``stamp_ns`` in the robot's own
        odometry frame (wheels, legs, IMU), or None where unknown. ``scale.source`` tf and pose
        read it.
    :param camera: name of the camera in the rig; empty where there is only one.
    :param received_s: when it came, by the steady clock.
    :param base_T_camera: (4, 4) float64 [m] pose of the camera on the robot, or None where
        unknown. ``scale.source`` rig reads it.
    :param encoding: how its message encoded it; may be empty. Another one is another stream.
    """

    stamp_ns: int
    image: NDArray[np.uint8]
    intrinsics: NDArray[np.float64] | None = None
    frame_id: str = 'camera_optical_frame'
    robot_T_camera: NDArray[np.float64] | None = None
    camera: str = ''
    received_s: float = field(default_factory=time.monotonic)
    base_T_camera: NDArray[np.float64] | None = None
    encoding: str = ''


@dataclass(frozen=True, eq=False)
class Keyframe:
    """
    A frame that was kept, or a live one: that is inferred once and then forgotten.

    :param id: unique and increasing within a process; overlaps are matched by it. Those of live
        frames are negative, and decrease.
    :param frame: the frame itself.
    :param instant: number that the keyframes of one instant share, or None if it stands alone.
    :param selected_s: when it was kept, by the steady clock.
    """

    id: int  # noqa: A003
    frame: Frame
    instant: int | None = None
    selected_s: float = field(default_factory=time.monotonic)

    @property
    def is_live(self) -> bool:
        """Tell whether the frame is no keyframe."""
        return self.id < 0


@dataclass(frozen=True)
class StageTimes:
    """
    When a keyframe passed the stages, by the steady clock.

    :param received_s: its image came.
    :param selected_s: it was kept.
    :param started_s: the inference of its window began.
    :param inferred_s: that inference ended.
    """

    received_s: float
    selected_s: float
    started_s: float
    inferred_s: float


@dataclass(frozen=True, eq=False)
class Instant:
    """
    What the cameras saw at one time: a keyframe of each, or of those that had one.

    :param keyframes: at least one, in the order of the cameras in the rig.
    :param new_session: why a new session begins with it, or None.
    """

    keyframes: tuple[Keyframe, ...]
    new_session: str | None = None


@dataclass(frozen=True, eq=False)
class PosedKeyframe:
    """
    A keyframe, or a live frame, with its geometry in the world: what is published, once.

    Depth, pose and points share one scale. ``odom`` is continuous; its axes follow REP-103
    (x forward as the first camera looks, z up).

    :param id: the keyframe's.
    :param stamp_ns: the frame's.
    :param frame_id: the frame's.
    :param image: (h, w, 3) uint8 RGB at the depth's size.
    :param depth: (h, w) float32, NaN where unknown, +inf in the sky.
    :param confidence: (h, w) float32 in [1, inf), 1 = none, or None.
    :param intrinsics: (3, 3) float64 [px] of ``depth``, pixel centres at integers.
    :param odom_T_camera: (4, 4) float64.
    :param segment: number of the continuous piece of world it belongs to; poses of different
        segments are unrelated until a loop joins them.
    :param is_metric: whether lengths are metres.
    :param has_pose: False where the network estimates no cameras or windows do not overlap;
        ``odom_T_camera`` is then the same level pose at the origin for every keyframe.
    :param camera: the frame's.
    :param instant: the keyframe's.
    :param times: when it passed the stages, or None where nobody measured.
    :param robot_T_camera: the frame's.
    :param base_T_camera: the frame's.
    :param picture: the image, for those who compress it, or None where nobody shares it.
    :param source: (H, W, 3) the frame's image, or None where nobody needs it.
    :param covariance: (6, 6) of x, y, z and rotations about the axes of ``odom``, or None where
        there is no pose.
    """

    id: int  # noqa: A003
    stamp_ns: int
    frame_id: str
    image: NDArray[np.uint8]
    depth: NDArray[np.float32]
    confidence: NDArray[np.float32] | None
    intrinsics: NDArray[np.float64]
    odom_T_camera: NDArray[np.float64]
    segment: int
    is_metric: bool
    has_pose: bool = True
    camera: str = ''
    instant: int | None = None
    times: StageTimes | None = None
    robot_T_camera: NDArray[np.float64] | None = None
    base_T_camera: NDArray[np.float64] | None = None
    picture: Picture | None = None
    source: NDArray[np.uint8] | None = None
    covariance: NDArray[np.float64] | None = None

    @property
    def is_live(self) -> bool:
        """Tell whether it is of no keyframe: it is published, and not remembered."""
        return self.id < 0

    @property
    def jpeg(self) -> bytes:
        """Return the image compressed."""
        return (self.picture or Picture(self.image)).jpeg


class WindowEngine(Protocol):
    """Joint inference over one window; ``inference.InferenceEngine`` is the real one."""

    def infer(
        self,
        images: Sequence[NDArray[np.uint8]],
        *,
        poses: NDArray[np.float64] | None = None,
        intrinsics: NDArray[np.float64] | None = None,
    ) -> WindowPrediction:
        """
        Infer all images together.

        :param images: N RGB images (H, W, 3) uint8.
        :param poses: (N, 4, 4) world_T_camera to condition on, or None.
        :param intrinsics: (N, 3, 3) [px] of ``images``, corner-origin, NaN for views whose camera
            is not known, or None. Known ones come back in the prediction, carried to its size, in
            place of the network's own.
        :raises MemoryBudgetError: if so many images do not fit; fewer may.
        :raises Da3Error: if this window cannot be inferred; the next may.
        """
        ...
