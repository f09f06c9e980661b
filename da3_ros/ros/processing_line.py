# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""From the cameras' topics to the node's own: what exists while the node is configured."""

from collections.abc import Callable

from da3_ros.export.session import Session
from da3_ros.mapping.keyframe import Instant, Keyframe
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.ros.engine_loading import LoadedEngine, ModelIdentity, release_memory
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
from da3_ros.ros.output.keyframe_publisher import KeyframeMessages, KeyframePublisher
from da3_ros.ros.output.map_broadcaster import MapBroadcaster
from da3_ros.ros.output.map_publisher import MapPublisher
from da3_ros.ros.output.placement import KeyframePlacer
from da3_ros.ros.output.session_archive import SessionArchive
from da3_ros.ros.parameters.settings import NodeSettings
from da3_ros.ros.robot_frames import RobotFrames, RobotPoses
from da3_ros.ros.watched_engine import WatchedEngine
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
    ) -> None:
        """
        Create everything but the subscriptions.

        :param node: being configured.
        :param loaded: the engine; given up when the line is closed.
        :param settings: gives the newest snapshot.
        :param counters: of the node.
        :param health: of the node.
        """
        self.identity: ModelIdentity = loaded.identity
        self._node = node
        self._counters = counters
        self._health = health
        self._settings = settings()
        # The publishers come first: where a signal has ended the context meanwhile they fail, and
        # not a half-made TransformListener, whose destructor would complain.
        names = self._settings.camera.names
        self._publishers = create_publishers(
            node, names, on_map_subscriber=lambda: self._map.catch_up())
        self.camera_counters = {name: Counters(counters) for name in names}
        has_tf = self._settings.tf.mode != 'none'
        self._needs_poses = self._settings.needs_robot_poses or self._settings.needs_mounts
        self._frames = RobotFrames(node) if has_tf or self._needs_poses else None
        self._broadcaster = MapBroadcaster(node, self._settings.tf) if has_tf else None
        self._engine = WatchedEngine(loaded.engine)
        pipeline = self._settings.pipeline(loaded.identity.num_views)
        for clamp in self._settings.window.clamps(pipeline.window):
            node.get_logger().warning(clamp)
        self._pipeline = DepthPipeline(self._engine, pipeline)
        self._archive = SessionArchive(settings)
        self._map = MapPublisher(
            self._publishers.map, counters, settings, remembered=self._archive.session)
        outlet = KeyframePublisher(
            self._publishers, self._broadcaster,
            KeyframePlacer(self._settings.tf, self._frames if has_tf else None, counters),
            # The archive first: the map looks in it for what it missed.
            (self._archive, self._map), health, settings,
        )
        self._worker: InferenceWorker[KeyframeMessages] = InferenceWorker(
            self._pipeline, outlet, counters, queue_size=self._settings.queue.size,
            max_age_s=self._settings.window.max_age_s,
            complete=self._robot_poses(),
        )
        self._intake: RigIntake | None = None
        self._subscriptions: dict[str, Subscriptions] = {}
        self._watch: StreamWatch | None = None
        self._timers: list[Timer] = []

    def _robot_poses(self) -> Callable[[Keyframe], Keyframe] | None:
        if not self._needs_poses or self._frames is None:
            return None
        return RobotPoses(
            self._frames, self._settings.tf, in_odom=self._settings.needs_robot_poses,
            on_base=self._settings.needs_mounts,
        ).complete

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
        return self._engine.busy_s

    def activate(self) -> None:
        """Begin to receive images."""
        def offer(instant: Instant, new_session: str | None) -> None:
            self._worker.offer(instant, new_session=new_session)

        settings = self._settings.camera
        self._intake = RigIntake(
            settings, self._settings.preprocess, selector=self._pipeline, offer=offer,
            counters=self.camera_counters, health=self._health, logger=self._node.get_logger(),
            keeps_size=self._settings.depth.size == 'image',
        )
        self._watch = StreamWatch(
            self._node, self._counters, self.camera_counters, self._health,
            tolerance_s=settings.sync_tolerance_s)
        for name, camera in self._intake.cameras.items():
            self._subscriptions[name] = create_subscriptions(
                self._node, name, is_compressed=settings.transport == 'compressed',
                on_image=self._watch.heard(name, camera.on_image, is_image=True),
                on_camera_info=self._watch.heard(name, camera.on_camera_info, is_image=False))
            self._watch.begin(name, self._subscriptions[name].image, is_image=True)
            self._watch.begin(name, self._subscriptions[name].camera_info, is_image=False)
        # The steady clock: when all cameras stop, simulated time may stop too.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timers = [
            self._node.create_timer(_IDLE_S, self._intake.release_if_idle, clock=steady),
            self._node.create_timer(_WATCH_PERIOD_S, self._watch.look, clock=steady)]
        self._health.metres.begin(obstacle(self._settings.scale, self.identity.name))

    def deactivate(self) -> None:
        """
        Stop receiving and publishing, at once.

        What waits is dropped; so is, when it ends, the result of an inference that is under way.
        """
        for subscriptions in self._subscriptions.values():
            destroy_subscriptions(self._node, subscriptions)
        self._subscriptions = {}
        if self._intake is not None:
            self._intake.release()
        self._intake = None
        for timer in self._timers:
            self._node.destroy_timer(timer)
        self._timers = []
        self._watch = None
        self._worker.discard('deactivated')
        self._forget_map()

    def reset(self, reason: str) -> None:
        """
        Drop what waits and begin a new world.

        :param reason: for the log.
        """
        self._counters.add(Event.SESSIONS)
        if self._intake is not None:
            self._intake.release()
        self._worker.discard(reason)
        self._forget_map()

    def _forget_map(self) -> None:
        """Stop repeating where the map was; after a discard, which lets nothing old follow."""
        if self._broadcaster is not None:
            self._broadcaster.forget()

    def flush(self) -> None:
        """Bring out what waits, as soon as it can be inferred."""
        if self._intake is not None:
            self._intake.release()
        self._worker.request_flush()

    def session(self) -> Session:
        """Return what can be saved."""
        return self._archive.session()

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
        destroy_publishers(self._node, self._publishers)
        if self._frames is not None:
            self._frames.close()
        if self._broadcaster is not None:
            self._broadcaster.close()
        del self._engine, self._pipeline, self._worker
        release_memory()
        return True
