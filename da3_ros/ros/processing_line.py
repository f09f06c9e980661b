# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""From the cameras' topics to the node's own: what exists while the node is configured."""

from collections.abc import Callable
from contextlib import ExitStack

from da3_ros.mapping.frame_stream import FrameStream
from da3_ros.mapping.keyframe import Instant
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.mapping.session_record import Session, SessionRecord
from da3_ros.ros.engine_loading import LoadedEngine, ModelIdentity, release_memory
from da3_ros.ros.input.image_intake import ImageIntake
from da3_ros.ros.input.rig_intake import RigIntake
from da3_ros.ros.insight.counters import Counters, Event
from da3_ros.ros.insight.health import Health
from da3_ros.ros.insight.metres import obstacle
from da3_ros.ros.insight.stream_watch import StreamWatch
from da3_ros.ros.interface import (
    create_publishers,
    create_subscriptions,
    destroy_publishers,
    destroy_subscriptions,
    Subscriptions,
)
from da3_ros.ros.output.grid_output import GridOutput
from da3_ros.ros.output.keyframe_publisher import KeyframeMessages, KeyframePublisher
from da3_ros.ros.output.map_broadcaster import MapBroadcaster
from da3_ros.ros.output.map_publisher import MapPublisher
from da3_ros.ros.output.placement import KeyframePlacer
from da3_ros.ros.parameters.settings import NodeSettings
from da3_ros.ros.robot_frames import RobotFrames, RobotPoses
from da3_ros.ros.worker import InferenceWorker
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode
from rclpy.timer import Timer

_WATCH_PERIOD_S = 1.0
# What waits for the images of other cameras goes on when none has come for so long.
_IDLE_S = 0.5


