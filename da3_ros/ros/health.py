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

"""What the diagnostics tell besides the counts; written by one thread, read by another."""

from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
import threading
import time

from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.update import WindowReport
import numpy as np

MAX_AGE_S = 3600.0
"""Stamps farther from now are of another clock."""

_NUM_LATENCIES = 200
_NUM_ARRIVALS = 100
_NS_PER_S = 10**9


@dataclass(frozen=True)
class Latency:
    """
    Time from the stamp of an image to its publication, over the last keyframes.

    :param median_s: half are faster.
    :param p95_s: all but one in twenty are faster.
    :param max_s: the slowest.
    """

    median_s: float
    p95_s: float
    max_s: float


@dataclass(frozen=True, eq=False)
class HealthReport:
    """
    The state at one time.

    :param image_rates_hz: of received images, by the name of the camera.
    :param latency: None before the first keyframe.
    :param window: the last one, or None.
    :param is_metric: whether the last keyframe is in metres, or None before the first.
    """

    image_rates_hz: Mapping[str, float]
    latency: Latency | None
    window: WindowReport | None
    is_metric: bool | None


class Health:
    """Collect measurements."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        """
        Start empty.

        :param now_ns: the node's clock, the one that stamps are of.
        """
        self._now_ns = now_ns
        self._lock = threading.Lock()
        self._latencies_s: deque[float] = deque(maxlen=_NUM_LATENCIES)
        self._arrivals_s: defaultdict[str, deque[float]] = defaultdict(
            lambda: deque(maxlen=_NUM_ARRIVALS))
        self._window: WindowReport | None = None
        self._is_metric: bool | None = None

    def note_image(self, camera: str) -> None:
        """
        Take note of a received image.

        :param camera: name of the camera.
        """
        with self._lock:
            self._arrivals_s[camera].append(time.monotonic())

    def note_window(self, report: WindowReport) -> None:
        """
        Take note of a window.

        :param report: how it went.
        """
        with self._lock:
            self._window = report

    def note_published(self, keyframe: PosedKeyframe) -> None:
        """
        Take note of a keyframe that went out.

        :param keyframe: the keyframe.
        """
        latency_s = (self._now_ns() - keyframe.stamp_ns) / _NS_PER_S
        with self._lock:
            self._latencies_s.append(latency_s)
            self._is_metric = keyframe.is_metric

    def report(self) -> HealthReport:
        """Summarise."""
        with self._lock:
            return HealthReport(
                {camera: _rate_hz(times) for camera, times in self._arrivals_s.items()},
                self._latency(), self._window, self._is_metric,
            )

    def _latency(self) -> Latency | None:
        if not self._latencies_s:
            return None
        median_s, p95_s, max_s = np.percentile(list(self._latencies_s), (50, 95, 100))
        return Latency(float(median_s), float(p95_s), float(max_s))


def _rate_hz(arrivals_s: deque[float]) -> float:
    if len(arrivals_s) < 2:
        return 0.0
    # Until now, so that the rate falls when the camera stops.
    return (len(arrivals_s) - 1) / (time.monotonic() - arrivals_s[0])
