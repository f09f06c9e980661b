# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Keyframes in, posed depth out: with ``FrameStream``, the whole product without ROS."""

from collections.abc import Callable
from dataclasses import dataclass
import logging
import time
from typing import TypeVar

from da3_ros.errors import AlignmentError, Da3Error, IntrinsicsError, MemoryBudgetError
from da3_ros.mapping.config import PipelineConfig
from da3_ros.mapping.device_stage import DeviceStage, Inferred
from da3_ros.mapping.keyframe import Instant, Keyframe, PosedKeyframe, WindowEngine
from da3_ros.mapping.live import live_window, LivePace
from da3_ros.mapping.loop_closure import LoopCloser
from da3_ros.mapping.outcome import Outcome
from da3_ros.mapping.posing import pose_view
from da3_ros.mapping.stream_pace import StreamPace
from da3_ros.mapping.update import DropReason, PipelineUpdate, WindowReport
from da3_ros.mapping.view import read_views, View
from da3_ros.mapping.view_budget import ViewBudget
from da3_ros.mapping.window import SlidingWindow, Window
from da3_ros.mapping.world import World

_logger = logging.getLogger(__name__)

Result = TypeVar('Result')


@dataclass(frozen=True, eq=False)
class _Seen:
    """A window that was inferred, and what was seen in it."""

    window: Window
    inferred: Inferred
    views: tuple[View, ...]