class ProcessingLine:
    """
    Intake, worker and publishers of a configured node.

    All methods belong to the executor's thread.
    """

    def __init__(
        self, node: LifecycleNode, loaded: LoadedEngine, *,
        settings: Callable[[], NodeSettings], counters: Counters, health: Health,
        on_session_end: Callable[[Session], None],
    ) -> None:
        """
        Create everything but the subscriptions, or leave nothing behind.

        :param node: being configured.
        :param loaded: the engine; given up when the line is closed.
        :param settings: gives the newest snapshot.
        :param counters: of the node.
        :param health: of the node.
        :param on_session_end: gets every session that ends with something in it; quick, from
            any thread.
        :raises ValueError: if the settings do not suit the engine.
        """
        self.identity: ModelIdentity = loaded.identity
        self._node = node
        self._counters = counters
        self._health = health
        self._settings = settings()
        self._record = SessionRecord(on_end=on_session_end)
        self._pipeline_config = self._settings.pipeline(
            loaded.identity.num_views, most_views=loaded.identity.most_views)
        for clamp in self._settings.window.clamps(self._pipeline_config.window):
            node.get_logger().warning(clamp)
        self._stream = FrameStream(
            self._pipeline_config, max_gap_s=self._settings.camera.max_gap_s)
        self.camera_counters = {
            name: Counters(counters) for name in self._settings.camera.names}
        with ExitStack() as created:
            self._create(loaded, settings, created)
            self._created = created.pop_all()
        self._intake: RigIntake | None = None
        self._subscriptions: dict[str, Subscriptions] = {}
        self._watch: StreamWatch | None = None
        self._timers: list[Timer] = []

    def _create(
        self, loaded: LoadedEngine, settings: Callable[[], NodeSettings], created: ExitStack
    ) -> None:
        """
        Create what lives as long as the line.

        :param loaded: the engine.
        :param settings: gives the newest snapshot.
        :param created: is told how to take each thing back.
        """
        node, tf = self._node, self._settings.tf
        created.callback(release_memory)
        # The publishers come first: where a signal has ended the context meanwhile they fail, and
        # not a half-made TransformListener, whose destructor would complain.
        publishers = create_publishers(
            node, self._settings.camera.names,
            on_map_subscriber=lambda: self._map.catch_up(settings().map))
        created.callback(destroy_publishers, node, publishers)
        frames = broadcaster = None
        has_tf = tf.mode != 'none'
        self._poses: RobotPoses | None = None
        if has_tf or self._settings.needs_odometry or self._settings.needs_mounts:
            frames = RobotFrames(node)
            created.callback(frames.close)
            self._poses = RobotPoses(frames, self._settings, self._counters)
        if has_tf:
            assert frames is not None
            broadcaster = MapBroadcaster(node, tf, frames)
            created.callback(broadcaster.close)
        self._map = MapPublisher(
            publishers.map, self._counters, self._record, self._settings.map,
            GridOutput(publishers.grid, self._record, lambda: settings().grid))
        created.callback(self._map.stop, 0.0)
        outlet = KeyframePublisher(
            publishers, broadcaster,
            lambda: KeyframePlacer(
                tf, frames if has_tf else None, self._counters,
                levels=self._settings.world.gravity == 'tf'),
            self._record, self._map, self._health)
        self._worker: InferenceWorker[KeyframeMessages] = InferenceWorker(
            DepthPipeline(loaded.engine, self._pipeline_config), outlet, self._counters, settings,
            complete=None if self._poses is None else self._poses.complete)

    @property
    def is_active(self) -> bool:
        """Tell whether images are received."""
        return bool(self._subscriptions)

    @property
    def image_topics(self) -> tuple[str, ...]:
        """Return the topics of the images; none while not active."""
        return tuple(inputs.image.topic_name for inputs in self._subscriptions.values())

    @property
    def num_image_publishers(self) -> int:
        """Return how many publish images of one camera to the node, at most."""
        return max(map(self._node.count_publishers, self.image_topics), default=0)

    @property
    def problems(self) -> tuple[str, ...]:
        """Say what is wrong with the streams that come in."""
        return () if self._watch is None else self._watch.problems

    @property
    def busy_s(self) -> float:
        """Return how long the inference under way has taken so far."""
        return self._worker.busy_s

    def activate(self) -> None:
        """Begin to receive images."""
        settings = self._settings.camera
        self._intake = RigIntake(
            settings, self._settings.preprocess, stream=self._stream, offer=self._offer,
            counters=self.camera_counters, health=self._health, logger=self._node.get_logger(),
            keeps_size=self._settings.depth.size == 'image',
            offer_live=self._worker.offer_live,
        )
        self._watch = StreamWatch(
            self._node, self._counters, self.camera_counters, self._health,
            tolerance_s=settings.sync_tolerance_s)
        try:
            for name, camera in self._intake.cameras.items():
                self._subscribe(name, camera, self._watch)
        except Exception:
            self.deactivate()
            raise
        # The steady clock: when all cameras stop, simulated time may stop too.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timers = [
            self._node.create_timer(_IDLE_S, self._while_idle, clock=steady),
            self._node.create_timer(_WATCH_PERIOD_S, self._watch.look, clock=steady)]
        self._health.metres.begin(obstacle(self._settings.scale, self.identity.name))

    def _subscribe(self, name: str, camera: ImageIntake, watch: StreamWatch) -> None:
        is_compressed = self._settings.camera.transport == 'compressed'
        subscriptions = self._subscriptions[name] = create_subscriptions(
            self._node, name, is_compressed=is_compressed,
            on_image=watch.heard(name, camera.on_image, is_image=True),
            on_camera_info=watch.heard(name, camera.on_camera_info, is_image=False))
        watch.begin(name, subscriptions.image, is_image=True)
        watch.begin(name, subscriptions.camera_info, is_image=False)

    def _offer(self, instant: Instant) -> None:
        if self._poses is not None:
            self._poses.expect(instant)
        self._worker.offer(instant)

    def _while_idle(self) -> None:
        if self._intake is not None:
            self._intake.release_if_idle()
        if self._poses is not None:
            self._poses.retry()

    def deactivate(self) -> None:
        """
        Stop receiving and publishing, at once.

        What waits is dropped; so is, when it ends, the result of an inference that is under way.
        """
        for subscriptions in self._subscriptions.values():
            destroy_subscriptions(self._node, subscriptions)
        self._subscriptions = {}
        if self._intake is not None:
            self._intake.close()
        self._intake = None
        for timer in self._timers:
            self._node.destroy_timer(timer)
        self._timers = []
        self._watch = None
        self._worker.discard('deactivated')

    def reset(self, reason: str) -> None:
        """
        Drop what waits and begin a new world.

        :param reason: for the log.
        """
        self._counters.add(Event.SESSIONS)
        if self._intake is not None:
            self._intake.restart()
        self._worker.discard(reason)

    def flush(self) -> None:
        """Bring out what waits, as soon as it can be inferred."""
        if self._intake is not None:
            self._intake.release()
        self._worker.request_flush()

    def session(self) -> Session:
        """Return what can be saved."""
        return self._record.session() if self.is_active else self._record.last_session()

    def set_paused(self, is_paused: bool) -> None:
        """
        Ignore images, or stop ignoring them.

        :param is_paused: which.
        """
        if self._intake is not None:
            self._intake.set_paused(is_paused)

    def close(self, timeout_s: float) -> bool:
        """
        Stop the worker and give everything back, the GPU's memory too.

        :param timeout_s: longest wait for the inference that is under way.
        :returns: whether it ended; if not, nothing was given back and ``close`` may be called
            again.
        """
        self.deactivate()
        if not (self._worker.stop(timeout_s) and self._map.stop(timeout_s)):
            return False
        del self._worker
        self._created.close()
        return True
