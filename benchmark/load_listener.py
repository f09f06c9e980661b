# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The other end of load tests: who got what, and how late, at little cost."""

from collections import defaultdict
import contextlib
import struct
import threading
import time

from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

OUTPUTS = {
    '/da3/depth/image': Image, '/da3/depth/camera_info': CameraInfo,
    '/da3/depth/confidence': Image, '/da3/rgb/image': Image, '/da3/rgb/camera_info': CameraInfo,
    '/da3/points': PointCloud2, '/da3/odometry': Odometry,
}
"""Everything that a keyframe becomes."""
ECHO = '/echo'

_DEPTH = 100
_PATIENCE_S = 60.0
_NS_PER_S = 10**9
# Behind the four bytes that tell the encoding: seconds and nanoseconds of the stamp.
_STAMP = struct.Struct('<4xiI')


class Listener:
    """Subscribe to outputs without decoding them, and to the node's counts."""

    def __init__(self, topics: dict[str, type]) -> None:
        """
        Begin to listen.

        :param topics: names and types.
        """
        self.counts: dict[str, str] = {}
        self._latencies_s: dict[str, list[float]] = defaultdict(list)
        self._num_diagnostics = 0
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = rclpy.create_node('listener', context=self._context)
        for topic, message_type in topics.items():
            self.node.create_subscription(
                message_type, topic, lambda data, topic=topic: self._note(topic, data),
                QoSProfile(depth=_DEPTH), raw=True)
        self.node.create_subscription(
            DiagnosticArray, '/diagnostics', self._note_diagnostics, QoSProfile(depth=_DEPTH))
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self._thread.join()
        self.node.destroy_node()
        self._context.try_shutdown()

    def latencies_s(self, topic: str) -> list[float]:
        """
        Return the ages of a topic's messages at their arrival, by their stamps.

        :param topic: its name.
        """
        return list(self._latencies_s[topic])

    def wait_for_diagnostics(self, count: int = 2) -> None:
        """
        Wait until the node has told its counts, so that they hold all that was before.

        :param count: messages to wait for; the first may be older.
        :raises RuntimeError: if the node tells nothing.
        """
        wanted, deadline = self._num_diagnostics + count, time.monotonic() + _PATIENCE_S
        while self._num_diagnostics < wanted:
            if time.monotonic() > deadline:
                raise RuntimeError('the node tells nothing')
            time.sleep(0.05)

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()

    def _note(self, topic: str, data: bytes) -> None:
        sec, nanosec = _STAMP.unpack_from(data)
        age_ns = time.time_ns() - (sec * _NS_PER_S + nanosec)
        self._latencies_s[topic].append(age_ns / _NS_PER_S)

    def _note_diagnostics(self, message: DiagnosticArray) -> None:
        self._num_diagnostics += 1
        for status in message.status:
            self.counts.update({value.key: value.value for value in status.values})


def echo_topic(*, of_images: bool) -> dict[str, type]:
    """
    Name what ``load_echo.py`` sends.

    :param of_images: whole images, not headers.
    """
    return {ECHO: Image if of_images else Header}
