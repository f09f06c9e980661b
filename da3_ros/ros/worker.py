# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The one thread that owns the pipeline and the GPU."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
import logging
import threading
import time
from typing import Generic, Protocol, TypeVar

from da3_ros.mapping.keyframe import Instant, Keyframe, PosedKeyframe
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.mapping.update import DroppedKeyframe, DropReason, PipelineUpdate, WindowUpdate
from da3_ros.ros.insight.counters import Counters, Event
from da3_ros.ros.parameters.settings import NodeSettings

_logger = logging.getLogger(__name__)

Messages = TypeVar('Messages')

_EVENT_OF_DROP = {
    DropReason.OUT_OF_MEMORY: Event.OUT_OF_MEMORY,
    DropReason.INFERENCE_FAILED: Event.INFERENCE_FAILED,
    DropReason.NO_INTRINSICS: Event.NO_INTRINSICS,
    DropReason.RESET: Event.RESET,
}
_EVENT_OF_LIVE = {
    Event.PUBLISHED: Event.LIVE_PUBLISHED,
    Event.RESET: Event.LIVE_SKIPPED,
    Event.UNPUBLISHED: Event.LIVE_FAILED,
}


class Outlet(Protocol[Messages]):
    """
    Where results go.

    All but ``prepare`` is called with a lock held, so that a keyframe comes out whole or not at
    all: it must be quick, and wait for nothing.
    """

    def begin_session(self) -> None:
        """Forget the world so far; may come from any thread."""

    def note(self, window: WindowUpdate) -> None:
        """
        Take note of a window before its keyframes come.

        :param window: that they are of; its session may be a new one.
        """

    def prepare(
        self, keyframe: PosedKeyframe, window: WindowUpdate, settings: NodeSettings
    ) -> Messages:
        """
        Make the messages of a keyframe; may take its time.

        :param keyframe: the keyframe.
        :param window: that it is of.
        :param settings: of the job.
        """
        ...

    def publish(self, messages: Messages) -> None:
        """
        Send the messages of a keyframe.

        :param messages: from ``prepare``.
        """

    def publish_correction(self, window: WindowUpdate, settings: NodeSettings) -> None:
        """
        Send what a window without keyframes has moved.

        :param window: that was noted last.
        :param settings: of the job.
        """


@dataclass(frozen=True, eq=False)
class _Job:
    """
    What the thread does next.

    :param run: a command to the pipeline: begin, finish, live, flush or reset.
    :param epoch: what was asked for in an earlier one than the current must not come out.
    :param settings: when it began.
    """

    run: Callable[[], PipelineUpdate]
    epoch: int
    settings: NodeSettings