class DepthPipeline:
    """
    Turn instants of keyframes into posed depth in one continuous world.

    Everything belongs to one thread. ``FrameStream`` makes instants of frames, and decides where
    sessions begin; it may run in another thread::

        stream, pipeline = FrameStream(config), DepthPipeline(engine, config)
        for frame in frames:
            for instant in stream.take(frame).instants:
                for keyframe in pipeline.add(instant).keyframes:
                    ...

    Every keyframe given to ``add`` comes out exactly once: posed, or dropped with a reason.

    Who makes and sends messages calls ``begin`` in place of ``add``: it returns while the device
    is at the window that is due, and tells of the one before; ``finish`` waits for the last one.
    What comes out, and in which order, is the same.

    Networks that estimate no cameras (the monocular ones), and windows that do not overlap (of one
    view, say), give depth alone: every keyframe comes out with ``has_pose`` False and the same
    level pose at the origin, in metres or in a unit of its window.
    """

    def __init__(self, engine: WindowEngine, config: PipelineConfig | None = None) -> None:
        """
        Start an empty session.

        :param engine: infers windows.
        :param config: settings; the defaults if None.
        """
        self._engine = engine
        self._config = PipelineConfig() if config is None else config
        self._stage = DeviceStage(engine, self._config.scale)
        self._window = SlidingWindow(self._config.window)
        self._budget = ViewBudget(self._config.window.size)
        self._pace = StreamPace(self._config.window)
        self._world = World(
            self._config.alignment, self._config.scale, is_chained=self._config.window.is_chained)
        self._outcome = Outcome(lambda: self._world.map_T_odom)
        self._is_fresh = True
        self._loops = self._new_loops()
        self._live_pace = LivePace(self._config.frames, self._config.window)

    @property
    def config(self) -> PipelineConfig:
        """Return the settings."""
        return self._config

    @property
    def waiting(self) -> tuple[Keyframe, ...]:
        """Return the keyframes that wait for their window, oldest first."""
        return self._window.waiting

    @property
    def is_under_way(self) -> bool:
        """Tell whether a window has begun that ``finish`` would wait for."""
        return self._stage.window is not None

    def add(self, instant: Instant) -> PipelineUpdate:
        """
        Take in keyframes and run the windows that are due.

        If a session begins with them, what waits of the old one comes out first.

        :param instant: from ``FrameStream``.
        """
        self._take_in(instant)
        self._run_due()
        return self.take_update()

    def begin(self, instant: Instant) -> PipelineUpdate:
        """
        Take in keyframes and begin the window that is due; the one under way ends before.

        :param instant: from ``FrameStream``.
        """
        self._take_in(instant)
        while self._window.is_due:
            seen = self._collect()
            try:
                # The device goes on while the window before is placed.
                if self._window.is_due:
                    self._begin_window()
            finally:
                self._place(seen)
        return self.take_update()

    def finish(self) -> PipelineUpdate:
        """Wait for the window under way."""
        self._run_due()
        return self.take_update()

    def live(self, frame: Keyframe) -> PipelineUpdate:
        """
        Infer a frame that is no keyframe, with the newest keyframes around it.

        Windows that are due go first. The world, and what is remembered of it, stay as they are.

        :param frame: from ``FrameStream``.
        """
        self._run_due()
        num_context = min(self._live_pace.num_context, self._budget.limit - 1)
        window = live_window(self._window.newest(num_context), frame)
        try:
            self._outcome.tell(live=[self._see_live(window)])
        except MemoryBudgetError as error:
            self._live_pace.note_shortage()
            self._outcome.drop([frame], DropReason.OUT_OF_MEMORY, str(error))
        except AlignmentError as error:
            self._outcome.drop([frame], DropReason.NOT_PLACED, str(error))
        except IntrinsicsError as error:
            self._outcome.drop_uncalibrated([frame], str(error))
        except Exception as error:
            self._outcome.drop([frame], DropReason.INFERENCE_FAILED, str(error))
            if not isinstance(error, Da3Error):
                raise
            _logger.warning('live frame dropped: %s', str(error))
        return self.take_update()

    def flush(self) -> PipelineUpdate:
        """Run windows over whatever waits, for a stream that stopped."""
        self._run_all()
        return self.take_update()

    def close_loops(self) -> PipelineUpdate:
        """
        Look whether the newest place was seen before; may run one joint window.

        Call it when no keyframe waits for its window: it moves ``map_T_odom``, never ``odom``.
        """
        self._run_due()
        loop = None
        if self._loops is not None:
            try:
                loop = self._loops.close(min(self._budget.limit, self._pace.num_views))
            except Da3Error as error:
                _logger.warning('no loop was looked for: %s', str(error))
        if loop is not None:
            self._world.correct(loop.correction)
            self._outcome.tell(correction=loop.correction, loop=loop)
        return self.take_update()

    def reset(self, reason: str) -> PipelineUpdate:
        """
        Begin a new session at the origin of ``odom``, and drop what waits.

        :param reason: for the log.
        """
        self._begin_session(reason)
        return self.take_update()

    def take_update(self) -> PipelineUpdate:
        """
        Return what changed since the last update.

        Every other method does; only after an unexpected error, which comes through to the
        caller, is there anything left to return.
        """
        return self._outcome.take()

    def _begin_session(self, reason: str) -> None:
        if self._is_fresh:
            return
        waiting = self._window.clear()
        _logger.info('new session: %s; %d waiting keyframes dropped', reason, len(waiting))
        self._outcome.drop(waiting, DropReason.RESET, reason)
        self._outcome.session += 1
        self._is_fresh = True
        self._world.clear()
        self._pace.begin_session()
        self._loops = self._new_loops()
        try:
            self._stage.drop()
        except Da3Error as error:
            _logger.info('of the window under way nothing would have come: %s', str(error))

    def _new_loops(self) -> LoopCloser | None:
        config = self._config
        if not config.loop.enabled:
            return None
        return LoopCloser(self._engine, config.loop, config.alignment)

    def _take_in(self, instant: Instant) -> None:
        try:
            if instant.new_session is not None:
                self._run_all()
        finally:
            # A fault in the old session must not take the new one along.
            if instant.new_session is not None:
                self._begin_session(instant.new_session)
            self._is_fresh = False
            self._pace.note_instant(instant)
            for keyframe in instant.keyframes:
                self._window.add(keyframe)
        for keyframe in instant.keyframes:
            self._stage.prepare(keyframe.frame.image)

    def _run_due(self) -> None:
        self._place(self._collect())
        while self._window.is_due:
            self._run_window()

    def _run_all(self) -> None:
        try:
            self._run_due()
            while self._window.waiting:
                self._run_window()
        except Exception:
            # The window that failed is dropped; the others have nothing to do with it.
            self._run_all()
            raise

    def _run_window(self) -> None:
        """
        Run one window, or make it smaller for the next try.

        Whatever happens, either the budget shrinks or keyframes stop waiting, so that loops over
        this end.
        """
        self._begin_window()
        self._place(self._collect())

    def _begin_window(self) -> None:
        window = self._window.propose(min(self._budget.limit, self._pace.num_views))
        self._window.begin(window)
        self._attempt(window, lambda: self._stage.begin(window))

    def _collect(self) -> _Seen | None:
        """Wait for the window under way, if there is one, and read what it saw."""
        window = self._stage.window
        return None if window is None else self._attempt(window, lambda: self._read(window))

    def _read(self, window: Window) -> _Seen:
        inferred = self._stage.finish()
        views = read_views(inferred.prediction, window.seen)
        self._window.complete(window)
        self._budget.note_success(len(window.keyframes))
        return _Seen(window, inferred, views)

    def _attempt(self, window: Window, step: Callable[[], Result]) -> Result | None:
        """Do a step of a window; where it fails, nothing of the window is under way any more."""
        try:
            return step()
        except MemoryBudgetError as error:
            self._shrink(window, error)
        except IntrinsicsError as error:
            self._outcome.drop_uncalibrated(self._window.discard(window), str(error))
        except Da3Error as error:
            _logger.warning('window of %d views dropped: %s', len(window.keyframes), str(error))
            self._discard(window, DropReason.INFERENCE_FAILED, str(error))
        except Exception:
            # A programming error is the caller's to report, but must not come again for ever.
            self._discard(window, DropReason.INFERENCE_FAILED, 'unexpected error')
            raise
        return None

    def _place(self, seen: _Seen | None) -> None:
        """Place a window in the world and pose its new keyframes."""
        if seen is None:
            return
        window, inferred, views = seen.window, seen.inferred, seen.views
        is_seen = {view.keyframe.id: view for view in views}
        new_views = tuple(is_seen[k.id] for k in window.new if k.id in is_seen)
        began_s = time.monotonic()
        try:
            placement = self._world.place(views, is_metric=inferred.prediction.is_metric)
            posed = [pose_view(view, placement, inferred) for view in new_views]
        except Exception:
            self._outcome.drop(window.new, DropReason.INFERENCE_FAILED, 'unexpected error')
            raise
        num_views = len(window.keyframes)
        self._pace.note_window(num_views, inferred.occupied_s + time.monotonic() - began_s)
        self._window.stride = self._pace.stride
        self._outcome.tell(keyframes=posed, correction=placement.correction, report=WindowReport(
            num_views, window.num_new, self._budget.limit, self._pace.num_views,
            inferred.is_conditioned, inferred.inferred_s - inferred.started_s,
            placement))
        self._outcome.drop_uncalibrated([k for k in window.new if k.id not in is_seen])
        if self._loops is not None:
            self._loops.note(placement, new_views)

    def _see_live(self, window: Window) -> PosedKeyframe:
        """Run the window of a live frame, and say where it lies."""
        is_alone = len(window.keyframes) == 1
        if is_alone and self._config.window.is_chained:
            raise AlignmentError('there is no window to place it by')
        self._stage.begin(window)
        inferred = self._stage.finish()
        began_s = time.monotonic()
        views = read_views(inferred.prediction, window.seen)
        placement = self._world.locate(views, is_metric=inferred.prediction.is_metric)
        posed = pose_view(views[-1], placement, inferred)
        self._live_pace.note(
            window.keyframes[-1], len(window.keyframes) - 1,
            inferred.occupied_s + time.monotonic() - began_s)
        return posed

    def _shrink(self, window: Window, error: MemoryBudgetError) -> None:
        num_views = len(window.keyframes)
        self._window.take_back()
        if self._budget.shrink(num_views):
            _logger.warning('%d views do not fit, retrying with at most %d: %s', num_views,
                            self._budget.limit, str(error))
            return
        _logger.error('not even one view fits: %s', str(error))
        self._discard(window, DropReason.OUT_OF_MEMORY, str(error))

    def _discard(self, window: Window, reason: DropReason, detail: str) -> None:
        """Drop what of a window has not come out."""
        self._outcome.drop(self._window.discard(window), reason, detail)
