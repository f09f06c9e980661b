# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Frames in, posed depth out: the whole product without ROS."""

from collections.abc import Sequence
import logging
import time

from da3_ros.errors import Da3Error, IntrinsicsError, MemoryBudgetError
from da3_ros.mapping.config import PipelineConfig
from da3_ros.mapping.keyframe import (
    Frame,
    Instant,
    Keyframe,
    PosedKeyframe,
    StageTimes,
    WindowEngine,
)
from da3_ros.mapping.loop_closure import LoopCloser, LoopReport
from da3_ros.mapping.rig import RigSelector
from da3_ros.mapping.stream_pace import StreamPace
from da3_ros.mapping.update import DroppedKeyframe, DropReason, PipelineUpdate, WindowReport
from da3_ros.mapping.view import known_intrinsics, read_views, View
from da3_ros.mapping.view_budget import ViewBudget
from da3_ros.mapping.window import SlidingWindow, Window
from da3_ros.mapping.world import FIRST_CAMERA, Placement, World
import numpy as np
from numpy.typing import NDArray

_logger = logging.getLogger(__name__)


class DepthPipeline:
    """
    Turn a stream of frames into posed depth in one continuous world.

    Threads: ``select`` and ``release`` belong to the thread that receives images, everything else
    to one worker. The two sides share the selector alone, which ``reset`` reaches through a flag.

    Every keyframe given to ``add`` comes out exactly once: posed, or dropped with a reason. A
    change of the image size or of the frame id, and a stamp that runs backwards, begin a new
    session by themselves.

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
        self._selector = RigSelector(self._config.rig, self._config.keyframe)
        self._window = SlidingWindow(self._config.window)
        self._budget = ViewBudget(self._config.window.size)
        self._pace = StreamPace(self._config.window)
        self._world = World(
            self._config.alignment, self._config.scale, is_chained=self._config.window.is_chained)
        self._newest: dict[str, Frame] = {}
        self._uncalibrated: set[str] = set()
        self._posed: list[PosedKeyframe] = []
        self._dropped: list[DroppedKeyframe] = []
        self._report: WindowReport | None = None
        self._loops = self._new_loops()
        self._loop: LoopReport | None = None

    @property
    def waiting(self) -> tuple[Keyframe, ...]:
        """Return the keyframes that wait for their window, oldest first."""
        return self._window.waiting

    def select(self, frame: Frame) -> Instant | None:
        """
        Decide which frames are kept; cheap enough for every frame.

        :param frame: the newest frame of its camera.
        :returns: the keyframes to hand to ``add``, or None; with several cameras, ``ready`` may
            have more.
        """
        return self._selector.select(frame)

    def ready(self) -> Instant | None:
        """Return more keyframes to hand to ``add``, or None."""
        return self._selector.ready()

    def release(self) -> Instant | None:
        """
        Stop waiting for the frames of other cameras.

        :returns: what waited, to hand to ``add``, or None; there may be another.
        """
        return self._selector.release()

    def add(self, instant: Instant) -> PipelineUpdate:
        """
        Take in keyframes and run the windows that are due.

        :param instant: from ``select`` or ``release``.
        """
        frames = [keyframe.frame for keyframe in instant.keyframes]
        changes = (_session_change(self._newest.get(frame.camera), frame) for frame in frames)
        change = next((change for change in changes if change is not None), None)
        if change is not None:
            self._run_all()
            self._begin_session(change)
        self._newest.update({frame.camera: frame for frame in frames})
        self._pace.note_instant(instant)
        for keyframe in instant.keyframes:
            self._window.add(keyframe)
        while self._window.is_due:
            self._run_window()
        return self._take_update()

    def flush(self) -> PipelineUpdate:
        """Run windows over whatever waits, for a stream that stopped."""
        self._run_all()
        return self._take_update()

    def close_loops(self) -> PipelineUpdate:
        """
        Look whether the newest place was seen before; may run one joint window.

        Call it when no keyframe waits for its window: it moves ``map_T_odom``, never ``odom``.
        """
        if self._loops is not None:
            try:
                self._loop = self._loops.close(min(self._budget.limit, self._pace.num_views))
            except Da3Error as error:
                _logger.warning('no loop was looked for: %s', str(error))
        if self._loop is not None:
            self._world.correct(self._loop.map_S_window)
        return self._take_update()

    def reset(self, reason: str) -> None:
        """
        Begin a new session at the origin of ``odom``.

        What waits is dropped; the next update says so.

        :param reason: for the log.
        """
        self._selector.request_reset()
        self._begin_session(reason)

    def _begin_session(self, reason: str) -> None:
        waiting = self._window.clear()
        _logger.info('new session: %s; %d waiting keyframes dropped', reason, len(waiting))
        self._drop(waiting, DropReason.RESET, reason)
        self._world.clear()
        self._pace.begin_session()
        self._loops = self._new_loops()
        self._newest.clear()

    def _new_loops(self) -> LoopCloser | None:
        config = self._config
        if not config.loop.enabled:
            return None
        return LoopCloser(self._engine, config.loop, config.alignment)

    def _take_update(self) -> PipelineUpdate:
        update = PipelineUpdate(
            tuple(self._posed), self._world.map_T_odom, self._report, tuple(self._dropped),
            self._loop,
        )
        self._posed, self._dropped, self._report, self._loop = [], [], None, None
        return update

    def _run_all(self) -> None:
        while self._window.waiting:
            self._run_window()

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
            self._window.discard(window)
            self._drop_uncalibrated(window.new, str(error))
        except Da3Error as error:
            _logger.warning('window of %d views dropped: %s', len(window.keyframes), str(error))
            self._window.discard(window)
            self._drop(window.new, DropReason.INFERENCE_FAILED, str(error))
        except Exception:
            # A programming error is the caller's to report, but must not come again for ever.
            self._window.discard(window)
            self._drop(window.new, DropReason.INFERENCE_FAILED, 'unexpected error')
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
        placement = self._world.place(views, is_metric=prediction.is_metric or is_conditioned)
        self._window.complete(window)
        self._budget.note_success(len(keyframes))
        self._pace.note_window(len(keyframes), time.monotonic() - started_s)
        self._window.stride = self._pace.stride
        seen = {view.keyframe.id: view for view in views}
        new_views = tuple(seen[k.id] for k in window.new if k.id in seen)
        self._drop_uncalibrated([k for k in window.new if k.id not in seen])
        if self._loops is not None:
            self._loops.note(placement, new_views)
        for view in new_views:
            keyframe = view.keyframe
            times = StageTimes(
                keyframe.frame.received_s, keyframe.selected_s, started_s, inferred_s)
            self._posed.append(_pose(view, placement, times))
        self._report = WindowReport(
            len(keyframes), window.num_new, self._budget.limit, is_conditioned,
            inferred_s - started_s, placement,
        )

    def _given_poses(self, keyframes: Sequence[Keyframe]) -> NDArray[np.float64] | None:
        """Return the robot's poses for ``scale.source`` pose, if all are known."""
        known = [k.frame.robot_T_camera for k in keyframes if k.frame.robot_T_camera is not None]
        is_wanted = self._config.scale.source == 'pose'
        return np.stack(known) if is_wanted and len(known) == len(keyframes) else None

    def _shrink(self, window: Window, error: MemoryBudgetError) -> None:
        num_views = len(window.keyframes)
        if self._budget.shrink(num_views):
            _logger.warning('%d views do not fit, retrying with at most %d: %s', num_views,
                            self._budget.limit, str(error))
            return
        _logger.error('not even one view fits: %s', str(error))
        self._window.discard(window)
        self._drop(window.new, DropReason.OUT_OF_MEMORY, str(error))

    def _drop_uncalibrated(self, keyframes: Sequence[Keyframe], detail: str = '') -> None:
        reason = DropReason.NO_INTRINSICS
        for camera in {keyframe.frame.camera for keyframe in keyframes} - self._uncalibrated:
            self._uncalibrated.add(camera)
            _logger.warning('keyframes of camera %r do not come out: %s', camera, reason.value)
        self._drop(keyframes, reason, detail)

    def _drop(self, keyframes: Sequence[Keyframe], reason: DropReason, detail: str) -> None:
        self._dropped.extend(
            DroppedKeyframe(keyframe.id, keyframe.frame.stamp_ns, reason, detail)
            for keyframe in keyframes
        )


