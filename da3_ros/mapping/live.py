# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Live frames: those that are no keyframes, in windows of their own.

A live frame and the newest keyframes are a window like any other. Its place in the world is found
like that of any other, too, but nothing is joined to it, and nothing remembers it.
"""

from collections import deque
from collections.abc import Iterable, Sequence
import itertools
import logging
import statistics

from da3_ros.inference.memory_planner import BUSY_SHARE
from da3_ros.mapping.config import FramesConfig, WindowConfig
from da3_ros.mapping.keyframe import Frame, Keyframe, NS_PER_S
from da3_ros.mapping.window import Window

_logger = logging.getLogger(__name__)

# Keyframes whose depth is asked for once more, to place a live frame by: the newest, which see
# most of what it sees. One would do; two tell when they do not agree.
_NUM_ANCHORS = 2
# A frame so much earlier than the rate allows is in time: cameras are not punctual.
_EARLY_SHARE = 0.1
_FIRST_CONTEXT, _MOST_CONTEXT = 4, 8
# More is taken only where that would stay well within the time.
_GROWTH_MARGIN = 0.8
_NUM_INTERVALS = 16
_MIN_INTERVALS = 4
# So many live frames must agree before anything changes; the first of a size may be slow.
_NUM_COSTS = 5


def live_window(context: Sequence[Keyframe], frame: Keyframe) -> Window:
    """
    Return the window of a live frame.

    :param context: keyframes of the last window, oldest first.
    :param frame: the live frame.
    """
    num_views = len(context) + 1
    first = max(len(context) - _NUM_ANCHORS, 0)
    return Window((*context, frame), 1, wanted=tuple(range(first, num_views)))


class LiveSelector:
    """Decide which of the frames that are no keyframes become live frames."""

    def __init__(self, config: FramesConfig) -> None:
        """
        Wait for the first frame.

        :param config: whether there are any, and how many in a second.
        """
        self._is_on = config.is_live
        self._interval_ns = NS_PER_S / config.max_rate_hz if config.max_rate_hz else 0.0
        self._numbers = itertools.count(1)
        self._newest_ns: int | None = None
        self._due_ns = 0.0

    def select(self, frames: Iterable[Frame], kept: Iterable[Keyframe]) -> tuple[Keyframe, ...]:
        """
        Take in frames of one camera.

        :param frames: that go on, oldest first.
        :param kept: those of them that are keyframes.
        """
        if not self._is_on:
            return ()
        are_kept = {keyframe.frame.stamp_ns for keyframe in kept}
        return tuple(
            Keyframe(-next(self._numbers), frame) for frame in frames
            if frame.stamp_ns not in are_kept and self._is_due(frame.stamp_ns))

    def _is_due(self, stamp_ns: int) -> bool:
        newest_ns, self._newest_ns = self._newest_ns, stamp_ns
        if newest_ns is None or stamp_ns < newest_ns:
            # Stamps that go back are of a new session.
            self._due_ns = stamp_ns
        early_ns = _EARLY_SHARE * self._interval_ns
        if stamp_ns < self._due_ns - early_ns:
            return False
        # What comes early is not gained, and what comes late not made up for.
        self._due_ns = max(self._due_ns, stamp_ns - early_ns) + self._interval_ns
        return True


class LivePace:
    """
    Tell how many keyframes a live frame is inferred with.

    As many as leave half of the time between two frames to others: fewer where live frames take
    longer, more where they would not.
    """

    def __init__(self, config: FramesConfig, window: WindowConfig) -> None:
        """
        Start with a few.

        :param config: how many, if that is not left to the pace.
        :param window: that the keyframes are of.
        """
        self._is_fixed = config.context > 0 or not window.is_chained
        # The last window has no more, and a live frame is never a larger one.
        self._most = min(config.context or _MOST_CONTEXT, window.size - 1)
        if not window.is_chained:
            self._most = 0
        self.num_context = self._most if self._is_fixed else min(_FIRST_CONTEXT, self._most)
        self._newest: Keyframe | None = None
        self._intervals_s: deque[float] = deque(maxlen=_NUM_INTERVALS)
        self._costs_s: deque[float] = deque(maxlen=_NUM_COSTS)

    def note(self, frame: Keyframe, num_context: int, seconds: float) -> None:
        """
        Note what a live frame cost.

        :param frame: newer than those before.
        :param num_context: keyframes that it was inferred with.
        :param seconds: from its image to its place in the world.
        """
        newest, self._newest = self._newest, frame
        if newest is not None and frame.id < newest.id:
            # Numbers that are missing were skipped: they came all the same.
            self._intervals_s.append(
                (frame.selected_s - newest.selected_s) / (newest.id - frame.id))
        if self._is_fixed or num_context != self.num_context:
            return
        self._costs_s.append(seconds)
        if len(self._costs_s) == _NUM_COSTS and len(self._intervals_s) >= _MIN_INTERVALS:
            self._adapt(statistics.median(self._costs_s), statistics.median(self._intervals_s))

    def note_shortage(self) -> None:
        """Take fewer, because there is no memory for so many."""
        self._change(max(self.num_context // 2, 1), 'memory is short')

    def _adapt(self, spent_s: float, period_s: float) -> None:
        num_views, limit_s = self.num_context + 1, BUSY_SHARE * period_s
        reason = f'they took {spent_s:.3f} s, and one comes every {period_s:.3f} s'
        if spent_s > limit_s:
            fitting = int(num_views * limit_s / spent_s) - 1
            self._change(max(min(fitting, self.num_context - 1), 1), reason)
        elif spent_s * ((num_views + 1) / num_views) ** 2 <= _GROWTH_MARGIN * limit_s:
            # One more costs at most the square of its part.
            self._change(min(self.num_context + 1, self._most), reason)

    def _change(self, num_context: int, reason: str) -> None:
        if num_context == self.num_context or self._is_fixed:
            return
        self.num_context = num_context
        self._costs_s.clear()
        _logger.info('live frames with %d keyframes from now on: %s', num_context, reason)
