# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Keyframes become messages and go out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.session_record import CameraImage, SessionRecord
from da3_ros.mapping.update import WindowUpdate
from da3_ros.ros.insight.health import Health
from da3_ros.ros.interface import Publishers
from da3_ros.ros.output.depth_preview import DepthPreview
from da3_ros.ros.output.image_size import camera_image
from da3_ros.ros.output.keyframe_messages import as_published, messages_of
from da3_ros.ros.output.map_broadcaster import MapBroadcaster
from da3_ros.ros.output.map_publisher import MapPublisher
from da3_ros.ros.output.path_history import PathHistory
from da3_ros.ros.output.placement import KeyframePlacer, PlacedKeyframe
from da3_ros.ros.parameters.settings import NodeSettings
from nav_msgs.msg import Path
import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecyclePublisher


@dataclass(frozen=True, eq=False)
class KeyframeMessages:
    """
    Everything that goes out for one keyframe, with one stamp.

    :param keyframe: what it was made from, with its depth as published.
    :param map_T_odom: (4, 4) the pipeline's correction.
    :param placed: its poses, or None where there are none.
    :param outputs: messages with their publishers; only those that somebody listens to.
    :param settings: that it was made with.
    :param camera_image: its image at the camera's size, where that is kept to be saved.
    """

    keyframe: PosedKeyframe
    map_T_odom: NDArray[np.float64]
    placed: PlacedKeyframe | None
    outputs: tuple[tuple[LifecyclePublisher, Any], ...]
    settings: NodeSettings
    camera_image: CameraImage | None


class _Session:
    """What is known of the session under way."""

    def __init__(
        self, placer: KeyframePlacer, record: SessionRecord, cameras: Iterable[str]
    ) -> None:
        self.number: int | None = None
        self.placer = placer
        self.path = PathHistory(record)
        self.newest: PosedKeyframe | None = None
        self.previews = {camera: DepthPreview() for camera in cameras}


class KeyframePublisher:
    """
    The worker's outlet; messages that nobody listens to are not made.

    ``begin_session`` may come from any thread, but not while a keyframe is sent.
    """

    def __init__(
        self, publishers: Publishers, broadcaster: MapBroadcaster | None,
        new_placer: Callable[[], KeyframePlacer], record: SessionRecord,
        fused: MapPublisher, health: Health,
    ) -> None:
        """
        Start a session.

        :param publishers: of the node.
        :param broadcaster: of the node; None publishes no transforms.
        :param new_placer: gives what tells where the keyframes of a session are.
        :param record: of the session, for whatever tells of its past.
        :param fused: the map.
        :param health: is told what goes out.
        """
        self._publishers = publishers
        self._broadcaster = broadcaster
        self._new_placer = new_placer
        self._record = record
        self._fused = fused
        self._health = health
        self._session = _Session(new_placer(), record, publishers.cameras)

    def begin_session(self) -> None:
        """Forget the world so far, and let nobody see it any more."""
        self._health.begin_session()
        if self._broadcaster is not None:
            self._broadcaster.forget()
        path = self._session.path.message()
        self._record.begin_session()
        self._fused.begin_session()
        self._session = _Session(
            self._new_placer(), self._record, self._publishers.cameras)
        if path is not None:
            self._publishers.path.publish(Path(header=path.header))

    def note(self, window: WindowUpdate) -> None:
        """
        Take note of a window before its keyframes come; quick.

        :param window: that they are of.
        """
        if window.session != self._session.number:
            if self._session.number is not None:
                self.begin_session()
            self._session.number = window.session
        if window.report is not None:
            self._health.note_window(window.report)
        if window.correction is not None:
            self._record.correct(window.correction)
            self._fused.correct(window.correction)

    def prepare(
        self, keyframe: PosedKeyframe, window: WindowUpdate, settings: NodeSettings
    ) -> KeyframeMessages:
        """
        Make the messages of a keyframe; may take its time.

        :param keyframe: the keyframe.
        :param window: that it is of.
        :param settings: of the job.
        """
        session = self._session
        # If the world has ended meanwhile, the keyframe does not go out, nor begin the next one.
        is_current = window.session == session.number
        placed = session.placer.place(keyframe, window.map_T_odom) if is_current else None
        if placed is not None:
            self._health.note_gravity(session.placer.gravity)
        masked = as_published(keyframe, settings)
        publishers = {
            **vars(self._publishers.cameras[keyframe.camera]),
            'odometry': self._publishers.odometry}
        made = messages_of(
            keyframe, masked, placed, settings, session.previews[keyframe.camera])
        outputs = tuple(
            (publishers[name], make()) for name, make in made.items()
            if publishers[name].get_subscription_count() > 0)
        is_kept = placed is not None and settings.keeps_camera_images and not keyframe.is_live
        return KeyframeMessages(
            masked, window.map_T_odom, placed, outputs, settings,
            camera_image(masked, settings.preprocess) if is_kept else None)

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
        if placed is not None and not messages.keyframe.is_live:
            self._remember(messages, placed)
        self._health.note_published(messages.keyframe)

    def publish_correction(self, window: WindowUpdate, settings: NodeSettings) -> None:
        """
        Send a corrected map at once, and not only with the next keyframe.

        :param window: that has corrected it.
        :param settings: of the job.
        """
        session = self._session
        if session.newest is None:
            return
        placed = session.placer.place(session.newest, window.map_T_odom)
        if placed is None:
            return
        odom_frame = settings.tf.odom_frame
        corrections = [link for link in placed.transforms if link.child_frame_id == odom_frame]
        if corrections and self._broadcaster is not None:
            self._broadcaster.sendTransform(corrections)
        self._record.show(placed.path_frame, placed.path_T_map)
        self._publish_path()

    def _remember(self, messages: KeyframeMessages, placed: PlacedKeyframe) -> None:
        settings, keyframe = messages.settings, messages.keyframe
        self._record.show(placed.path_frame, placed.path_T_map)
        packed = self._record.add(
            keyframe, messages.map_T_odom, max_keyframes=settings.save.max_keyframes,
            max_poses=settings.path.max_size, camera_image=messages.camera_image)
        if placed.leads:
            self._session.newest = keyframe
            self._session.path.extend(keyframe, placed, max_size=settings.path.max_size)
            self._publish_path()
        self._fused.add(packed, settings.map)

    def _publish_path(self) -> None:
        path = self._session.path.message()
        if path is not None:
            self._publishers.path.publish(path)
