# Copyright 2026 The da3_ros authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""From the camera's topics to the node's own: what exists while the node is configured."""

from collections.abc import Callable

from da3_ros.export.session import Session
from da3_ros.mapping.keyframe import Keyframe
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.ros.counters import Counters, Event
from da3_ros.ros.engine_loading import LoadedEngine, ModelIdentity, release_memory
from da3_ros.ros.health import Health
from da3_ros.ros.image_intake import ImageIntake
from da3_ros.ros.interface import (
    create_publishers,
    create_subscriptions,
    destroy_publishers,
    destroy_subscriptions,
    Subscriptions,
)
from da3_ros.ros.keyframe_publisher import KeyframeMessages, KeyframePublisher
from da3_ros.ros.map_publisher import MapPublisher
from da3_ros.ros.placement import KeyframePlacer
from da3_ros.ros.robot_frames import RobotFrames, RobotPoses
from da3_ros.ros.session_archive import SessionArchive
from da3_ros.ros.settings import NodeSettings
from da3_ros.ros.worker import InferenceWorker
from rclpy.lifecycle import LifecycleNode
from tf2_ros import TransformBroadcaster


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
        self._publishers = create_publishers(node)
        has_tf = self._settings.tf.mode != 'none'
        needs_frames = has_tf or self._settings.needs_robot_poses
        self._frames = RobotFrames(node) if needs_frames else None
        self._broadcaster = TransformBroadcaster(node) if has_tf else None
        self._pipeline = DepthPipeline(
            loaded.engine, self._settings.pipeline(loaded.identity.num_views))
        self._map = MapPublisher(self._publishers.map, counters, settings)
        self._archive = SessionArchive(settings)
        outlet = KeyframePublisher(
            self._publishers, self._broadcaster,
            KeyframePlacer(self._settings.tf, self._frames if has_tf else None, counters),
            (self._map, self._archive), health, settings,
        )
        self._worker: InferenceWorker[KeyframeMessages] = InferenceWorker(
            self._pipeline, outlet, counters, queue_size=self._settings.queue.size,
            max_age_s=self._settings.window.max_age_s,
            complete=self._robot_poses(),
        )
        self._intake: ImageIntake | None = None
        self._subscriptions: Subscriptions | None = None

    def _robot_poses(self) -> Callable[[Keyframe], Keyframe] | None:
        if not self._settings.needs_robot_poses or self._frames is None:
            return None
        tf = self._settings.tf
        return RobotPoses(self._frames, tf.odom_frame, tf.timeout_s).complete

    @property
    def is_active(self) -> bool:
        """Tell whether images are received."""
        return self._subscriptions is not None

    @property
    def image_topic(self) -> str:
        """Return the topic of the images, or nothing while not active."""
        return self._subscriptions.image.topic_name if self._subscriptions is not None else ''

    @property
    def num_image_publishers(self) -> int:
        """Return how many publish images to the node."""
        return self._node.count_publishers(self.image_topic) if self.is_active else 0

    def activate(self) -> None:
        """Begin to receive images."""
        self._intake = ImageIntake(
            self._settings.camera,
            self._settings.preprocess,
            select=self._pipeline.select,
            offer=lambda keyframe, reason: self._worker.offer(keyframe, new_session=reason),
            counters=self._counters,
            health=self._health,
            logger=self._node.get_logger(),
        )
        self._subscriptions = create_subscriptions(
            self._node,
            is_compressed=self._settings.camera.transport == 'compressed',
            on_image=self._intake.on_image,
            on_camera_info=self._intake.on_camera_info,
        )

    def deactivate(self) -> None:
        """
        Stop receiving and publishing, at once.

        What waits is dropped; so is, when it ends, the result of an inference that is under way.
        """
        if self._subscriptions is not None:
            destroy_subscriptions(self._node, self._subscriptions)
        self._subscriptions = None
        self._intake = None
        self._worker.discard('deactivated')

    def reset(self, reason: str) -> None:
        """
        Drop what waits and begin a new world.

        :param reason: for the log.
        """
        self._counters.add(Event.SESSIONS)
        self._worker.discard(reason)

    def flush(self) -> None:
        """Bring out what waits, as soon as it can be inferred."""
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
            self._intake.is_paused = is_paused

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
            self._node.destroy_publisher(self._broadcaster.pub_tf)
        del self._pipeline, self._worker
        release_memory()
        return True
