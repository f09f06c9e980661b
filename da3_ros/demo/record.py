# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""
Record what one node publishes into a bag: ``python -m da3_ros.demo.record BAG --node /da3``.

One process of its own, subscribed raw: the bag holds what DDS delivered, stamped with the time of
arrival. It finds the node's topics in the graph and reports ``ready`` once it is matched with a
publisher of the topic to wait for, ``diagnostics`` with what the node says about itself, and
``finished`` with the number of messages per topic when its stdin closes and it ends.
"""

import argparse
from collections import Counter
from collections.abc import Callable
from pathlib import Path
import select
import sys
import time
from typing import Any

from da3_ros.demo.messages import message_class
from da3_ros.demo.reporting import report
from da3_ros.offline.output.bag_writer import BAG_VERSION
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from rclpy.utilities import remove_ros_args
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores

_PERIOD_S = 0.05
_DRAIN_S = 0.5
_QUEUE_DEPTH = 500
# Everybody has them; they say nothing about the node's work.
_IGNORED = ('/parameter_events', '/rosout')


_DIAGNOSTICS = '/diagnostics'


class Recorder:
    """Subscribes to everything that a node publishes."""

    def __init__(self, node: Node, writer: Writer, *, target: str) -> None:
        """
        Begin without subscriptions; ``discover`` makes them.

        :param node: of this process.
        :param writer: of the bag, open.
        :param target: full name of the node to record.
        """
        self._node = node
        self._writer = writer
        namespace, _, self._name = target.rpartition('/')
        self._namespace = namespace or '/'
        self._typestore = get_typestore(Stores.ROS2_JAZZY)
        self._subscriptions: dict[str, Subscription] = {}
        self.counts: Counter[str] = Counter()

    def discover(self) -> None:
        """Subscribe to topics of the node that are new."""
        if (self._name, self._namespace) not in self._node.get_node_names_and_namespaces():
            return
        found = self._node.get_publisher_names_and_types_by_node(self._name, self._namespace)
        for topic, types in found:
            if topic not in self._subscriptions and topic not in _IGNORED:
                self._subscriptions[topic] = self._subscribe(topic, types[0])

    def is_matched(self, topic: str) -> bool:
        """Return whether a topic is recorded and a publisher of it knows."""
        return topic in self._subscriptions and self._node.count_publishers(topic) > 0

    def _subscribe(self, topic: str, type_name: str) -> Subscription:
        offered = self._node.get_publishers_info_by_topic(topic)[0].qos_profile
        qos = QoSProfile(
            depth=_QUEUE_DEPTH, reliability=offered.reliability, durability=offered.durability)
        connection = self._writer.add_connection(topic, type_name, typestore=self._typestore)
        return self._node.create_subscription(
            message_class(type_name), topic, self._writes(connection), qos, raw=True)

    def _writes(self, connection: Connection) -> Callable[[bytes], None]:
        def write(data: bytes) -> None:
            self._writer.write(connection, time.time_ns(), data)
            self.counts[connection.topic] += 1
            if connection.topic == _DIAGNOSTICS:
                self._tell(data)

        return write

    def _tell(self, data: bytes) -> None:
        message: Any = self._typestore.deserialize_cdr(
            data, 'diagnostic_msgs/msg/DiagnosticArray')
        report('diagnostics', status={
            status.name: {value.key: value.value for value in status.values}
            for status in message.status
        })


def run(node: Node, recorder: Recorder, *, wait_for: str) -> None:
    """
    Record until stdin closes.

    :param node: of this process.
    :param recorder: what to fill.
    :param wait_for: topic whose publisher makes the recorder ready.
    """
    is_ready = False
    next_look_s = 0.0
    while not select.select([sys.stdin], [], [], 0.0)[0]:
        if time.monotonic() >= next_look_s:
            recorder.discover()
            next_look_s = time.monotonic() + _PERIOD_S
        if not is_ready and recorder.is_matched(wait_for):
            is_ready = True
            report('ready')
        rclpy.spin_once(node, timeout_sec=_PERIOD_S)
    # What was sent before the parent asked to end may still be under way.
    end_s = time.monotonic() + _DRAIN_S
    while time.monotonic() < end_s:
        rclpy.spin_once(node, timeout_sec=_PERIOD_S)
    report('finished', counts=dict(recorder.counts))


def main() -> None:
    """Record a node."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('bag', type=Path)
    parser.add_argument('--node', required=True, help='full name of the node to record')
    parser.add_argument('--wait-for', required=True, help='topic that must be there')
    options = parser.parse_args(remove_ros_args()[1:])
    rclpy.init()
    node = Node('node_recorder')
    try:
        with Writer(
            options.bag, version=BAG_VERSION, storage_plugin=StoragePlugin.MCAP,
        ) as writer:
            run(node, Recorder(node, writer, target=options.node), wait_for=options.wait_for)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == '__main__':
    main()
