# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Decide which frames become keyframes."""

from da3_ros.mapping.config import KeyframeConfig
from da3_ros.mapping.image_motion import ImageMotion, sharpness, small_gray
from da3_ros.mapping.keyframe import Frame, NS_PER_S

# After ``max_interval_s`` this share of ``min_parallax`` is motion enough.
_SMALL_MOTION = 0.2
# A blurred frame is kept all the same when less than this share of ``min_overlap`` is left.
_CRITICAL_OVERLAP = 0.5
# Weight of a new frame in the running mean of the sharpness.
_SHARPNESS_GAIN = 0.1


class KeyframeSelector:
    """
    Keep those frames of one camera and one session that show something new.

    Where sessions end is told from outside: all frames have one size, and their stamps increase.
    """

    def __init__(self, config: KeyframeConfig) -> None:
        """
        Start without a keyframe: the first frame becomes one.

        :param config: what counts as new.
        """
        self._config = config
        self.restart()

    def restart(self) -> None:
        """Make the next frame a keyframe, whatever it shows: a session begins with it."""
        self._last: Frame | None = None
        self._motion: ImageMotion | None = None
        self._usual_sharpness: float | None = None

    def select(self, frame: Frame) -> bool:
        """
        Tell whether the newest frame is kept.

        :param frame: the newest frame.
        """
        if self._last is None:
            self.keep(frame)
            return True
        age_s = (frame.stamp_ns - self._last.stamp_ns) / NS_PER_S
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
        self._last = frame
        if self._config.mode == 'motion':
            self._motion = ImageMotion(small_gray(frame.image))

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
