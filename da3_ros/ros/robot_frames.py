# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The robot's own frames, as it publishes them on /tf and /tf_static."""

from dataclasses import replace
import logging
import threading

from da3_ros.mapping.keyframe import Frame, Keyframe
from da3_ros.ros.conversions import Array, from_transform
from da3_ros.ros.parameters.settings import TfSettings
from geometry_msgs.msg import TransformStamped
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time
from tf2_ros import Buffer, TransformException, TransformListener

_logger = logging.getLogger(__name__)


class _WatchfulBuffer(Buffer):
    """
    Remember who claims to be the parent of a frame, which tf2 itself does not tell.

    The node's own transforms come back to it, and are ignored.
    """

    def __init__(self) -> None:
        super().__init__()
        self._own_links: set[tuple[str, str]] = set()
        self._parents: dict[str, set[str]] = {}
        self._links_lock = threading.Lock()

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Store a moving transform."""
        if self._note(transform):
            super().set_transform(transform, authority)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Store a transform that holds at all times."""
        if self._note(transform):
            super().set_transform_static(transform, authority)

    def own(self, parent: str, child: str) -> None:
        """Ignore a link from now on."""
        with self._links_lock:
            self._own_links.add((parent, child))

    def parents(self, child: str) -> frozenset[str]:
        """Return every frame that was ever said to be the parent of a frame."""
        with self._links_lock:
            return frozenset(self._parents.get(child, ()))

    def _note(self, transform: TransformStamped) -> bool:
        """Remember the link of a transform, and tell whether it is somebody else's."""
        parent, child = transform.header.frame_id, transform.child_frame_id
        with self._links_lock:
            if (parent, child) in self._own_links:
                return False
            self._parents.setdefault(child, set()).add(parent)
            return True


class RobotFrames:
    """Look transforms up; the node's executor fills the buffer meanwhile."""

    def __init__(self, node: Node) -> None:
        """
        Listen.

        :param node: spun by another thread than the one that looks up.
        """
        # Not the buffer's own watch on the clock: with a node it would offer a service as well.
        self._buffer = _WatchfulBuffer()
        self._unconnected: dict[tuple[str, str], str] = {}
        self._listener = TransformListener(self._buffer, node)
        self._jump_handle = node.get_clock().create_jump_callback(
            JumpThreshold(
                min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True),
            post_callback=lambda _: self._buffer.clear(),
        )

    def close(self) -> None:
        """Stop listening."""
        self._jump_handle.unregister()
        self._listener.unregister()

    def own(self, parent: str, child: str) -> None:
        """
        Announce that the node publishes a link itself.

        :param parent: name of a frame.
        :param child: name of another.
        """
        self._buffer.own(parent, child)

    def parents(self, child: str) -> frozenset[str]:
        """
        Return every frame that anybody but the node ever called the parent of a frame.

        :param child: name of the frame.
        """
        return self._buffer.parents(child)

    def look_up(
        self, target: str, source: str, *, stamp_ns: int, timeout_s: float
    ) -> Array | str:
        """
        Look ``target_T_source`` up at a time.

        Frames that nothing connects are waited for once, not with every keyframe.

        :param target: name of a frame.
        :param source: name of a frame.
        :param stamp_ns: [ns].
        :param timeout_s: longest wait.
        :returns: (4, 4), or why there is none.
        """
        link = (target, source)
        if link in self._unconnected and not self._is_connected(*link):
            return self._unconnected[link]
        try:
            found = self._buffer.lookup_transform(
                target, source, Time(nanoseconds=stamp_ns), Duration(seconds=timeout_s)
            )
        except TransformException as error:
            if not self._is_connected(*link):
                self._unconnected[link] = str(error)
            return str(error)
        return from_transform(found.transform)

    def _is_connected(self, target: str, source: str) -> bool:
        """Tell whether there is a transform at any time."""
        return self._buffer.can_transform(target, source, Time())


class RobotPoses:
    """Give keyframes the pose of their camera in the robot's own odometry, or on the robot."""

    def __init__(
        self, frames: RobotFrames, tf: TfSettings, *, in_odom: bool, on_base: bool
    ) -> None:
        """
        Remember whom to ask.

        :param frames: of the robot.
        :param tf: names, and the longest wait.
        :param in_odom: whether the odometry is asked.
        :param on_base: whether the mounting is asked.
        """
        self._frames = frames
        self._tf = tf
        self._in_odom = in_odom
        self._on_base = on_base
        self._told: set[tuple[str, str]] = set()

    def complete(self, keyframe: Keyframe) -> Keyframe:
        """
        Add the poses that are to be had.

        :param keyframe: as selected.
        """
        frame = keyframe.frame
        return replace(keyframe, frame=replace(
            frame,
            robot_T_camera=self._look_up(self._tf.odom_frame, frame) if self._in_odom else None,
            base_T_camera=self._look_up(self._tf.base_frame, frame) if self._on_base else None,
        ))

    def _look_up(self, target: str, frame: Frame) -> Array | None:
        found = self._frames.look_up(
            target, frame.frame_id, stamp_ns=frame.stamp_ns, timeout_s=self._tf.timeout_s
        )
        if not isinstance(found, str):
            return found
        if (target, frame.frame_id) not in self._told:
            self._told.add((target, frame.frame_id))
            _logger.warning('keyframes without the pose of the robot: %s', found)
        return None
