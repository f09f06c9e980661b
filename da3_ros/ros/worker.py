# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The one thread that owns the pipeline and the GPU."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
import logging
import threading
from typing import Generic, Protocol, TypeVar

from da3_ros.mapping.keyframe import Instant, Keyframe, PosedKeyframe
from da3_ros.mapping.loop_closure import LoopReport
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.mapping.update import DropReason, PipelineUpdate
from da3_ros.ros.insight.counters import Counters, Event

_logger = logging.getLogger(__name__)

Messages = TypeVar('Messages')

_EVENT_OF_DROP = {
    DropReason.OUT_OF_MEMORY: Event.OUT_OF_MEMORY,
    DropReason.INFERENCE_FAILED: Event.INFERENCE_FAILED,
    DropReason.NO_INTRINSICS: Event.NO_INTRINSICS,
    DropReason.RESET: Event.RESET,
}


class Outlet(Protocol[Messages]):
    """Where results go; called by the worker's thread alone."""

    def begin_session(self) -> None:
        """Forget the world so far: the next keyframe is at the origin of a new one."""

    def note_update(self, update: PipelineUpdate) -> None:
        """
        Take note of a window before its keyframes come.

        :param update: that they are of.
        """

    def prepare(self, keyframe: PosedKeyframe) -> Messages:
        """
        Make the messages of a keyframe; may take its time.

        :param keyframe: the keyframe.
        """
        ...

    def publish(self, messages: Messages) -> None:
        """
        Send the messages of a keyframe; must be quick.

        :param messages: from ``prepare``.
        """

    def publish_loop(self, loop: LoopReport) -> None:
        """
        Send what a closed loop moved.

        :param loop: of the update that was noted last.
        """


@dataclass(frozen=True, eq=False)
class _Entry:
    """
    Keyframes in the queue.

    :param instant: the keyframes.
    :param new_session: why a new session begins with them, or None.
    """

    instant: Instant
    new_session: str | None


@dataclass(frozen=True, eq=False)
class _Job:
    """
    What the thread does next: one of three.

    :param epoch: what was asked for in an earlier one than the current must not come out.
    :param reset: why to drop everything, or None.
    :param entry: keyframes to add, or None.
    :param flush: whether to run a window over what waits.
    """

    epoch: int
    reset: str | None = None
    entry: _Entry | None = None
    flush: bool = False


