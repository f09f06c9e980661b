# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""
Replay a bag's camera: ``python -m da3_ros.demo.replay BAG``.

One process of its own, for any ROS 2 bag with images: it finds the camera by the types of the
topics. It waits for a subscriber, publishes images, CameraInfo and transforms raw at the bag's
pace together with ``/clock``, then keeps the clock running until its stdin closes, so that what
the node still has to do finds time passing. It reports ``ready``, ``started`` and ``finished``.
"""

import argparse
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
import heapq
import itertools
from pathlib import Path
import select
import sys
import time

from builtin_interfaces.msg import Time
from da3_ros.demo import topics
from da3_ros.demo.bag_topics import BagTopics, choose_topics, open_bag
from da3_ros.demo.child import DemoError
from da3_ros.demo.messages import message_class
from da3_ros.demo.reporting import report
import rclpy
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.utilities import remove_ros_args
from rosbags.rosbag2 import Reader
from rosgraph_msgs.msg import Clock

_CLOCK_PERIOD_NS = 20_000_000
_QUEUE_DEPTH = 50


@dataclass(frozen=True)
class Item:
    """
    Something to publish; without a topic a tick of the clock.

    :param time_ns: when, on the bag's clock.
    :param topic: where, or None.
    :param data: CDR.
    """

    time_ns: int
    topic: str | None = None
    data: bytes = b''


class Replay:
    """Publishes a bag."""

    def __init__(
        self, node: Node, reader: Reader, chosen: BagTopics, *, rate: float
    ) -> None:
        """
        Create the publishers.

        :param node: of this process.
        :param reader: of the bag, open.
        :param chosen: what of it to publish.
        :param rate: times the bag's pace.
        """
        self._reader = reader
        self._rate = rate
        self._clock = node.create_publisher(Clock, '/clock', 10)
        self._chosen = chosen
        self._connections = chosen.all
        self._publishers: dict[str, Publisher] = {
            c.topic: node.create_publisher(message_class(c.msgtype), c.topic, _qos(c.topic))
            for c in self._connections
        }

    def run(self) -> None:
        """Replay once; return when stdin closes."""
        report('ready', topics=[connection.topic for connection in self._connections])
        self._wait_for_subscribers()
        report('started')
        num_left = sum(c.msgcount for c in self._connections)
        sent: list[tuple[int, int]] = []
        start_ns = time.monotonic_ns()
        most_late_ns = 0
        for item in heapq.merge(self._items(), self._ticks(), key=lambda item: item.time_ns):
            due_ns = start_ns + round((item.time_ns - self._reader.start_time) / self._rate)
            if _closed_within(max(0, due_ns - time.monotonic_ns())):
                return
            if item.topic is None:
                self._publish_clock(item.time_ns)
                continue
            most_late_ns = max(most_late_ns, time.monotonic_ns() - due_ns)
            if item.topic == self._chosen.image.topic:
                sent.append((item.time_ns, time.time_ns()))
            self._publishers[item.topic].publish(item.data)
            num_left -= 1
            if num_left == 0:
                report('finished', sent=sent, most_late_s=most_late_ns * 1e-9)

    def _wait_for_subscribers(self) -> None:
        needed = [self._publishers[connection.topic] for connection in self._chosen.awaited]
        while not all(publisher.get_subscription_count() > 0 for publisher in needed):
            self._publish_clock(self._reader.start_time)
            if _closed_within(_CLOCK_PERIOD_NS):
                raise DemoError('stopped before anybody subscribed to the camera')

    def _items(self) -> Iterator[Item]:
        for connection, time_ns, data in self._reader.messages(self._connections):
            yield Item(time_ns, connection.topic, data)

    def _ticks(self) -> Iterator[Item]:
        for time_ns in itertools.count(self._reader.start_time, _CLOCK_PERIOD_NS):
            yield Item(time_ns)

    def _publish_clock(self, time_ns: int) -> None:
        seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
        self._clock.publish(Clock(clock=Time(sec=seconds, nanosec=nanoseconds)))


def _qos(topic: str) -> QoSProfile:
    qos = QoSProfile(depth=_QUEUE_DEPTH)
    if topic == topics.STATIC_TF:
        qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
    return qos


def _closed_within(timeout_ns: int) -> bool:
    """Wait; return early and True if the parent closes stdin."""
    return bool(select.select([sys.stdin], [], [], timeout_ns * 1e-9)[0])


def main() -> None:
    """Replay a bag."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('bag', type=Path)
    parser.add_argument('--rate', type=float, default=1.0, help="times the bag's pace")
    parser.add_argument('--image', help='topic of the images, where the bag has several cameras')
    options = parser.parse_args(remove_ros_args()[1:])
    try:
        with open_bag(options.bag) as reader:
            _replay(reader, choose_topics(reader, image=options.image), rate=options.rate)
    except DemoError as error:
        sys.exit(str(error))


def _replay(reader: Reader, chosen: BagTopics, *, rate: float) -> None:
    rclpy.init()
    node = Node('film_replay')
    # Ctrl-C is how a person ends it.
    with suppress(KeyboardInterrupt):
        Replay(node, reader, chosen, rate=rate).run()
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == '__main__':
    main()
