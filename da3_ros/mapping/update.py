# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What the pipeline reports after each step."""

from dataclasses import dataclass
from enum import Enum

from da3_ros.mapping.alignment import Alignment
from da3_ros.mapping.correction import MapCorrection
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.loop_closure import LoopReport
from da3_ros.mapping.placement import Placement
import numpy as np
from numpy.typing import NDArray


class DropReason(Enum):
    """Why a keyframe never comes out."""

    OUT_OF_MEMORY = 'not even this keyframe alone fits the memory'
    INFERENCE_FAILED = 'its window could not be inferred'
    NO_INTRINSICS = 'its camera has no CameraInfo, and the network estimates none'
    RESET = 'it still waited when the pipeline was reset'
    NOT_PLACED = 'nothing tells where this live frame lies'


@dataclass(frozen=True)
class DroppedKeyframe:
    """
    A keyframe, or a live frame, that will never be published.

    :param id: the keyframe's; negative for a live frame.
    :param stamp_ns: the frame's.
    :param reason: why.
    :param detail: the error's message, or empty.
    """

    id: int  # noqa: A003
    stamp_ns: int
    reason: DropReason
    detail: str = ''


@dataclass(frozen=True, eq=False)
class WindowReport:
    """
    How one window went.

    :param num_views: views inferred together.
    :param num_new: those of them seen for the first time.
    :param max_views: views that the memory holds now, at most ``window.size``.
    :param paced_views: views that windows may have for the time they take, and for the rate at
        which keyframes come.
    :param is_conditioned: whether the network was given the robot's poses.
    :param inference_s: duration of the engine's call.
    :param placement: where it lies and how it was joined.
    """

    num_views: int
    num_new: int
    max_views: int
    paced_views: int
    is_conditioned: bool
    inference_s: float
    placement: Placement

    @property
    def alignment(self) -> Alignment | None:
        """
        Return the fit to the previous window.

        None for the first window of a session, where nothing is shared, and where the network
        estimates no cameras.
        """
        return self.placement.alignment

    @property
    def segment(self) -> int:
        """Return the number of the segment that the window belongs to."""
        return self.placement.segment


@dataclass(frozen=True, eq=False)
class WindowUpdate:
    """
    What one window changed.

    :param session: number of the session; of two sessions nothing is known together.
    :param map_T_odom: (4, 4) float64 correction of everything in ``odom`` from now on.
    :param keyframes: newly posed keyframes, oldest first.
    :param dropped: keyframes that will never come out.
    :param correction: how earlier keyframes moved in ``map``, or None.
    :param report: how the window went, or None where it failed or closed a loop.
    :param loop: the loop that it closed, or None.
    :param live: frames that are no keyframes; nothing remembers them.
    """

    session: int
    map_T_odom: NDArray[np.float64]
    keyframes: tuple[PosedKeyframe, ...] = ()
    dropped: tuple[DroppedKeyframe, ...] = ()
    correction: MapCorrection | None = None
    report: WindowReport | None = None
    loop: LoopReport | None = None
    live: tuple[PosedKeyframe, ...] = ()


@dataclass(frozen=True, eq=False)
class PipelineUpdate:
    """
    The outcome of one call.

    :param windows: what changed, in order; each keyframe comes out exactly once.
    :param map_T_odom: (4, 4) float64 correction of everything in ``odom`` at the end of it.
    """

    windows: tuple[WindowUpdate, ...]
    map_T_odom: NDArray[np.float64]

    @property
    def keyframes(self) -> tuple[PosedKeyframe, ...]:
        """Return the newly posed keyframes of all windows."""
        return tuple(keyframe for window in self.windows for keyframe in window.keyframes)

    @property
    def live(self) -> tuple[PosedKeyframe, ...]:
        """Return the live frames."""
        return tuple(keyframe for window in self.windows for keyframe in window.live)

    @property
    def dropped(self) -> tuple[DroppedKeyframe, ...]:
        """Return the keyframes, and live frames, that will never come out."""
        return tuple(keyframe for window in self.windows for keyframe in window.dropped)
