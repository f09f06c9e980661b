# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What became of windows and keyframes, until somebody asks."""

from collections.abc import Callable, Sequence
import logging

from da3_ros.mapping.correction import MapCorrection
from da3_ros.mapping.keyframe import Keyframe, PosedKeyframe
from da3_ros.mapping.loop_closure import LoopReport
from da3_ros.mapping.update import (
    DroppedKeyframe,
    DropReason,
    PipelineUpdate,
    WindowReport,
    WindowUpdate,
)
import numpy as np
from numpy.typing import NDArray

_logger = logging.getLogger(__name__)


class Outcome:
    """
    Collect what changes, window by window.

    :param map_T_odom: gives the correction of everything in ``odom``, (4, 4).
    """

    def __init__(self, map_T_odom: Callable[[], NDArray[np.float64]]) -> None:
        self.session = 0
        self._map_T_odom = map_T_odom
        self._untold: list[WindowUpdate] = []
        self._uncalibrated: set[str] = set()

    def take(self) -> PipelineUpdate:
        """Return what changed since the last call."""
        untold, self._untold = self._untold, []
        return PipelineUpdate(tuple(untold), self._map_T_odom())

    def tell(
        self, *, keyframes: Sequence[PosedKeyframe] = (),
        dropped: Sequence[DroppedKeyframe] = (), correction: MapCorrection | None = None,
        report: WindowReport | None = None, loop: LoopReport | None = None,
        live: Sequence[PosedKeyframe] = (),
    ) -> None:
        """
        Note what a window changed; see ``WindowUpdate``.

        :param keyframes: newly posed.
        :param dropped: that will never come out.
        :param correction: how earlier keyframes moved.
        :param report: how the window went.
        :param loop: that it closed.
        :param live: frames that are no keyframes.
        """
        self._untold.append(WindowUpdate(
            self.session, self._map_T_odom(), tuple(keyframes), tuple(dropped), correction,
            report, loop, tuple(live)))

    def drop(self, keyframes: Sequence[Keyframe], reason: DropReason, detail: str) -> None:
        """
        Note that keyframes, or live frames, will never come out.

        :param keyframes: which.
        :param reason: why.
        :param detail: the error's message, or empty.
        """
        if keyframes:
            self.tell(dropped=[
                DroppedKeyframe(keyframe.id, keyframe.frame.stamp_ns, reason, detail)
                for keyframe in keyframes])

    def drop_uncalibrated(self, keyframes: Sequence[Keyframe], detail: str = '') -> None:
        """
        Note that keyframes do not come out for want of intrinsics; the log tells once per camera.

        :param keyframes: which.
        :param detail: the error's message, or empty.
        """
        reason = DropReason.NO_INTRINSICS
        for camera in {keyframe.frame.camera for keyframe in keyframes} - self._uncalibrated:
            self._uncalibrated.add(camera)
            _logger.warning('keyframes of camera %r do not come out: %s', camera, reason.value)
        self.drop(keyframes, reason, detail)
