# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""How large windows may be for the rate at which keyframes come, and for the time they take."""

from collections import deque
import logging
import statistics

from da3_ros.inference.memory_planner import BUSY_SHARE
from da3_ros.mapping.config import WindowConfig
from da3_ros.mapping.keyframe import Instant

_logger = logging.getLogger(__name__)

# Windows grow only where they would stay well below that.
_GROWTH_MARGIN = 0.8
# What was planned is given up only for windows that take much longer than they may.
_LATE_FACTOR = 1.5
_NUM_INTERVALS = 32
_MIN_INTERVALS = 4
# So many windows must agree before anything changes.
_NUM_COSTS = 3


class StreamPace:
    """
    Keep windows within the time that the stream leaves for them.

    A window runs for every ``stride`` new instants, or after ``max_age_s`` if that comes first. If
    windows take more than ``BUSY_SHARE`` of that time, they first take in more new keyframes at
    once, up to half of their views, which saves inferences; then they become smaller by a quarter,
    and so on. They grow back where the larger window would stay within the time although its cost
    grows with the square of its views.

    What was planned at the start, maybe while the machine was busy, holds in the same way: windows
    that take much longer than ``max_latency_s`` become smaller, and those that stay well below it
    larger, never beyond ``size``.
    """

    def __init__(self, config: WindowConfig) -> None:
        """
        Start with the window that was planned.

        :param config: sizes; nothing ever changes unless it ``is_paced``.
        """
        self._config = config
        self._num_views = config.planned_views
        self._has_wide_stride = False
        self._newest: tuple[int, float] | None = None
        self._intervals: deque[float] = deque(maxlen=_NUM_INTERVALS)
        self._costs: deque[tuple[int, float]] = deque(maxlen=_NUM_COSTS)

    @property
    def num_views(self) -> int:
        """Return how many views to infer together at most."""
        return self._num_views

    @property
    def stride(self) -> int:
        """Return after how many new instants a window runs."""
        return self._stride(self._num_views, is_wide=self._has_wide_stride)

    @property
    def rate_hz(self) -> float | None:
        """Return how many keyframes come in a second, also those that a queue lost; or None."""
        if len(self._intervals) < _MIN_INTERVALS:
            return None
        return 1.0 / max(statistics.median(self._intervals), 1e-6)

    def note_instant(self, instant: Instant) -> None:
        """
        Note when keyframes were selected.

        :param instant: newer than those before.
        """
        first = instant.keyframes[0]
        newest, self._newest = self._newest, (first.id, first.selected_s)
        if newest is not None and first.id > newest[0]:
            # Numbers that are missing were lost on the way: they came all the same.
            self._intervals.append((first.selected_s - newest[1]) / (first.id - newest[0]))

    def note_window(self, num_views: int, seconds: float) -> None:
        """
        Note what a window cost, and change the next ones if they need it.

        :param num_views: of the window.
        :param seconds: from its images to its place in the world.
        """
        rate_hz = self.rate_hz
        if not self._config.is_paced or rate_hz is None or 2 * num_views < self._num_views:
            return
        self._costs.append((num_views, seconds))
        if len(self._costs) == _NUM_COSTS:
            self._adapt(rate_hz)

    def begin_session(self) -> None:
        """Forget the rate of the last session; what windows cost stays known."""
        self._newest = None
        self._intervals.clear()

    def _adapt(self, rate_hz: float) -> None:
        now = self._num_views
        larger = min(now + max(now // 4, 1), self._config.size)
        pairs = 2 * self._config.num_cameras
        # Whole instants, of which half can be new.
        smaller = max(now * 3 // 4 // pairs * pairs, min(self._least_views, now))
        is_busy = self._busy_share(now, rate_hz, is_wide=self._has_wide_stride) > BUSY_SHARE
        is_late = self._seconds(now) > _LATE_FACTOR * self._config.max_latency_s
        if is_late:
            self._change(smaller, is_busy or self._has_wide_stride, rate_hz)
            return
        if is_busy:
            if self._busy_share(now, rate_hz, is_wide=True) <= BUSY_SHARE:
                self._change(now, True, rate_hz)
            else:
                self._change(smaller, True, rate_hz)
            return
        for num_views, is_wide in ((larger, False), (larger, True), (now, False)):
            # A wide stride is never what a window of the same size goes back to.
            is_progress = num_views > now or (self._has_wide_stride and not is_wide)
            share = self._busy_share(num_views, rate_hz, is_wide=is_wide)
            is_in_time = num_views == now or self._seconds(num_views) <= self._most_s(num_views)
            if is_progress and is_in_time and share <= _GROWTH_MARGIN * BUSY_SHARE:
                self._change(num_views, is_wide, rate_hz)
                return

    def _change(self, num_views: int, is_wide: bool, rate_hz: float) -> None:
        if (num_views, is_wide) == (self._num_views, self._has_wide_stride):
            return
        self._num_views, self._has_wide_stride = num_views, is_wide
        _logger.info(
            'windows of %d views from now on, one for %d new instants: those before took %.2f s, '
            'and %.1f keyframes come in a second', num_views, self.stride,
            max(seconds for _, seconds in self._costs), rate_hz,
        )
        self._costs.clear()

    def _busy_share(self, num_views: int, rate_hz: float, *, is_wide: bool) -> float:
        """Return which share of the time windows of some size would take."""
        seconds = self._seconds(num_views)
        num_new = self._stride(num_views, is_wide=is_wide) * self._config.num_cameras
        # Not more often than keyframes come.
        shortest_s = self._config.num_cameras / rate_hz
        return seconds / max(min(num_new / rate_hz, self._config.max_age_s), shortest_s)

    def _seconds(self, num_views: int) -> float:
        """Return what windows of some size would take at most."""
        return statistics.median(
            # Fewer views cost at most their part, more at most the square of it.
            spent * num_views / before * max(num_views / before, 1.0)
            for before, spent in self._costs
        )

    def _most_s(self, num_views: int) -> float:
        """Return what a larger window may take: what was planned comes back more easily."""
        is_planned = num_views <= self._config.planned_views
        return _GROWTH_MARGIN * self._config.max_latency_s * (_LATE_FACTOR if is_planned else 1.0)

    def _stride(self, num_views: int, *, is_wide: bool) -> int:
        instants = num_views // self._config.num_cameras
        # In proportion, so that the overlap keeps its share.
        narrow = max(self._config.stride * num_views // self._config.planned_views, 1)
        return max(instants // 2, narrow) if is_wide else narrow

    @property
    def _least_views(self) -> int:
        """Return the views without which windows cannot be joined well."""
        pairs = 2 * self._config.num_cameras
        return min(-(-self._config.min_views // pairs) * pairs, self._config.planned_views)
