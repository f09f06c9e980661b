# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Keyframes in, posed depth out: with ``FrameStream``, the whole product without ROS."""

from collections.abc import Sequence
import logging
import time

from da3_ros.errors import Da3Error, IntrinsicsError, MemoryBudgetError
from da3_ros.mapping.config import PipelineConfig
from da3_ros.mapping.correction import MapCorrection
from da3_ros.mapping.keyframe import (
    Instant,
    Keyframe,
    PosedKeyframe,
    StageTimes,
    WindowEngine,
)
from da3_ros.mapping.loop_closure import LoopCloser, LoopReport
from da3_ros.mapping.metres import has_motion
from da3_ros.mapping.stream_pace import StreamPace
from da3_ros.mapping.update import (
    DroppedKeyframe,
    DropReason,
    PipelineUpdate,
    WindowReport,
    WindowUpdate,
)
from da3_ros.mapping.view import known_intrinsics, read_views, View
from da3_ros.mapping.view_budget import ViewBudget
from da3_ros.mapping.window import SlidingWindow, Window
from da3_ros.mapping.world import FIRST_CAMERA, Placement, World
import numpy as np
from numpy.typing import NDArray

_logger = logging.getLogger(__name__)


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
        self._window = SlidingWindow(self._config.window)
        self._budget = ViewBudget(self._config.window.size)
        self._pace = StreamPace(self._config.window)
        self._world = World(
            self._config.alignment, self._config.scale, is_chained=self._config.window.is_chained)
        self._session = 0
        self._is_fresh = True
        self._uncalibrated: set[str] = set()
        self._loops = self._new_loops()
        self._untold: list[WindowUpdate] = []

    @property
    def config(self) -> PipelineConfig:
        """Return the settings."""
        return self._config

    @property
    def waiting(self) -> tuple[Keyframe, ...]:
        """Return the keyframes that wait for their window, oldest first."""
        return self._window.waiting

    def add(self, instant: Instant) -> PipelineUpdate:
        """
        Take in keyframes and run the windows that are due.

        If a session begins with them, what waits of the old one comes out first.

        :param instant: from ``FrameStream``.
        """
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
        while self._window.is_due:
            self._run_window()
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
        loop = None
        if self._loops is not None:
            try:
                loop = self._loops.close(min(self._budget.limit, self._pace.num_views))
            except Da3Error as error:
                _logger.warning('no loop was looked for: %s', str(error))
        if loop is not None:
            self._world.correct(loop.correction)
            self._tell(correction=loop.correction, loop=loop)
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
        update = PipelineUpdate(tuple(self._untold), self._world.map_T_odom)
        self._untold = []
        return update

    def _begin_session(self, reason: str) -> None:
        if self._is_fresh:
            return
        waiting = self._window.clear()
        _logger.info('new session: %s; %d waiting keyframes dropped', reason, len(waiting))
        self._drop(waiting, DropReason.RESET, reason)
        self._session += 1
        self._is_fresh = True
        self._world.clear()
        self._pace.begin_session()
        self._loops = self._new_loops()

    def _new_loops(self) -> LoopCloser | None:
        config = self._config
        if not config.loop.enabled:
            return None
        return LoopCloser(self._engine, config.loop, config.alignment)

    def _tell(
        self, *, keyframes: Sequence[PosedKeyframe] = (),
        dropped: Sequence[DroppedKeyframe] = (), correction: MapCorrection | None = None,
        report: WindowReport | None = None, loop: LoopReport | None = None,
    ) -> None:
        self._untold.append(WindowUpdate(
            self._session, self._world.map_T_odom, tuple(keyframes), tuple(dropped), correction,
            report, loop))

    def _run_all(self) -> None:
        try:
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
        window = self._window.propose(min(self._budget.limit, self._pace.num_views))
        try:
            self._place(window)
        except MemoryBudgetError as error:
            self._shrink(window, error)
        except IntrinsicsError as error:
            self._drop_uncalibrated(self._window.discard(window), str(error))
        except Da3Error as error:
            _logger.warning('window of %d views dropped: %s', len(window.keyframes), str(error))
            self._discard(window, DropReason.INFERENCE_FAILED, str(error))
        except Exception:
            # A programming error is the caller's to report, but must not come again for ever.
            self._discard(window, DropReason.INFERENCE_FAILED, 'unexpected error')
            raise

    def _place(self, window: Window) -> None:
        """Infer a window, place it in the world and pose its new keyframes."""
        keyframes = window.keyframes
        intrinsics = known_intrinsics(keyframes)
        is_calibrated = intrinsics is not None and bool(np.isfinite(intrinsics).all())
        given_poses = self._given_poses(keyframes) if is_calibrated else None
        started_s = time.monotonic()
        prediction = self._engine.infer(
            [keyframe.frame.image for keyframe in keyframes],
            poses=given_poses, intrinsics=intrinsics,
        )
        inferred_s = time.monotonic()
        views = read_views(prediction, keyframes)
        is_conditioned = given_poses is not None
        placement = self._world.place(views, is_metric=prediction.is_metric)
        seen = {view.keyframe.id: view for view in views}
        new_views = tuple(seen[k.id] for k in window.new if k.id in seen)
        posed = [_pose(view, placement, started_s, inferred_s) for view in new_views]
        self._window.complete(window)
        self._budget.note_success(len(keyframes))
        self._pace.note_window(len(keyframes), time.monotonic() - started_s)
        self._window.stride = self._pace.stride
        self._tell(keyframes=posed, correction=placement.correction, report=WindowReport(
            len(keyframes), window.num_new, self._budget.limit, self._pace.num_views,
            is_conditioned, inferred_s - started_s, placement))
        self._drop_uncalibrated([k for k in window.new if k.id not in seen])
        if self._loops is not None:
            self._loops.note(placement, new_views)

    def _given_poses(self, keyframes: Sequence[Keyframe]) -> NDArray[np.float64] | None:
        """
        Return the robot's poses for ``scale.source`` pose, if all are known.

        Poses that hold no motion say nothing about lengths: given to the network, they would leave
        a window in any unit, and its cameras in another.
        """
        scale = self._config.scale
        known = [k.frame.robot_T_camera for k in keyframes if k.frame.robot_T_camera is not None]
        if scale.source != 'pose' or len(known) < len(keyframes):
            return None
        poses = np.stack(known)
        return poses if has_motion(poses[:, :3, 3], scale) else None

    def _shrink(self, window: Window, error: MemoryBudgetError) -> None:
        num_views = len(window.keyframes)
        if self._budget.shrink(num_views):
            _logger.warning('%d views do not fit, retrying with at most %d: %s', num_views,
                            self._budget.limit, str(error))
            return
        _logger.error('not even one view fits: %s', str(error))
        self._discard(window, DropReason.OUT_OF_MEMORY, str(error))

    def _discard(self, window: Window, reason: DropReason, detail: str) -> None:
        """Drop what of a window has not come out."""
        self._drop(self._window.discard(window), reason, detail)

    def _drop_uncalibrated(self, keyframes: Sequence[Keyframe], detail: str = '') -> None:
        reason = DropReason.NO_INTRINSICS
        for camera in {keyframe.frame.camera for keyframe in keyframes} - self._uncalibrated:
            self._uncalibrated.add(camera)
            _logger.warning('keyframes of camera %r do not come out: %s', camera, reason.value)
        self._drop(keyframes, reason, detail)

    def _drop(self, keyframes: Sequence[Keyframe], reason: DropReason, detail: str) -> None:
        if keyframes:
            self._tell(dropped=[
                DroppedKeyframe(keyframe.id, keyframe.frame.stamp_ns, reason, detail)
                for keyframe in keyframes])


def _pose(
    view: View, placement: Placement, started_s: float, inferred_s: float
) -> PosedKeyframe:
    """Express one view in ``odom``: the same scale for its depth and its position."""
    frame = view.keyframe.frame
    pose = None if placement.window is None else view.window_T_camera
    odom_T_camera = FIRST_CAMERA if pose is None else placement.odom_S_window.transform_pose(pose)
    return PosedKeyframe(
        id=view.keyframe.id,
        stamp_ns=frame.stamp_ns,
        frame_id=frame.frame_id,
        image=view.image,
        depth=view.depth * np.float32(placement.odom_S_window.scale),
        confidence=view.confidence,
        intrinsics=view.intrinsics,
        odom_T_camera=odom_T_camera,
        segment=placement.segment,
        is_metric=placement.scale.is_metric,
        has_pose=pose is not None,
        covariance=None if pose is None else placement.drift.covariance(odom_T_camera[:3, 3]),
        camera=frame.camera,
        instant=view.keyframe.instant,
        robot_T_camera=frame.robot_T_camera,
        base_T_camera=frame.base_T_camera,
        picture=view.picture,
        times=StageTimes(
            frame.received_s, view.keyframe.selected_s, started_s, inferred_s),
        source=frame.image,
    )
