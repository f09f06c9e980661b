# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The fused map, made and sent by a thread of its own."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
import functools
import logging
import threading
import time

from da3_ros.export.session import Session
from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.archive import ArchivedKeyframe
from da3_ros.mapping.correction import MapCorrection
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.points import observe
from da3_ros.mapping.voxel_map import VoxelMap
from da3_ros.ros import conversions
from da3_ros.ros.insight.counters import Counters, Event
from da3_ros.ros.output.depth_mask import mask_depth
from da3_ros.ros.output.placement import PlacedKeyframe
from da3_ros.ros.output.point_cloud import to_fused_cloud
from da3_ros.ros.parameters.settings import NodeSettings
import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecyclePublisher

_logger = logging.getLogger(__name__)

# Keyframes that may wait to be fused: a few windows.
_MAX_WAITING = 32


@dataclass(frozen=True, eq=False)
class _Step:
    """
    Something to do with the map.

    :param run: does it.
    :param is_keyframe: whether it may be left out where there is no time for all.
    """

    run: Callable[[], None]
    is_keyframe: bool = False


@dataclass(frozen=True, eq=False)
class _Remembered:
    """
    A keyframe of the past that is to be fused.

    :param keyframe: as it is remembered.
    :param num_corrections: corrections of the map that its pose has seen.
    """

    keyframe: ArchivedKeyframe
    num_corrections: int


