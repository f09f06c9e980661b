# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Who comes late gets the newest message, and who is there gets every one."""


from da3_ros.ros.conversions import stamp_ns, to_header
from da3_ros.ros.interface import create_publishers
from nav_msgs.msg import Path
from node_harness import eventually
import pytest
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from spun_graph import SpunGraph


class Graph(SpunGraph):
    """The node's path, and those who look at it."""

    def __init__(self, domain_id) -> None:
        """Spin."""
        super().__init__(domain_id)
        self.node = LifecycleNode('da3', context=self.context)
        self._watcher = Node('watcher', context=self.context)
        self.path = create_publishers(self.node, ['']).path
        self.node.trigger_configure()
        self.node.trigger_activate()
        self.spin(self.node, self._watcher)

    def publish(self, number):
        """Publish a path that is known by its stamp."""
        self.path.publish(Path(header=to_header(number, 'odom')))

    def watch(self):
        """Subscribe as RViz does; give the list of what comes."""
        seen = []
        qos = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._watcher.create_subscription(
            Path, '/da3/path', lambda path: seen.append(stamp_ns(path.header.stamp)), qos)
        return seen


@pytest.fixture
def graph(domain_id):
    """Give a graph that ends with the test."""
    graph = Graph(domain_id)
    yield graph
    graph.close()


def test_late_listeners_get_the_newest_and_no_older_one(graph):
    """The first makes it leave, the second gets it from the middleware."""
    for number in (1, 2, 3):
        graph.publish(number)
    first = graph.watch()
    assert eventually(lambda: first == [3])
    second = graph.watch()
    assert eventually(lambda: second == [3])
    graph.publish(4)
    assert eventually(lambda: first == second == [3, 4])


def test_nothing_leaves_an_inactive_node(graph):
    """Whoever comes."""
    graph.node.trigger_deactivate()
    graph.publish(1)
    seen = graph.watch()
    assert eventually(lambda: graph.path.publisher.get_subscription_count() > 0)
    graph.node.trigger_activate()
    graph.publish(2)
    assert eventually(lambda: seen == [2])
