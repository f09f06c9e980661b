# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The robot's own frames, as it publishes them on /tf and /tf_static."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
import logging
import threading
import time

from da3_ros.geometry.arrays import Array
from da3_ros.mapping.keyframe import Frame, Instant, Keyframe
from da3_ros.ros.conversions import from_transform
from da3_ros.ros.insight.counters import Counters, Event
from da3_ros.ros.parameters.settings import NodeSettings
from geometry_msgs.msg import TransformStamped
from rclpy.clock import JumpHandle, JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time
from tf2_ros import Buffer, TransformException, TransformListener

_logger = logging.getLogger(__name__)

# More keyframes than may wait for their inference, with two transforms each.
_MAX_ASKED = 4096
# The node's own transforms come back within a moment: so many are remembered until then.
_MAX_SENT = 512

_Key = tuple[str, int, int, float, float, float, float, float, float, float]


def on_clock_jump(node: Node, forget: Callable[[], None]) -> JumpHandle:
    """
    Have something forgotten when the node's clock is set back or becomes another one.

    :param node: whose clock it is.
    :param forget: does it.
    :returns: a handle to unregister.
    """
    threshold = JumpThreshold(
        min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
    return node.get_clock().create_jump_callback(threshold, post_callback=lambda _: forget())


class _WatchfulBuffer(Buffer):
    """
    Remember who claims to be the parent of a frame, which tf2 itself does not tell.

    The node's own transforms come back to it, and are ignored; others of the same link are not.
    """

    def __init__(self) -> None:
        super().__init__()
        self._own_links: set[tuple[str, str]] = set()
        self._sent: deque[_Key] = deque(maxlen=_MAX_SENT)
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

    def own(self, transforms: Iterable[TransformStamped]) -> None:
        """Ignore transforms that the node is about to send."""
        with self._links_lock:
            for transform in transforms:
                self._own_links.add((transform.header.frame_id, transform.child_frame_id))
                self._sent.append(_key(transform))

    def parents(self, child: str) -> frozenset[str]:
        """Return every frame that was ever said to be the parent of a frame."""
        with self._links_lock:
            return frozenset(self._parents.get(child, ()))

    def _note(self, transform: TransformStamped) -> bool:
        """Remember the link of a transform, and tell whether it is somebody else's."""
        parent, child = transform.header.frame_id, transform.child_frame_id
        with self._links_lock:
            if (parent, child) in self._own_links and _key(transform) in self._sent:
                return False
            self._parents.setdefault(child, set()).add(parent)
            return True


def _key(transform: TransformStamped) -> _Key:
    """Return what tells a transform from others of its link."""
    stamp, position = transform.header.stamp, transform.transform.translation
    turn = transform.transform.rotation
    return (transform.child_frame_id, stamp.sec, stamp.nanosec, position.x, position.y,
            position.z, turn.x, turn.y, turn.z, turn.w)


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
        self._jump_handle = on_clock_jump(node, self._buffer.clear)

    def close(self) -> None:
        """Stop listening."""
        self._jump_handle.unregister()
        self._listener.unregister()

    def own(self, transforms: Iterable[TransformStamped]) -> None:
        """
        Announce what the node itself is about to send.

        :param transforms: that will come back to it.
        """
        self._buffer.own(transforms)

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
            if timeout_s > 0.0 and not self._is_connected(*link):
                self._unconnected[link] = str(error)
            return str(error)
        return from_transform(found.transform)

    def _is_connected(self, target: str, source: str) -> bool:
        """Tell whether there is a transform at any time."""
        return self._buffer.can_transform(target, source, Time())


@dataclass(eq=False)
class _Asked:
    """
    A transform that was asked for.

    :param target: name of a frame.
    :param source: name of a frame.
    :param stamp_ns: [ns].
    :param asked_s: when, by the steady clock.
    :param found: (4, 4) target from source, or None so far.
    """

    target: str
    source: str
    stamp_ns: int
    asked_s: float
    found: Array | None = None


class RobotPoses:
    """
    Give keyframes the pose of their camera in the robot's own odometry, and on the robot.

    Transforms are looked up when a keyframe comes and with every one that follows, not when its
    window is due: by then the buffer of tf2, which holds ten seconds, may have forgotten them.
    """

    def __init__(self, frames: RobotFrames, settings: NodeSettings, counters: Counters) -> None:
        """
        Remember whom to ask.

        :param frames: of the robot.
        :param settings: names of the frames, and which are needed.
        :param counters: of the node.
        """
        self._frames = frames
        self._counters = counters
        tf = settings.tf
        self._odom = tf.odom_frame if settings.needs_odometry else None
        self._base = tf.base_frame if settings.needs_mounts else None
        # What the poses of keyframes are made of, or only what metres come from.
        self._loss = ('no pose is published' if tf.is_of_a_robot
                      else 'keyframes without the pose of the robot')
        self._told: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._asked: deque[_Asked] = deque(maxlen=_MAX_ASKED)

    def expect(self, instant: Instant) -> None:
        """
        Look for the transforms of keyframes that have come, and of those before.

        :param instant: the keyframes.
        """
        now_s = time.monotonic()
        with self._lock:
            self._asked.extend(
                _Asked(target, keyframe.frame.frame_id, keyframe.frame.stamp_ns, now_s)
                for keyframe in instant.keyframes
                for target in (self._odom, self._base) if target is not None)
        self.retry()

    def retry(self) -> None:
        """Look again for what was not found; never waits."""
        with self._lock:
            missing = [asked for asked in self._asked if asked.found is None]
        for asked in missing:
            found = self._frames.look_up(
                asked.target, asked.source, stamp_ns=asked.stamp_ns, timeout_s=0.0)
            if not isinstance(found, str):
                asked.found = found

    def complete(self, instant: Instant, timeout_s: float) -> Instant:
        """
        Add the poses that are to be had.

        :param instant: that was expected.
        :param timeout_s: longest wait for a transform, since the keyframe came.
        """
        return replace(instant, keyframes=tuple(
            self._completed(keyframe, timeout_s) for keyframe in instant.keyframes))

    def _completed(self, keyframe: Keyframe, timeout_s: float) -> Keyframe:
        frame = keyframe.frame
        robot_T_camera, base_T_camera = (
            None if target is None else self._answer(target, frame, timeout_s)
            for target in (self._odom, self._base))
        is_missing = (self._odom is not None and robot_T_camera is None) or (
            self._base is not None and base_T_camera is None)
        if is_missing:
            self._counters.add(Event.TF_MISSING)
        return replace(keyframe, frame=replace(
            frame, robot_T_camera=robot_T_camera, base_T_camera=base_T_camera))

    def _answer(self, target: str, frame: Frame, timeout_s: float) -> Array | None:
        wanted = (target, frame.frame_id, frame.stamp_ns)
        with self._lock:
            asked = next((asked for asked in self._asked if (
                asked.target, asked.source, asked.stamp_ns) == wanted), None)
            if asked is not None:
                self._asked.remove(asked)
        waited_s = 0.0
        if asked is not None:
            if asked.found is not None:
                return asked.found
            waited_s = time.monotonic() - asked.asked_s
        found = self._frames.look_up(
            target, frame.frame_id, stamp_ns=frame.stamp_ns,
            timeout_s=max(timeout_s - waited_s, 0.0))
        if not isinstance(found, str):
            return found
        if (target, frame.frame_id) not in self._told:
            self._told.add((target, frame.frame_id))
            _logger.warning('%s: %s from %s: %s', self._loss, target, frame.frame_id, found)
        return None
