# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The fused map, made and sent by a thread of its own, as points and as a grid."""

from collections import deque
from collections.abc import Callable
import functools
import logging
import threading
import time

from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.config import MapConfig
from da3_ros.mapping.correction import MapCorrection
from da3_ros.mapping.points import observe
from da3_ros.mapping.session_record import RecordedKeyframe, SessionRecord
from da3_ros.mapping.voxel_map import VoxelMap
from da3_ros.ros import conversions
from da3_ros.ros.insight.counters import Counters, Event
from da3_ros.ros.output.grid_output import GridOutput
from da3_ros.ros.output.point_cloud import to_fused_cloud
from rclpy.lifecycle import LifecyclePublisher

_logger = logging.getLogger(__name__)

# Keyframes that may wait to be fused as they come: a few windows.
_MAX_WAITING = 32


class MapPublisher:
    """
    Fuse keyframes while somebody listens, or always where ``map.enabled`` says so.

    What was published while nobody listened is fused when somebody does, as far as it is
    recorded. Where keyframes are is looked up when they are fused, and only once the map has seen
    the same corrections as the record, so that nothing moves twice. All methods return at once and
    may come from any thread. A map goes out at most once per ``map.period_s``, and only when it
    changed and somebody listens; the middleware keeps the last one for those who come later.
    """

    def __init__(
        self, publisher: LifecyclePublisher, counters: Counters, record: SessionRecord,
        config: MapConfig, grid: GridOutput,
    ) -> None:
        """
        Start the thread, which sleeps until there is something to fuse.

        :param publisher: of the map.
        :param counters: of the node.
        :param record: of the session.
        :param config: settings, until newer ones come with a keyframe or a listener.
        :param grid: of the map.
        """
        self._publisher = publisher
        self._counters = counters
        self._record = record
        self._config = config
        self._grid = grid
        self._condition = threading.Condition(threading.RLock())
        # Whether keyframes are fused as they come, and the newest one that is or will be fused.
        self._is_following = False
        self._newest_id = -1
        self._waiting: deque[RecordedKeyframe] = deque()
        self._missed: deque[RecordedKeyframe] = deque()
        self._corrections: deque[MapCorrection] = deque()
        self._num_corrections = record.num_corrections
        self._is_cleared = False
        self._is_stopping = False
        # Of the thread alone.
        self._map = VoxelMap()
        self._stamped_id, self._stamp_ns = -1, 0
        self._unsent: set[LifecyclePublisher] = set()
        self._next_s = 0.0
        self._thread = threading.Thread(target=self._run, name='da3_map', daemon=True)
        self._thread.start()

    def add(self, keyframe: RecordedKeyframe, config: MapConfig) -> None:
        """
        Fuse a keyframe, if a map is wanted.

        :param keyframe: the newest in the record.
        :param config: settings from now on.
        """
        with self._condition:
            self.catch_up(config)
            if self._is_following and keyframe.id > self._newest_id:
                self._newest_id = keyframe.id
                self._waiting.append(keyframe)
                if len(self._waiting) > _MAX_WAITING:
                    self._waiting.popleft()
                    self._counters.add(Event.MAP_BEHIND)
                self._condition.notify()

    def catch_up(self, config: MapConfig) -> None:
        """
        Find out whether a map is wanted, and fuse what is recorded but was not fused.

        :param config: settings from now on.
        """
        is_wanted = config.enabled or any(map(_is_heard, self._outputs))
        with self._condition:
            self._config = config
            is_new, self._is_following = is_wanted and not self._is_following, is_wanted
            if not is_new:
                return
            self._missed.extend(
                kept for kept in self._record.session().keyframes if kept.id > self._newest_id)
            if self._missed:
                self._newest_id = max(self._newest_id, self._missed[-1].id)
                self._condition.notify()

    def correct(self, correction: MapCorrection) -> None:
        """
        Move what was fused.

        :param correction: of the record, which has seen it already.
        """
        with self._condition:
            self._corrections.append(correction)
            self._condition.notify()

    def begin_session(self) -> None:
        """Forget the world so far; the record has done so already."""
        with self._condition:
            for waiting in (self._waiting, self._missed, self._corrections):
                waiting.clear()
            self._num_corrections = self._record.num_corrections
            self._is_cleared = True
            self._condition.notify()

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

    def _run(self) -> None:
        while (step := self._next_step()) is not None:
            try:
                step()
            except Exception:
                # Whatever is wrong with the map, the rest of the node does not need it.
                _logger.exception('unexpected error in the map')
                self._counters.add(Event.EXCEPTIONS)

    def _next_step(self) -> Callable[[], None] | None:
        with self._condition:
            while not self._is_stopping:
                step = self._due_step()
                if step is not None:
                    return step
                wait_s = self._next_s - time.monotonic()
                self._condition.wait(max(wait_s, 0.0) if self._unsent else None)
            return None

    def _due_step(self) -> Callable[[], None] | None:
        if self._is_cleared:
            self._is_cleared = False
            return self._clear
        if self._corrections:
            self._num_corrections += 1
            return functools.partial(self._correct, self._corrections.popleft())
        if self._unsent and self._next_s <= time.monotonic():
            return self._publish
        for keyframes in (self._waiting, self._missed):
            while keyframes:
                recalled = self._record.recall(keyframes[0].id)
                if recalled is not None and recalled.num_corrections != self._num_corrections:
                    # The correction is on its way.
                    return None
                keyframe = keyframes.popleft()
                if recalled is not None:
                    return functools.partial(self._fuse, keyframe, recalled.map_S_camera)
        return None

    def _fuse(self, packed: RecordedKeyframe, map_S_camera: Sim3) -> None:
        config = self._config
        keyframe = packed.restored(map_S_camera)
        pose = Sim3.from_rigid(keyframe.odom_T_camera)
        points = observe(
            keyframe, keyframe.depth, frame_S_camera=pose,
            min_confidence=config.min_confidence, limit=config.limit_m)
        self._map.add(points, pose.translation, config)
        self._map.look(keyframe, keyframe.depth, pose, config)
        if keyframe.id > self._stamped_id:
            self._stamped_id, self._stamp_ns = keyframe.id, keyframe.stamp_ns
        self._unsent.update(self._outputs)

    def _correct(self, correction: MapCorrection) -> None:
        self._map.correct(correction)
        self._send_anew()

    def _clear(self) -> None:
        self._map.clear()
        # Who sees the old world must not take it for the new one.
        self._send_anew()

    def _send_anew(self) -> None:
        if self._stamp_ns > 0:
            self._unsent.update(self._outputs)

    def _publish(self) -> None:
        config = self._config
        self._next_s = time.monotonic() + config.period_s
        wanted = set(filter(_is_heard, self._unsent))
        if not wanted:
            return
        self._unsent -= wanted
        frame, frame_T_map = self._record.shown
        points = self._map.points(config).moved(frame_T_map)
        header = conversions.to_header(self._stamp_ns, frame)
        if self._publisher in wanted:
            self._publisher.publish(to_fused_cloud(points, header))
        if self._grid.publisher in wanted:
            self._grid.publish(points, header)

    @property
    def _outputs(self) -> tuple[LifecyclePublisher, ...]:
        return self._publisher, self._grid.publisher


def _is_heard(publisher: LifecyclePublisher) -> bool:
    return publisher.get_subscription_count() > 0
