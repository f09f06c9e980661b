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

"""Keyframes become messages and go out."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.update import PipelineUpdate
from da3_ros.ros import conversions
from da3_ros.ros.drift import Drift, unknown_covariance
from da3_ros.ros.health import Health
from da3_ros.ros.interface import Publishers
from da3_ros.ros.map_broadcaster import MapBroadcaster
from da3_ros.ros.placement import KeyframePlacer, PlacedKeyframe
from da3_ros.ros.point_cloud import to_point_cloud
from da3_ros.ros.settings import DepthSettings, NodeSettings
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path
import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecyclePublisher
from sensor_msgs.msg import PointCloud2


@dataclass(frozen=True, eq=False)
class KeyframeMessages:
    """
    Everything that goes out for one keyframe, with one stamp.

    :param keyframe: what it was made from.
    :param placed: its poses, or None where there are none.
    :param outputs: messages with their publishers; only those that somebody listens to.
    """

    keyframe: PosedKeyframe
    placed: PlacedKeyframe | None
    outputs: tuple[tuple[LifecyclePublisher, Any], ...]


def mask_depth(
    depth: NDArray[np.float32], confidence: NDArray[np.float32] | None, settings: DepthSettings
) -> NDArray[np.float32]:
    """
    Mark what is not to be believed, as REP-118 says: NaN unknown, +Inf beyond range.

    :param depth: (H, W), NaN unknown, +Inf sky.
    :param confidence: (H, W), or None.
    :param settings: limits.
    """
    masked = depth.copy()
    if confidence is not None:
        masked[np.isfinite(depth) & (confidence < settings.min_confidence)] = np.nan
    masked[masked > settings.limit_m] = np.inf
    return masked


class KeyframePublisher:
    """The worker's outlet; messages that nobody listens to are not made."""

    def __init__(
        self, publishers: Publishers, broadcaster: MapBroadcaster | None,
        placer: KeyframePlacer, health: Health, settings: Callable[[], NodeSettings],
    ) -> None:
        """
        Start a session.

        :param publishers: of the node.
        :param broadcaster: of the node; None publishes no transforms.
        :param placer: tells where keyframes are.
        :param health: is told what goes out.
        :param settings: gives the newest snapshot.
        """
        self._publishers = publishers
        self._broadcaster = broadcaster
        self._placer = placer
        self._health = health
        self._settings = settings
        self._drift = Drift()
        self._map_T_odom = np.eye(4)
        self._path: deque[PoseStamped] = deque()

    def begin_session(self) -> None:
        """Forget the world so far."""
        self._placer.begin_session()
        if self._broadcaster is not None:
            self._broadcaster.forget()
        self._drift = Drift()
        self._path.clear()

    def note_update(self, update: PipelineUpdate) -> None:
        """
        Take note of a window before its keyframes come.

        :param update: that they are of.
        """
        self._map_T_odom = update.map_T_odom
        if update.window is not None:
            self._drift.note_window(update.window)
            self._health.note_window(update.window)

    def prepare(self, keyframe: PosedKeyframe) -> KeyframeMessages:
        """
        Make the messages of a keyframe; waits for the robot's transforms.

        :param keyframe: the keyframe.
        """
        settings = self._settings()
        placed = self._placer.place(keyframe, self._map_T_odom)
        outputs = _Outputs()
        self._add_images(outputs, keyframe, settings)
        if placed is not None:
            self._add_odometry(outputs, keyframe, placed)
        if placed is not None or settings.points.frame == 'camera':
            outputs.add(
                self._publishers.points, lambda: _to_points(keyframe, placed, settings))
        return KeyframeMessages(keyframe, placed, tuple(outputs.messages))

    def publish(self, messages: KeyframeMessages) -> None:
        """
        Send the messages of a keyframe, its transform first.

        :param messages: from ``prepare``.
        """
        placed = messages.placed
        if placed is not None and self._broadcaster is not None:
            self._broadcaster.sendTransform(placed.transforms)
        for publisher, message in messages.outputs:
            publisher.publish(message)
        if placed is not None:
            self._extend_path(messages.keyframe, placed)
        self._health.note_published(messages.keyframe)

    def _add_images(
        self, outputs: '_Outputs', keyframe: PosedKeyframe, settings: NodeSettings
    ) -> None:
        header = conversions.to_header(keyframe.stamp_ns, keyframe.frame_id)
        height, width = keyframe.depth.shape
        confidence = keyframe.confidence
        outputs.add(self._publishers.camera_info, lambda: conversions.to_camera_info(
            keyframe.intrinsics, width=width, height=height, header=header))
        outputs.add(self._publishers.depth, lambda: conversions.to_float_message(
            mask_depth(keyframe.depth, confidence, settings.depth), header))
        outputs.add(self._publishers.rgb, lambda: conversions.to_rgb_message(
            keyframe.image, header))
        if confidence is not None:
            outputs.add(self._publishers.confidence, lambda: conversions.to_float_message(
                confidence, header))

    def _add_odometry(
        self, outputs: '_Outputs', keyframe: PosedKeyframe, placed: PlacedKeyframe
    ) -> None:
        outputs.add(self._publishers.odometry, lambda: conversions.to_odometry(
            placed.world_T_body,
            pose_covariance=self._drift.covariance(keyframe),
            twist_covariance=unknown_covariance(),
            header=conversions.to_header(keyframe.stamp_ns, placed.world_frame),
            child=placed.body_frame,
        ))

    def _extend_path(self, keyframe: PosedKeyframe, placed: PlacedKeyframe) -> None:
        header = conversions.to_header(keyframe.stamp_ns, placed.world_frame)
        self._path.append(conversions.to_pose_stamped(placed.world_T_body, header))
        while len(self._path) > self._settings().path.max_size:
            self._path.popleft()
        # Also when nobody listens: who comes later gets the last one.
        self._publishers.path.publish(Path(header=header, poses=list(self._path)))


class _Outputs:
    """Collect messages for who listens."""

    def __init__(self) -> None:
        self.messages: list[tuple[LifecyclePublisher, Any]] = []

    def add(self, publisher: LifecyclePublisher, make: Callable[[], Any]) -> None:
        """Make a message, if somebody subscribes to it."""
        if publisher.get_subscription_count() > 0:
            self.messages.append((publisher, make()))


def _to_points(
    keyframe: PosedKeyframe, placed: PlacedKeyframe | None, settings: NodeSettings
) -> PointCloud2:
    depth = mask_depth(keyframe.depth, keyframe.confidence, settings.depth)
    frame, frame_T_camera = keyframe.frame_id, None
    if settings.points.frame == 'world' and placed is not None:
        frame, frame_T_camera = placed.world_frame, placed.world_T_camera
    header = conversions.to_header(keyframe.stamp_ns, frame)
    return to_point_cloud(
        keyframe, depth, settings.points, header, frame_T_camera=frame_T_camera)