class InferenceWorker(Generic[Messages]):
    """
    Run the pipeline behind a bounded queue.

    ``offer``, ``offer_live``, ``request_flush`` and ``discard`` are its commands; they return at
    once and may come from any thread. Keyframes go first: of live frames only the newest waits,
    and it is inferred when no keyframe waits to be taken in and no window is due; a window then
    waits for at most that one live frame.

    What waits longer than the maximal age is flushed, so that the last images of a camera that
    stopped still come out. Whatever goes wrong in a window is logged and counted, and the next one
    runs.
    """

    def __init__(
        self, pipeline: DepthPipeline, outlet: Outlet[Messages], counters: Counters,
        settings: Callable[[], NodeSettings], *,
        complete: Callable[[Instant, float], Instant] | None = None,
    ) -> None:
        """
        Start the thread.

        :param pipeline: from now on the thread's own.
        :param outlet: where results go.
        :param counters: of the node.
        :param settings: gives the newest snapshot; each job keeps the one that it began with.
        :param complete: adds to an instant what takes up to so many seconds to find out; None adds
            nothing.
        """
        self._pipeline = pipeline
        self._outlet = outlet
        self._counters = counters
        self._settings = settings
        self._complete = complete
        self._queue_size = settings().queue.size
        self._condition = threading.Condition()
        self._queue: deque[Instant] = deque()
        self._live: Keyframe | None = None
        self._reset: str | None = None
        self._flush = False
        self._is_stopping = False
        self._has_ended = False
        self._epoch = 0
        self._began_s: float | None = None
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

    @property
    def busy_s(self) -> float:
        """Return how long the job under way has taken so far; 0 between jobs."""
        began_s = self._began_s
        return 0.0 if began_s is None else time.monotonic() - began_s

    def offer(self, instant: Instant) -> None:
        """
        Queue the keyframes of an instant.

        :param instant: from a ``FrameStream``.
        """
        with self._condition:
            self._queue.append(instant)
            if instant.new_session is not None:
                # What waits is of the session before, and would be seen in the world of this one.
                self._skip_live()
            if len(self._queue) > self._queue_size:
                self._drop_oldest()
            self._condition.notify()

    def offer_live(self, frame: Keyframe) -> None:
        """
        Take a live frame, in place of the one that waits.

        :param frame: from a ``FrameStream``.
        """
        with self._condition:
            self._skip_live()
            self._live = frame
            self._condition.notify()

    def request_flush(self) -> None:
        """Run windows over everything that waits, as soon as the queue is empty."""
        with self._condition:
            self._flush = True
            self._condition.notify()

    def discard(self, reason: str) -> None:
        """
        Drop everything that waits and begin a new session.

        When this returns, the old world is forgotten, and nothing that was offered before will
        come out any more, not even from an inference that is under way; its result is dropped
        when it ends.

        :param reason: for the log.
        """
        with self._delivery, self._condition:
            self._epoch += 1
            num_queued = sum(len(instant.keyframes) for instant in self._queue)
            self._counters.add(Event.RESET, num_queued)
            self._queue.clear()
            self._skip_live()
            self._flush = False
            self._reset = reason
            self._outlet.begin_session()
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

    def _skip_live(self) -> None:
        if self._live is not None:
            self._counters.add(Event.LIVE_SKIPPED)
            self._live = None

    def _drop_oldest(self) -> None:
        """Drop one instant, but not the session that begins with it."""
        oldest = self._queue.popleft()
        self._counters.add(Event.QUEUE_FULL, len(oldest.keyframes))
        if oldest.new_session is not None and self._queue[0].new_session is None:
            self._queue[0] = replace(self._queue[0], new_session=oldest.new_session)

    def _run(self) -> None:
        while (job := self._next_job()) is not None:
            self._began_s = time.monotonic()
            self._do(job.run, job)
            # Loops correct the past: whatever is new goes first.
            if not self._has_window_work():
                self._do(self._pipeline.close_loops, job)
            self._began_s = None

    def _next_job(self) -> _Job | None:
        with self._condition:
            if not self._has_work() and not self._condition.wait_for(
                    self._has_work, self._patience_s()):
                return self._job(self._pipeline.flush)
            if self._is_stopping and not self._pipeline.is_under_way:
                self._has_ended = True
                return None
            reset, self._reset = self._reset, None
            if reset is not None:
                return self._job(lambda: self._pipeline.reset(reset))
            if self._queue:
                instant, settings = self._queue.popleft(), self._settings()
                return self._job(lambda: self._begin(instant, settings))
            if self._pipeline.is_under_way:
                return self._job(self._pipeline.finish)
            live = self._live
            # What has waited long enough does so no longer because there is always a live frame.
            if self._flush or live is None or self._patience_s() == 0.0:
                self._flush = False
                return self._job(self._pipeline.flush)
            self._live, settings = None, self._settings()
            return self._job(lambda: self._infer_live(live, settings))

    def _job(self, run: Callable[[], PipelineUpdate]) -> _Job:
        return _Job(run, self._epoch, self._settings())

    def _has_work(self) -> bool:
        return self._has_window_work() or self._live is not None

    def _has_window_work(self) -> bool:
        return bool(
            self._is_stopping or self._reset is not None or self._queue or self._flush
            or self._pipeline.is_under_way
        )

    def _patience_s(self) -> float | None:
        """Return how long the oldest keyframe that waits may go on doing so; None: for ever."""
        waiting = self._pipeline.waiting
        if not waiting:
            return None
        max_age_s = self._pipeline.config.window.max_age_s
        return max(waiting[0].selected_s + max_age_s - time.monotonic(), 0.0)

    def _begin(self, instant: Instant, settings: NodeSettings) -> PipelineUpdate:
        return self._pipeline.begin(self._completed(instant, settings))

    def _infer_live(self, frame: Keyframe, settings: NodeSettings) -> PipelineUpdate:
        (completed,) = self._completed(Instant((frame,)), settings).keyframes
        return self._pipeline.live(completed)

    def _completed(self, instant: Instant, settings: NodeSettings) -> Instant:
        if self._complete is not None:
            try:
                return self._complete(instant, settings.tf.timeout_s)
            except Exception:
                self._note_fault('unexpected error, keyframes go on without the robot')
        return instant

    def _do(self, command: Callable[[], PipelineUpdate], job: _Job) -> None:
        """Run a command of the pipeline, and let everything out that comes of it."""
        try:
            update = command()
        except Exception:
            # A fault of one window must not end the node, nor hide what came before it.
            self._note_fault('unexpected error, the window is skipped')
            update = self._pipeline.take_update()
        for window in update.windows:
            self._count(window)
            self._deliver(window, job)

    def _count(self, window: WindowUpdate) -> None:
        for dropped in window.dropped:
            self._counters.add(_event_of(dropped))
        if window.report is not None:
            self._counters.add(Event.WINDOWS)
            if window.report.placement.rejection is not None:
                self._counters.add(Event.SEGMENTS)
            if window.report.placement.tied_segment is not None:
                self._counters.add(Event.TIES)
        if window.loop is not None:
            self._counters.add(Event.LOOPS)

    def _deliver(self, window: WindowUpdate, job: _Job) -> None:
        """Let one window out; what fails of it costs itself only."""
        if window.report is not None or window.correction is not None:
            self._while_current(job, lambda: self._outlet.note(window))
        for keyframe in window.keyframes:
            self._counters.add(self._send(keyframe, window, job))
        for frame in window.live:
            self._counters.add(_EVENT_OF_LIVE[self._send(frame, window, job)])
        if window.loop is not None:
            self._while_current(
                job, lambda: self._outlet.publish_correction(window, job.settings))

    def _while_current(self, job: _Job, step: Callable[[], None]) -> None:
        try:
            with self._delivery:
                if job.epoch == self._epoch:
                    step()
        except Exception:
            self._note_fault('unexpected error, a window is not told of')

    def _send(self, keyframe: PosedKeyframe, window: WindowUpdate, job: _Job) -> Event:
        """Send a keyframe, and say what became of it."""
        try:
            messages = self._outlet.prepare(keyframe, window, job.settings)
            with self._delivery:
                if job.epoch != self._epoch:
                    return Event.RESET
                self._outlet.publish(messages)
                return Event.PUBLISHED
        except Exception:
            self._note_fault('unexpected error, a keyframe is skipped')
            return Event.UNPUBLISHED

    def _note_fault(self, text: str) -> None:
        _logger.exception(text)
        self._counters.add(Event.EXCEPTIONS)


def _event_of(dropped: DroppedKeyframe) -> Event:
    if dropped.id >= 0:
        return _EVENT_OF_DROP[dropped.reason]
    return Event.LIVE_UNPLACED if dropped.reason is DropReason.NOT_PLACED else Event.LIVE_FAILED
