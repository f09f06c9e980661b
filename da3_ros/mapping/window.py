# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The bounded window of keyframes that slides along the stream."""

from collections import deque
from dataclasses import dataclass

from da3_ros.mapping.config import WindowConfig
from da3_ros.mapping.keyframe import Keyframe, NS_PER_S


@dataclass(frozen=True, eq=False)
class Window:
    """
    Keyframes to infer together.

    :param keyframes: by instant, oldest first; all but the last ``num_new`` were in an earlier
        window.
    :param num_new: keyframes that no window has covered yet, at least 1.
    :param wanted: indices of those whose depth is asked for; None: all.
    """

    keyframes: tuple[Keyframe, ...]
    num_new: int
    wanted: tuple[int, ...] | None = None

    @property
    def new(self) -> tuple[Keyframe, ...]:
        """Return the keyframes that no window has covered yet."""
        return self.keyframes[-self.num_new:]

    @property
    def is_live(self) -> bool:
        """Tell whether it is a live frame's, and none of those that slide along the stream."""
        return self.keyframes[-1].is_live

    @property
    def seen(self) -> tuple[Keyframe, ...]:
        """Return the keyframes whose depth is asked for."""
        if self.wanted is None:
            return self.keyframes
        return tuple(self.keyframes[i] for i in self.wanted)


class SlidingWindow:
    """
    Keep the keyframes that wait for a window and those that the next window overlaps with.

    ``stride`` is the configuration's, and may change from window to window.

    A window runs after every ``stride`` new instants, over the last ``size`` keyframes; the first
    runs as soon as there are ``min_views``. Memory is bounded by ``size`` covered keyframes plus
    those waiting.
    """

    def __init__(self, config: WindowConfig) -> None:
        """
        Start empty.

        :param config: sizes.
        """
        self._config = config
        self.stride = config.stride
        self._covered: deque[Keyframe] = deque(maxlen=config.size if config.is_chained else 0)
        self._waiting: list[Keyframe] = []
        # Of those that wait, the first are in the window that has begun.
        self._num_begun = 0

    @property
    def waiting(self) -> tuple[Keyframe, ...]:
        """Return the keyframes that are in no window yet, oldest first."""
        return tuple(self._waiting[self._num_begun:])

    def newest(self, count: int) -> tuple[Keyframe, ...]:
        """
        Return the newest keyframes that a window has covered, oldest first.

        :param count: how many at most.
        """
        return tuple(self._covered)[max(len(self._covered) - count, 0):]

    def add(self, keyframe: Keyframe) -> None:
        """
        Append a keyframe.

        :param keyframe: with a larger id than all before.
        """
        self._waiting.append(keyframe)

    @property
    def is_due(self) -> bool:
        """
        Whether a window should run now, if no keyframe of the last instant is to come.

        While one is under way: the next one, if that comes to a good end.
        """
        waiting = self.waiting
        if not self._covered and not self._num_begun:
            return len(waiting) >= self._config.min_views
        if not waiting:
            return False
        age_ns = waiting[-1].frame.stamp_ns - waiting[0].frame.stamp_ns
        is_old = age_ns >= self._config.max_age_s * NS_PER_S
        num_instants = 1 + sum(
            self._begins_instant(i) for i in range(self._num_begun + 1, len(self._waiting)))
        return is_old or num_instants >= self.stride

    def propose(self, max_views: int) -> Window:
        """
        Choose the next window without changing anything.

        As many waiting keyframes as fit come in, oldest first, but the overlap keeps up to half
        of the views: it is what joins the window to the world. An instant is divided only if it
        does not fit as a whole.

        :param max_views: upper limit, at least 1; at most ``size`` are taken.
        :raises ValueError: if nothing waits.
        """
        if not self._waiting:
            raise ValueError('window: got no waiting keyframe, expected at least one')
        limit = min(max_views, self._config.size)
        most_new = self.stride * self._config.num_cameras
        overlap = min(len(self._covered), self._config.size - most_new, limit // 2)
        num_new = self._whole_instants(max(limit - overlap, 1))
        together = (*self._covered, *self._waiting[:num_new])
        return Window(together[-limit:], num_new)

    def _whole_instants(self, most: int) -> int:
        """Return how many waiting keyframes to take, dividing no instant unless it must be."""
        num_new = min(len(self._waiting), most)
        ends = [i for i in range(1, num_new + 1) if self._begins_instant(i)]
        return max(ends, default=num_new)

    def _begins_instant(self, index: int) -> bool:
        """Tell whether the keyframe before a waiting one is of another instant."""
        if not 0 < index < len(self._waiting):
            return True
        before, after = self._waiting[index - 1].instant, self._waiting[index].instant
        return after is None or before != after

    def begin(self, window: Window) -> None:
        """
        Note that a proposed window is under way; none is proposed until it has ended.

        :param window: the last one proposed.
        """
        self._num_begun = window.num_new

    def take_back(self) -> None:
        """Let the new keyframes of the window under way wait again."""
        self._num_begun = 0

    def complete(self, window: Window) -> None:
        """
        Note that a proposed window was inferred.

        :param window: the last one proposed.
        """
        self.discard(window)
        self._covered.extend(window.new)

    def discard(self, window: Window) -> tuple[Keyframe, ...]:
        """
        Let the new keyframes of a proposed window wait no longer.

        :param window: the last one proposed.
        :returns: those that did wait: none, if it was inferred or discarded before.
        """
        self.take_back()
        new = {keyframe.id for keyframe in window.new}
        discarded = tuple(keyframe for keyframe in self._waiting if keyframe.id in new)
        self._waiting = [keyframe for keyframe in self._waiting if keyframe.id not in new]
        return discarded

    def clear(self) -> tuple[Keyframe, ...]:
        """Forget everything and return the keyframes that waited, also for a window's end."""
        self.take_back()
        waiting = self.waiting
        self._waiting.clear()
        self._covered.clear()
        return waiting
