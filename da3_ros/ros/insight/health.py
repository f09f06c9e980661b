# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What the diagnostics tell besides the counts; written by one thread, read by another."""

from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
import threading
import time

from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.update import WindowReport
from da3_ros.ros.insight.latency import Latency, LatencyTrace
from da3_ros.ros.insight.metres import MetreLog

_NUM_ARRIVALS = 100


@dataclass(frozen=True, eq=False)
class HealthReport:
    """
    The state at one time.

    :param image_rates_hz: of received images, by the name of the camera.
    :param latencies: of the stages that images have passed, and keyframes.
    :param live_latencies: of the stages that live frames have passed.
    :param window: the last one, or None.
    :param is_metric: whether the last keyframe is in metres, or None before the first.
    :param gravity: what was level where the world begins, ``none`` for its first camera, or empty.
    """

    image_rates_hz: Mapping[str, float]
    latencies: tuple[Latency, ...]
    live_latencies: tuple[Latency, ...]
    window: WindowReport | None
    is_metric: bool | None
    gravity: str = ''


class Health:
    """Collect measurements."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        """
        Start empty.

        :param now_ns: the node's clock, the one that stamps are of.
        """
        self._trace = LatencyTrace(now_ns)
        self._live_trace = LatencyTrace(now_ns)
        self.metres = MetreLog()
        self._lock = threading.Lock()
        self._arrivals_s: defaultdict[str, deque[float]] = defaultdict(
            lambda: deque(maxlen=_NUM_ARRIVALS))
        self._window: WindowReport | None = None
        self._is_metric: bool | None = None
        self._gravity = ''

    def begin_session(self) -> None:
        """Take note that a new world begins, of which nothing is known."""
        self._trace.begin_session()
        self._live_trace.begin_session()
        with self._lock:
            self._window = self._is_metric = None
            self._gravity = ''

    def note_image(self, camera: str, stamp_ns: int) -> None:
        """
        Take note of a received image.

        :param camera: name of the camera.
        :param stamp_ns: of its header.
        """
        self._trace.note_image(stamp_ns)
        with self._lock:
            self._arrivals_s[camera].append(time.monotonic())

    def note_window(self, report: WindowReport) -> None:
        """
        Take note of a window.

        :param report: how it went.
        """
        with self._lock:
            self._window = report

    def note_gravity(self, gravity: str) -> None:
        """
        Take note of what was level where the world begins.

        :param gravity: which.
        """
        with self._lock:
            self._gravity = gravity

    def note_published(self, keyframe: PosedKeyframe) -> None:
        """
        Take note of a keyframe, or a live frame, that went out.

        :param keyframe: which.
        """
        (self._live_trace if keyframe.is_live else self._trace).note_published(keyframe)
        with self._lock:
            self._is_metric = keyframe.is_metric
            scale = None if self._window is None else self._window.placement.scale
        if scale is not None:
            self.metres.note(keyframe.is_metric, scale.sigma)

    def report(self) -> HealthReport:
        """Summarise."""
        latencies, live = self._trace.latencies(), self._live_trace.latencies()
        with self._lock:
            return HealthReport(
                {camera: _rate_hz(times) for camera, times in self._arrivals_s.items()},
                latencies, live, self._window, self._is_metric, self._gravity,
            )


def _rate_hz(arrivals_s: deque[float]) -> float:
    if len(arrivals_s) < 2:
        return 0.0
    # Until now, so that the rate falls when the camera stops.
    return (len(arrivals_s) - 1) / (time.monotonic() - arrivals_s[0])