class InferenceWorker(Generic[Messages]):
    """
    Run the pipeline behind a bounded queue.

    ``offer``, ``request_flush`` and ``discard`` return at once and may come from any thread. What
    waits longer than the maximal age is flushed, so that the last images of a camera that stopped
    still come out. Whatever goes wrong in a window is logged and counted, and the next one runs.
    """

    def __init__(
        self, pipeline: DepthPipeline, outlet: Outlet[Messages], counters: Counters, *,
        queue_size: int, max_age_s: float, complete: Callable[[Keyframe], Keyframe] | None = None,
    ) -> None:
        """
        Start the thread.

        :param pipeline: from now on the thread's own, but for ``select``.
        :param outlet: where results go.
        :param counters: of the node.
        :param queue_size: instants that may wait; when full, the oldest is dropped.
        :param max_age_s: longest wait of a keyframe for its window to fill, in real time.
        :param complete: adds to a keyframe what takes time to find out; None adds nothing.
        """
        self._pipeline = pipeline
        self._outlet = outlet
        self._counters = counters
        self._queue_size = queue_size
        self._max_age_s = max_age_s
        self._complete = complete
        self._condition = threading.Condition()
        self._queue: deque[_Entry] = deque()
        self._reset: str | None = None
        self._flush = False
        self._is_stopping = False
        self._has_ended = False
        self._epoch = 0
        # Held while one keyframe is sent, so that it comes out whole or not at all.
        self._delivery = threading.Lock()
        # A daemon: a window that never ends must not keep the process.
        self._thread = threading.Thread(target=self._run, name='da3_inference', daemon=True)
        self._thread.start()

    @property
    def num_queued(self) -> int:
        """Return the number of instants in the queue."""
        with self._condition:
            return len(self._queue)

    def offer(self, instant: Instant, *, new_session: str | None = None) -> None:
        """
        Queue the keyframes of an instant.

        :param instant: from the pipeline's ``select``.
        :param new_session: why a new session begins with it, or None.
        """
        with self._condition:
            entry = _Entry(instant, new_session)
            self._queue.append(entry)
            if len(self._queue) > self._queue_size:
                self._drop_oldest()
            self._condition.notify()

    def request_flush(self) -> None:
        """Run windows over everything that waits, as soon as the queue is empty."""
        with self._condition:
            self._flush = True
            self._condition.notify()

    def discard(self, reason: str) -> None:
        """
        Drop everything that waits and begin a new session.

        When this returns, nothing that was offered before will come out any more, not even from
        an inference that is under way; its result is dropped when it ends.

        :param reason: for the log.
        """
        with self._delivery, self._condition:
            self._epoch += 1
            num_queued = sum(len(entry.instant.keyframes) for entry in self._queue)
            self._counters.add(Event.RESET, num_queued)
            self._queue.clear()
            self._flush = False
            self._reset = reason
            self._condition.notify()

    def stop(self, timeout_s: float) -> bool:
        """
        End the thread after the inference that is under way.

        :param timeout_s: longest wait for that.
        :returns: whether it ended; if not, the worker goes on as before when that inference ends.
        """
        self.discard('the worker stops')
        with self._condition:
            self._is_stopping = True
            self._condition.notify()
        self._thread.join(timeout_s)
        with self._condition:
            # Under the lock: from here on it either ends at once, or not at all.
            self._is_stopping = has_ended = self._has_ended
        if has_ended:
            self._thread.join()
        return has_ended

    def _drop_oldest(self) -> None:
        """Drop one instant, but not the session that begins with it."""
        oldest = self._queue.popleft()
        self._counters.add(Event.QUEUE_FULL, len(oldest.instant.keyframes))
        if oldest.new_session is not None and self._queue[0].new_session is None:
            self._queue[0] = replace(self._queue[0], new_session=oldest.new_session)

    def _run(self) -> None:
        while (job := self._next_job()) is not None:
            for step in self._steps(job):
                try:
                    step()
                except Exception:
                    # The one catch-all: a fault of one window must not end the node.
                    _logger.exception('unexpected error, the window is skipped')
                    self._counters.add(Event.EXCEPTIONS)

    def _next_job(self) -> _Job | None:
        with self._condition:
            if not self._has_work():
                # None: wait for ever.
                age_s = self._max_age_s if self._pipeline.waiting else None
                if not self._condition.wait_for(self._has_work, age_s):
                    return _Job(self._epoch, flush=True)
            if self._is_stopping:
                self._has_ended = True
                return None
            reset, self._reset = self._reset, None
            if reset is not None:
                return _Job(self._epoch, reset=reset)
            if self._queue:
                return _Job(self._epoch, entry=self._queue.popleft())
            self._flush = False
            return _Job(self._epoch, flush=True)

    def _has_work(self) -> bool:
        return bool(
            self._is_stopping or self._reset is not None or self._queue or self._flush
        )

    def _steps(self, job: _Job) -> Iterator[Callable[[], None]]:
        """Give the steps of a job, each of which may fail without the others."""
        entry = job.entry
        new_session = job.reset if entry is None else entry.new_session
        # What waits in the old session comes out first, unless it is to be dropped.
        if job.flush or (entry is not None and entry.new_session is not None):
            yield lambda: self._deliver(self._pipeline.flush(), job.epoch)
        if new_session is not None:
            yield lambda: self._begin_session(new_session)
        if entry is not None:
            yield lambda: self._add(entry.instant, job.epoch)
        # Loops correct the past: whatever is new goes first.
        if not self._has_work():
            yield lambda: self._deliver(self._pipeline.close_loops(), job.epoch)

    def _begin_session(self, reason: str) -> None:
        self._pipeline.reset(reason)
        self._outlet.begin_session()

    def _add(self, instant: Instant, epoch: int) -> None:
        if self._complete is not None:
            instant = Instant(tuple(self._complete(keyframe) for keyframe in instant.keyframes))
        self._deliver(self._pipeline.add(instant), epoch)

    def _deliver(self, update: PipelineUpdate, epoch: int) -> None:
        for dropped in update.dropped:
            self._counters.add(_EVENT_OF_DROP[dropped.reason])
        if update.window is not None:
            self._counters.add(Event.WINDOWS)
            if update.window.placement.rejection is not None:
                self._counters.add(Event.SEGMENTS)
            if update.window.placement.tied_segment is not None:
                self._counters.add(Event.TIES)
        if update.loop is not None:
            self._counters.add(Event.LOOPS)
        self._outlet.note_update(update)
        for keyframe in update.keyframes:
            messages = self._outlet.prepare(keyframe)
            with self._delivery:
                is_current = epoch == self._epoch
                if is_current:
                    self._outlet.publish(messages)
            self._counters.add(Event.PUBLISHED if is_current else Event.RESET)
        if update.loop is not None:
            with self._delivery:
                if epoch == self._epoch:
                    self._outlet.publish_loop(update.loop)