class MapPublisher:
    """
    Fuse keyframes while somebody listens, or always where ``map.enabled`` says so.

    What was published while nobody listened is fused when somebody does, as far as it is
    remembered. All methods return at once and may come from any thread. A map goes out at most
    once per ``map.period_s``, and only when it changed and somebody listens; the middleware keeps
    the last one for those who come later.
    """

    def __init__(
        self, publisher: LifecyclePublisher, counters: Counters,
        settings: Callable[[], NodeSettings], *, remembered: Callable[[], Session],
    ) -> None:
        """
        Start the thread, which sleeps until there is something to fuse.

        :param publisher: of the map.
        :param counters: of the node.
        :param settings: gives the newest snapshot.
        :param remembered: gives the session so far; holds a keyframe before ``add`` is called.
        """
        self._publisher = publisher
        self._counters = counters
        self._settings = settings
        self._remembered = remembered
        self._condition = threading.Condition(threading.RLock())
        # Whether keyframes are fused as they come, and the newest one that is or will be fused.
        self._is_following = False
        self._newest_id = -1
        self._steps: deque[_Step] = deque()
        self._is_stopping = False
        # Of the thread alone.
        self._map = VoxelMap()
        self._backlog: deque[_Remembered] = deque()
        self._num_corrections = 0
        self._frame = ''
        self._frame_T_map = np.eye(4)
        self._stamped_id, self._stamp_ns = -1, 0
        self._is_new = False
        self._next_s = 0.0
        self._thread = threading.Thread(target=self._run, name='da3_map', daemon=True)
        self._thread.start()

    def add(
        self, keyframe: PosedKeyframe, map_T_odom: NDArray[np.float64], placed: PlacedKeyframe
    ) -> None:
        """
        Fuse a keyframe, if a map is wanted.

        :param keyframe: with a pose.
        :param map_T_odom: (4, 4) the pipeline's correction of its ``odom``.
        :param placed: tells where the map is shown from now on.
        """
        with self._condition:
            self.catch_up()
            if self._is_following and keyframe.id > self._newest_id:
                self._newest_id = keyframe.id
                pose = map_T_odom @ keyframe.odom_T_camera
                fuse = functools.partial(self._fuse, keyframe, pose, placed)
                self._do(_Step(fuse, is_keyframe=True))

    def catch_up(self) -> None:
        """Find out whether a map is wanted, and fuse what is remembered but was not fused."""
        is_wanted = self._settings().map.enabled or self._publisher.get_subscription_count() > 0
        with self._condition:
            is_new, self._is_following = is_wanted and not self._is_following, is_wanted
            if not is_new:
                return
            session = self._remembered()
            missed = [kept for kept in session.keyframes if kept.pose.id > self._newest_id]
            if missed:
                self._newest_id = missed[-1].pose.id
                self._do(_Step(functools.partial(self._look_back, session, missed)))

    def correct(self, correction: MapCorrection, placed: PlacedKeyframe | None) -> None:
        """
        Move what was fused.

        :param correction: of all keyframes so far.
        :param placed: tells where the map is shown from now on, or None where it stays.
        """
        self._do(_Step(functools.partial(self._correct, correction, placed)))

    def begin_session(self) -> None:
        """Forget the world so far."""
        with self._condition:
            self._steps.clear()
            self._do(_Step(self._clear))

    def stop(self, timeout_s: float) -> bool:
        """
        End the thread.

        :param timeout_s: longest wait for what it is doing.
        :returns: whether it ended.
        """
        with self._condition:
            self._is_stopping = True
            self._condition.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _do(self, step: _Step) -> None:
        with self._condition:
            self._steps.append(step)
            waiting = [other for other in self._steps if other.is_keyframe]
            if len(waiting) > _MAX_WAITING:
                self._steps.remove(waiting[0])
                self._counters.add(Event.MAP_BEHIND)
            self._condition.notify()

    def _run(self) -> None:
        while (run := self._next_step()) is not None:
            try:
                run()
            except Exception:
                # Whatever is wrong with the map, the rest of the node does not need it.
                _logger.exception('unexpected error in the map')
                self._counters.add(Event.EXCEPTIONS)

    def _next_step(self) -> Callable[[], None] | None:
        with self._condition:
            while not self._is_stopping:
                wait_s = self._next_s - time.monotonic()
                if self._is_new and wait_s <= 0.0:
                    return self._publish
                if self._steps:
                    return self._steps.popleft().run
                if self._backlog and self._backlog[0].num_corrections <= self._num_corrections:
                    return self._fuse_remembered
                self._condition.wait(wait_s if self._is_new else None)
            return None

    def _fuse(
        self, keyframe: PosedKeyframe, map_T_camera: NDArray[np.float64], placed: PlacedKeyframe
    ) -> None:
        depth = mask_depth(keyframe.depth, keyframe.confidence, self._settings().depth)
        self._observe(keyframe, depth, map_T_camera)
        self._show(placed)

    def _look_back(self, session: Session, missed: Sequence[ArchivedKeyframe]) -> None:
        self._backlog.extend(_Remembered(kept, session.num_corrections) for kept in missed)
        self._frame, self._frame_T_map = session.frame, session.frame_T_map

    def _fuse_remembered(self) -> None:
        packed = self._backlog.popleft().keyframe
        keyframe = packed.restored(packed.pose.map_S_camera)
        self._observe(keyframe, keyframe.depth, keyframe.odom_T_camera)
        self._is_new = True

    def _observe(
        self, keyframe: PosedKeyframe, depth: NDArray[np.float32],
        map_T_camera: NDArray[np.float64],
    ) -> None:
        config = self._settings().map
        points = observe(
            keyframe, depth, frame_S_camera=Sim3.from_rigid(map_T_camera),
            min_confidence=config.min_confidence, limit=config.limit_m)
        self._map.add(points, map_T_camera[:3, 3], config)
        if keyframe.id > self._stamped_id:
            self._stamped_id, self._stamp_ns = keyframe.id, keyframe.stamp_ns

    def _correct(self, correction: MapCorrection, placed: PlacedKeyframe | None) -> None:
        self._num_corrections += 1
        self._map.correct(correction)
        # Who came while the map was corrected was given some of the past as it is after that.
        self._backlog = deque(
            replace(kept, keyframe=kept.keyframe.moved(correction))
            if kept.num_corrections < self._num_corrections else kept for kept in self._backlog)
        self._show(placed)

    def _clear(self) -> None:
        self._map.clear()
        self._backlog.clear()
        # Who sees the old world must not take it for the new one.
        self._is_new = self._stamp_ns > 0

    def _show(self, placed: PlacedKeyframe | None) -> None:
        if placed is not None:
            self._frame, self._frame_T_map = placed.path_frame, placed.path_T_map
        self._is_new = self._stamp_ns > 0

    def _publish(self) -> None:
        config = self._settings().map
        self._next_s = time.monotonic() + config.period_s
        if self._publisher.get_subscription_count() == 0:
            return
        self._is_new = False
        points = self._map.points(config)
        header = conversions.to_header(self._stamp_ns, self._frame)
        self._publisher.publish(to_fused_cloud(points.moved(self._frame_T_map), header))
