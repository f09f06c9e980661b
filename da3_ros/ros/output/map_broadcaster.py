# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Transforms on /tf: those of keyframes as they come, and the map's correction steadily."""

from collections.abc import Iterable
import threading

from da3_ros.mapping.keyframe import NS_PER_S
from da3_ros.ros.conversions import stamp_ns, to_stamp
from da3_ros.ros.insight.latency import MAX_AGE_S
from da3_ros.ros.parameters.settings import TfSettings
from da3_ros.ros.robot_frames import on_clock_jump, RobotFrames
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from tf2_ros import TransformBroadcaster

# Listeners remember ten seconds of a frame, and complain of everything older (TF_OLD_DATA).
_REMEMBERED_NS = 9 * NS_PER_S


class MapBroadcaster(TransformBroadcaster):
    """
    Send transforms, and ``map -> odom`` again and again until there is a newer one.

    A keyframe's transforms are as late as its window, and who plans in the map asks where ``odom``
    is now. The correction changes slowly, so that the newest one holds for the present too; it is
    dated a little ahead, so that it is there when it is asked for. Where the camera or the base
    is now nobody knows from an old picture: no other transform is ever repeated.

    What is so much older than what was sent of the same frame that listeners have forgotten that
    time is not sent: where windows take long, that happens to the correction of a keyframe, which
    is repeated all the same.
    """

    def __init__(self, node: Node, settings: TfSettings, frames: RobotFrames) -> None:
        """
        Begin with no correction.

        :param node: spun by another thread than the one that sends.
        :param settings: names, rate and tolerance.
        :param frames: of the robot, told of what the node itself sends.
        """
        super().__init__(node)
        self._node = node
        self._frames = frames
        self._newest_ns: dict[str, int] = {}
        self._repeated_ns: int | None = None
        self._link = (settings.map_frame, settings.odom_frame)
        self._tolerance_ns = round(settings.tolerance_s * NS_PER_S)
        self._lock = threading.Lock()
        self._correction: TransformStamped | None = None
        # Simulated time that stands still needs no transforms; the steady clock would send some.
        self._timer = None if not (settings.has_map and settings.rate_hz) else (
            node.create_timer(1.0 / settings.rate_hz, self._repeat))
        self._jump_handle = on_clock_jump(node, self._forget_time)

    def sendTransform(
        self, transform: TransformStamped | Iterable[TransformStamped], *, leads: bool = True
    ) -> None:
        """
        Send a keyframe's transforms.

        :param transform: one or more.
        :param leads: without ``map -> odom``, that is not sent any more; the other keyframes of an
            instant need not have it.
        """
        transforms = [transform] if isinstance(transform, TransformStamped) else list(transform)
        found = [
            link for link in transforms
            if (link.header.frame_id, link.child_frame_id) == self._link
        ]
        if found or leads:
            with self._lock:
                is_repeated = bool(found) and self._is_of_this_clock(found[-1])
                self._correction = found[-1] if is_repeated else None
        with self._lock:
            self._send([link for link in transforms if self._is_remembered(link)])

    def forget(self) -> None:
        """Send no correction until the next one: the world that it is of has ended."""
        with self._lock:
            self._correction = None
            # The stamps of keyframes may begin again with the next one, the clock does not.
            self._newest_ns = (
                {} if self._repeated_ns is None else {self._link[1]: self._repeated_ns})

    def _forget_time(self) -> None:
        """Begin anew where the clock did: listeners have forgotten everything."""
        with self._lock:
            self._repeated_ns = None
        self.forget()

    def close(self) -> None:
        """Stop."""
        self._jump_handle.unregister()
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self.pub_tf)

    def _is_remembered(self, transform: TransformStamped) -> bool:
        """Tell whether listeners still know what was at that time."""
        newest_ns = self._newest_ns.get(transform.child_frame_id)
        return newest_ns is None or (
            stamp_ns(transform.header.stamp) > newest_ns - _REMEMBERED_NS)

    def _send(self, transforms: list[TransformStamped]) -> None:
        for transform in transforms:
            child, time_ns = transform.child_frame_id, stamp_ns(transform.header.stamp)
            self._newest_ns[child] = max(time_ns, self._newest_ns.get(child, time_ns))
        if transforms:
            self._frames.own(transforms)
            super().sendTransform(transforms)

    def _is_of_this_clock(self, transform: TransformStamped) -> bool:
        age_ns = self._node.get_clock().now().nanoseconds - stamp_ns(transform.header.stamp)
        if abs(age_ns) < MAX_AGE_S * NS_PER_S:
            return True
        self._node.get_logger().warning(
            'map -> odom is not repeated: the stamps are of another clock (use_sim_time?)',
            once=True)
        return False

    def _repeat(self) -> None:
        time_ns = self._node.get_clock().now().nanoseconds + self._tolerance_ns
        # Sent under the lock: nothing goes out after ``forget``.
        with self._lock:
            if self._correction is None:
                return
            repeated = TransformStamped(
                child_frame_id=self._correction.child_frame_id,
                transform=self._correction.transform)
            repeated.header.frame_id = self._correction.header.frame_id
            repeated.header.stamp = to_stamp(time_ns)
            self._repeated_ns = time_ns
            self._send([repeated])