def _session_change(last: Frame | None, frame: Frame) -> str | None:
    """Say why a frame cannot continue the session, or return None if it can."""
    if last is None:
        return None
    if frame.image.shape != last.image.shape:
        return f'the image size changed from {last.image.shape} to {frame.image.shape}'
    if frame.frame_id != last.frame_id:
        return f'the camera frame changed from {last.frame_id!r} to {frame.frame_id!r}'
    if frame.stamp_ns <= last.stamp_ns:
        return f'time went back from {last.stamp_ns} to {frame.stamp_ns} ns'
    return None


def _pose(view: View, placement: Placement, times: StageTimes) -> PosedKeyframe:
    """Express one view in ``odom``: the same scale for its depth and its position."""
    frame = view.keyframe.frame
    pose = None if placement.window is None else view.window_T_camera
    return PosedKeyframe(
        id=view.keyframe.id,
        stamp_ns=frame.stamp_ns,
        frame_id=frame.frame_id,
        image=view.image,
        depth=view.depth * np.float32(placement.odom_S_window.scale),
        confidence=view.confidence,
        intrinsics=view.intrinsics,
        odom_T_camera=(
            FIRST_CAMERA if pose is None else placement.odom_S_window.transform_pose(pose)
        ),
        segment=placement.segment,
        is_metric=placement.scale.is_metric,
        has_pose=pose is not None,
        camera=frame.camera,
        instant=view.keyframe.instant,
        times=times,
        source=frame.image,
    )
