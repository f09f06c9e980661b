# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Keyframes become messages and go out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from da3_ros.mapping.correction import MapCorrection
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.loop_closure import LoopReport
from da3_ros.mapping.update import PipelineUpdate
from da3_ros.ros import conversions
from da3_ros.ros.insight.health import Health
from da3_ros.ros.interface import Publishers
from da3_ros.ros.output.compressed_images import to_depth_message, to_jpeg_message
from da3_ros.ros.output.depth_mask import mask_depth
from da3_ros.ros.output.depth_preview import DepthPreview
from da3_ros.ros.output.drift import Drift, unknown_covariance
from da3_ros.ros.output.image_size import at_image_size
from da3_ros.ros.output.map_broadcaster import MapBroadcaster
from da3_ros.ros.output.path_history import PathHistory
from da3_ros.ros.output.placement import KeyframePlacer, PlacedKeyframe
from da3_ros.ros.output.point_cloud import to_point_cloud
from da3_ros.ros.parameters.settings import NodeSettings
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


class Follower(Protocol):
    """Keep a record of the session; called by the worker's thread, so all must be quick."""

    def begin_session(self) -> None:
        """Forget the world so far."""

    def add(
        self, keyframe: PosedKeyframe, map_T_odom: NDArray[np.float64], placed: PlacedKeyframe
    ) -> None:
        """
        Take in a keyframe.

        :param keyframe: that went out.
        :param map_T_odom: (4, 4) the pipeline's correction of its ``odom``.
        :param placed: its poses.
        """

    def correct(self, correction: MapCorrection, placed: PlacedKeyframe | None) -> None:
        """
        Move all keyframes so far.

        :param correction: of the pipeline's ``map``.
        :param placed: poses of the newest keyframe since then, or None where there are none.
        """


