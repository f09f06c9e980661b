# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Decide which frames become keyframes."""

import threading

from da3_ros.mapping.config import KeyframeConfig
from da3_ros.mapping.image_motion import ImageMotion, sharpness, small_gray
from da3_ros.mapping.keyframe import Frame

_NS_PER_S = 1_000_000_000
# Frames this much older than the newest are late; older ones mean that the clock was set back.
MAX_LATE_NS = 100_000_000
# After ``max_interval_s`` this share of ``min_parallax`` is motion enough.
_SMALL_MOTION = 0.2
# A blurred frame is kept all the same when less than this share of ``min_overlap`` is left.
_CRITICAL_OVERLAP = 0.5
# Weight of a new frame in the running mean of the sharpness.
_SHARPNESS_GAIN = 0.1


class KeyframeSelector:
    """
    Keep those frames of one camera that show something new.

    ``request_reset`` may be called by any thread, everything else by one.
    """

    def __init__(self, config: KeyframeConfig) -> None:
        """
        Start without a keyframe: the first frame becomes one.

        :param config: what counts as new.
        """
        self._config = config
        self._reset_requested = threading.Event()
        self._last: Frame | None = None
        self._newest_stamp_ns = 0
        self._motion: ImageMotion | None = None
        self._usual_sharpness: float | None = None

    def request_reset(self) -> None:
        """Make the next frame a keyframe, whatever it shows."""
        self._reset_requested.set()

    def select(self, frame: Frame) -> bool:
        """
        Tell whether the newest frame is kept.

        :param frame: the newest frame.
        """
        last = None if self._reset_requested.is_set() else self._last
        if last is None or not self._continues(last, frame):
            self._usual_sharpness = None
            self.keep(frame)
            return True
        if frame.stamp_ns <= self._newest_stamp_ns:
            return False
        self._newest_stamp_ns = frame.stamp_ns
        age_s = (frame.stamp_ns - last.stamp_ns) / _NS_PER_S
        is_kept = (
            age_s >= self._config.min_interval_s if self._config.mode == 'time'
            else self._shows_news(frame, age_s)
        )
        if is_kept:
            self.keep(frame)
        return is_kept

    def keep(self, frame: Frame) -> None:
        """
        Compare later frames with this one.

        :param frame: newer than those kept before.
        """
        self._reset_requested.clear()
        self._last = frame
        self._newest_stamp_ns = frame.stamp_ns
        if self._config.mode == 'motion':
            self._motion = ImageMotion(small_gray(frame.image))

    def _continues(self, last: Frame, frame: Frame) -> bool:
        went_back = frame.stamp_ns < self._newest_stamp_ns - MAX_LATE_NS
        return (
            not went_back
            and frame.image.shape == last.image.shape
            and frame.frame_id == last.frame_id
        )

    def _shows_news(self, frame: Frame, age_s: float) -> bool:
        assert self._motion is not None
        gray = small_gray(frame.image)
        sharp = sharpness(gray)
        usual = sharp if self._usual_sharpness is None else self._usual_sharpness
        self._usual_sharpness = usual + _SHARPNESS_GAIN * (sharp - usual)
        if age_s < self._config.min_interval_s:
            return False
        motion = self._motion.measure(gray)
        is_late = age_s >= self._config.max_interval_s
        needed = self._config.min_parallax * (_SMALL_MOTION if is_late else 1.0)
        is_leaving = motion.overlap < self._config.min_overlap
        if motion.parallax < needed and not is_leaving:
            return False
        is_blurred = sharp < self._config.min_sharpness * usual
        # Blur hides features too: only a view that is really being lost cannot wait.
        is_lost = motion.overlap < _CRITICAL_OVERLAP * self._config.min_overlap
        return not is_blurred or is_late or is_lost
