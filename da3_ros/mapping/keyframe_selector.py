# Copyright 2026 The da3_ros authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""Decide which frames become keyframes."""

import itertools
import threading

from da3_ros.mapping.config import KeyframeConfig
from da3_ros.mapping.image_motion import ImageMotion, sharpness, small_gray
from da3_ros.mapping.keyframe import Frame, Keyframe

_NS_PER_S = 1_000_000_000
# Frames this much older than the newest are late; older ones mean that the clock was set back.
_MAX_LATE_NS = 100_000_000
# After ``max_interval_s`` this share of ``min_parallax`` is motion enough.
_SMALL_MOTION = 0.2
# A blurred frame is kept all the same when less than this share of ``min_overlap`` is left.
_CRITICAL_OVERLAP = 0.5
# Weight of a new frame in the running mean of the sharpness.
_SHARPNESS_GAIN = 0.1


class KeyframeSelector:
    """
    Keep frames that show something new.

    ``select`` is called by one thread; ``request_reset`` by any.
    """

    def __init__(self, config: KeyframeConfig) -> None:
        """
        Start without a keyframe: the first frame becomes one.

        :param config: what counts as new.
        """
        self._config = config
        self._ids = itertools.count()
        self._reset_requested = threading.Event()
        self._last: Frame | None = None
        self._newest_stamp_ns = 0
        self._motion: ImageMotion | None = None
        self._usual_sharpness: float | None = None

    def request_reset(self) -> None:
        """Make the next frame a keyframe, whatever it shows."""
        self._reset_requested.set()

    def select(self, frame: Frame) -> Keyframe | None:
        """
        Decide about the newest frame.

        :param frame: the newest frame.
        :returns: the keyframe, or None if the frame is not kept.
        """
        if self._reset_requested.is_set():
            self._reset_requested.clear()
            self._last = None
        if self._last is not None and not self._continues(self._last, frame):
            self._last = None
        if self._last is None:
            return self._keep_first(frame)
        if frame.stamp_ns <= self._newest_stamp_ns:
            return None
        self._newest_stamp_ns = frame.stamp_ns
        age_s = (frame.stamp_ns - self._last.stamp_ns) / _NS_PER_S
        if self._config.mode == 'time':
            return self._keep(frame) if age_s >= self._config.min_interval_s else None
        return self._select_by_motion(frame, age_s)

    def _continues(self, last: Frame, frame: Frame) -> bool:
        went_back = frame.stamp_ns < self._newest_stamp_ns - _MAX_LATE_NS
        return (
            not went_back
            and frame.image.shape == last.image.shape
            and frame.frame_id == last.frame_id
        )

    def _select_by_motion(self, frame: Frame, age_s: float) -> Keyframe | None:
        assert self._motion is not None
        gray = small_gray(frame.image)
        sharp = sharpness(gray)
        usual = sharp if self._usual_sharpness is None else self._usual_sharpness
        self._usual_sharpness = usual + _SHARPNESS_GAIN * (sharp - usual)
        if age_s < self._config.min_interval_s:
            return None
        motion = self._motion.measure(gray)
        is_late = age_s >= self._config.max_interval_s
        needed = self._config.min_parallax * (_SMALL_MOTION if is_late else 1.0)
        is_leaving = motion.overlap < self._config.min_overlap
        if motion.parallax < needed and not is_leaving:
            return None
        is_blurred = sharp < self._config.min_sharpness * usual
        # Blur hides features too: only a view that is really being lost cannot wait.
        is_lost = motion.overlap < _CRITICAL_OVERLAP * self._config.min_overlap
        if is_blurred and not (is_late or is_lost):
            return None
        self._motion = ImageMotion(gray)
        return self._keep(frame)

    def _keep_first(self, frame: Frame) -> Keyframe:
        self._newest_stamp_ns = frame.stamp_ns
        self._usual_sharpness = None
        if self._config.mode == 'motion':
            self._motion = ImageMotion(small_gray(frame.image))
        return self._keep(frame)

    def _keep(self, frame: Frame) -> Keyframe:
        self._last = frame
        return Keyframe(next(self._ids), frame)