class KeyframePublisher:
    """The worker's outlet; messages that nobody listens to are not made."""

    def __init__(
        self, publishers: Publishers, broadcaster: MapBroadcaster | None,
        placer: KeyframePlacer, followers: Sequence[Follower], health: Health,
        settings: Callable[[], NodeSettings],
    ) -> None:
        """
        Start a session.

        :param publishers: of the node.
        :param broadcaster: of the node; None publishes no transforms.
        :param placer: tells where keyframes are.
        :param followers: take in all keyframes that have a pose.
        :param health: is told what goes out.
        :param settings: gives the newest snapshot.
        """
        self._publishers = publishers
        self._broadcaster = broadcaster
        self._placer = placer
        self._followers = followers
        self._health = health
        self._settings = settings
        self._drift = Drift()
        self._map_T_odom = np.eye(4)
        self._path = PathHistory()
        self._newest: PosedKeyframe | None = None
        self._previews = {camera: DepthPreview() for camera in publishers.cameras}

    def begin_session(self) -> None:
        """Forget the world so far."""
        self._health.begin_session()
        self._placer.begin_session()
        if self._broadcaster is not None:
            self._broadcaster.forget()
        for follower in self._followers:
            follower.begin_session()
        self._drift = Drift()
        self._path = PathHistory()
        self._newest = None
        self._previews = {camera: DepthPreview() for camera in self._publishers.cameras}

    def note_update(self, update: PipelineUpdate) -> None:
        """
        Take note of a window before its keyframes come.

        :param update: that they are of.
        """
        self._map_T_odom = update.map_T_odom
        if update.window is not None:
            self._drift.note_window(update.window)
            self._health.note_window(update.window)
            correction = update.window.placement.correction
            if correction is not None:
                self._correct(correction, None)

    def prepare(self, keyframe: PosedKeyframe) -> KeyframeMessages:
        """
        Make the messages of a keyframe; waits for the robot's transforms.

        :param keyframe: the keyframe.
        """
        settings = self._settings()
        placed = self._placer.place(keyframe, self._map_T_odom)
        outputs = _Outputs()
        self._add_images(outputs, keyframe, settings)
        if placed is not None and placed.leads:
            self._add_odometry(outputs, keyframe, placed)
        if placed is not None or settings.points.frame == 'camera':
            outputs.add(
                self._publishers.cameras[keyframe.camera].points,
                lambda: _to_points(keyframe, placed, settings))
        return KeyframeMessages(keyframe, placed, tuple(outputs.messages))

    def publish(self, messages: KeyframeMessages) -> None:
        """
        Send the messages of a keyframe, its transform first.

        :param messages: from ``prepare``.
        """
        placed = messages.placed
        if placed is not None and self._broadcaster is not None:
            self._broadcaster.sendTransform(placed.transforms, leads=placed.leads)
        for publisher, message in messages.outputs:
            publisher.publish(message)
        if placed is not None:
            self._follow(messages.keyframe, placed)
        self._health.note_published(messages.keyframe)

    def publish_loop(self, loop: LoopReport) -> None:
        """
        Send the corrected map at once, and not only with the next keyframe.

        :param loop: that was closed.
        """
        placed = None if self._newest is None else self._placer.place(
            self._newest, self._map_T_odom)
        self._correct(loop.correction, placed)
        if placed is None:
            return
        odom_frame = self._settings().tf.odom_frame
        corrections = [link for link in placed.transforms if link.child_frame_id == odom_frame]
        if corrections and self._broadcaster is not None:
            self._broadcaster.sendTransform(corrections)
        self._path.show(placed)
        self._publishers.path.publish(self._path.message())

    def _correct(self, correction: MapCorrection, placed: PlacedKeyframe | None) -> None:
        self._path.correct(correction)
        for follower in self._followers:
            follower.correct(correction, placed)

    def _follow(self, keyframe: PosedKeyframe, placed: PlacedKeyframe) -> None:
        if placed.leads:
            self._newest = keyframe
            self._path.extend(
                keyframe, placed, self._map_T_odom, max_size=self._settings().path.max_size)
            self._publishers.path.publish(self._path.message())
        for follower in self._followers:
            follower.add(keyframe, self._map_T_odom, placed)

    def _add_images(
        self, outputs: '_Outputs', keyframe: PosedKeyframe, settings: NodeSettings
    ) -> None:
        header = conversions.to_header(keyframe.stamp_ns, keyframe.frame_id)
        publishers = self._publishers.cameras[keyframe.camera]
        shown = cache(lambda: _shown(keyframe, settings))
        depth = cache(lambda: mask_depth(shown().depth, shown().confidence, settings.depth))
        preview = cache(lambda: self._previews[keyframe.camera].draw(depth()))
        for publisher in (publishers.camera_info, publishers.rgb_camera_info):
            outputs.add(publisher, lambda: conversions.to_camera_info(
                shown().intrinsics, width=shown().depth.shape[1], height=shown().depth.shape[0],
                header=header))
        outputs.add(publishers.depth, lambda: conversions.to_float_message(depth(), header))
        outputs.add(publishers.compressed_depth, lambda: to_depth_message(
            depth(), settings.compressed, header))
        outputs.add(publishers.rgb, lambda: conversions.to_rgb_message(shown().image, header))
        outputs.add(publishers.compressed_rgb, lambda: to_jpeg_message(
            shown().image, settings.compressed, header))
        outputs.add(publishers.preview, lambda: conversions.to_rgb_message(preview(), header))
        outputs.add(publishers.compressed_preview, lambda: to_jpeg_message(
            preview(), settings.compressed, header))
        if keyframe.confidence is not None:
            outputs.add(publishers.confidence, lambda: conversions.to_float_message(
                shown().confidence, header))

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


class _Outputs:
    """Collect messages for who listens."""

    def __init__(self) -> None:
        self.messages: list[tuple[LifecyclePublisher, Any]] = []

    def add(self, publisher: LifecyclePublisher, make: Callable[[], Any]) -> None:
        """Make a message, if somebody subscribes to it."""
        if publisher.get_subscription_count() > 0:
            self.messages.append((publisher, make()))


def _shown(keyframe: PosedKeyframe, settings: NodeSettings) -> PosedKeyframe:
    """Return the keyframe at the size at which its images are published."""
    if settings.depth.size == 'network':
        return keyframe
    return at_image_size(keyframe, settings.preprocess)


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
