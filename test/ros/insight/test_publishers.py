# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Why nothing arrives, as told of real publishers in a real graph."""

from da3_ros.ros.insight.publishers import explain_silence, Input
from node_harness import eventually
import pytest
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from spun_graph import SpunGraph

BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
RELIABLE = QoSProfile(depth=10)


@pytest.fixture
def explain(domain_id):
    """Subscribe to a topic while a driver publishes on others, and say what is wrong."""
    # Two: in one, a topic has one type.
    graph, others = SpunGraph(domain_id), SpunGraph(domain_id)
    node = Node('da3', namespace='robot', context=graph.context)
    driver = Node('driver', namespace='front', context=others.context)
    graph.spin(node)
    others.spin(driver)

    def explain(topic, message_type, qos, published):
        for name, its_type, its_qos in published:
            driver.create_publisher(its_type, name, its_qos)
        subscription = node.create_subscription(message_type, topic, lambda _: None, qos)
        assert eventually(lambda: all(
            [info.node_name for info in node.get_publishers_info_by_topic(name)] == ['driver']
            for name, _, _ in published))
        return explain_silence(node, Input.of(subscription))

    yield explain
    graph.close()
    others.close()


def test_nobody_publishes(explain):
    """The most similar topics of the type are named, with who publishes them; ours are not."""
    text = explain('/front/image', Image, BEST_EFFORT, [
        ('/front/image_raw', Image, RELIABLE), ('/rear/picture', Image, RELIABLE),
        ('/front/camera_info', CameraInfo, RELIABLE), ('/robot/da3/depth/image', Image, RELIABLE)])
    assert text == (
        'nobody publishes there; did you mean /front/image_raw (/front/driver), /rear/picture '
        '(/front/driver)?')


@pytest.mark.parametrize(('topic', 'message_type', 'published', 'expected'), [
    ('/image', Image, ('/image/compressed', CompressedImage, RELIABLE),
     'nobody publishes there; /image/compressed is there: set camera.transport: compressed'),
    ('/image/compressed', CompressedImage, ('/image', Image, RELIABLE),
     'nobody publishes there; /image is there: set camera.transport: raw'),
    ('/image', Image, ('/image', CompressedImage, RELIABLE),
     '/front/driver publishes sensor_msgs/msg/CompressedImage, expected sensor_msgs/msg/Image'),
    ('/image', Image, ('/image', Image, RELIABLE),
     '/front/driver publishes there, but sends nothing'),
])
def test_the_cause_is_named(explain, topic, message_type, published, expected):
    """What is on the topic, and what is on the other transport."""
    assert explain(topic, message_type, BEST_EFFORT, [published]) == expected


@pytest.mark.parametrize(('wanted', 'offered', 'policy'), [
    (RELIABLE, BEST_EFFORT, 'eliable'), (LATCHED, RELIABLE, 'transient local')])
def test_qos_that_does_not_fit_is_named(explain, wanted, offered, policy):
    """With who offers it, and the parameter to change."""
    text = explain('/info', CameraInfo, wanted, [('/info', CameraInfo, offered)])
    assert text.startswith('the QoS of /front/driver does not fit (')
    assert policy in text
    assert text.endswith('; set qos_overrides./info.subscription')
