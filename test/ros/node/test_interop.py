# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Subscribers with the topics and rules of the packages in docs/interop get what they need."""

from collections import defaultdict
import time

from da3_ros.ros.conversions import from_transform, stamp_ns
from nav_msgs.msg import Odometry
from node_harness import eventually, FRAME_ID, ROOT
import numpy as np
from peer_contracts import Contract, CONTRACTS
from perfect_engine import frames
import pytest
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from recorder import record
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from sensor_msgs_py.point_cloud2 import read_points_numpy
from spun_graph import SpunGraph

NUM_FRAMES = 12
DEPTH_ENCODINGS = {'32FC1', '16UC1'}


class Subscriber(SpunGraph):
    """A node with the subscriptions of a contract, remapped by our launch file."""

    def __init__(self, contract: Contract, domain_id: int) -> None:
        description = record(ROOT / 'launch' / f'{contract.launch_file}.launch.py')
        package = next(call for call in description.find('Node', 'ComposableNode')
                       if call.kwargs['package'] == contract.package)
        rules = [f'{source}:={target}' for source, target in package.kwargs['remappings']]
        super().__init__(domain_id)
        self.node = Node(
            'subscriber', context=self.context, use_global_arguments=False,
            cli_args=['--ros-args', *(word for rule in rules for word in ('-r', rule))])
        self.messages = defaultdict(dict)
        qos = QoSProfile(depth=10, reliability=contract.reliability)
        self.subscriptions = [
            self.node.create_subscription(message_type, topic, self._store(topic), qos)
            for topic, message_type in contract.topics.items()]
        self.spin(self.node)

    def _store(self, topic):
        def store(message) -> None:
            self.messages[stamp_ns(message.header.stamp)][topic] = message
        return store


@pytest.fixture(params=CONTRACTS, ids=lambda contract: contract.package)
def contract(request):
    return request.param


@pytest.fixture
def subscriber(contract, domain_id):
    subscriber = Subscriber(contract, domain_id)
    yield subscriber
    subscriber.close()


def check_images(images: list[Image], contract: Contract) -> None:
    depth, *colours = images
    assert depth.encoding in DEPTH_ENCODINGS
    assert (depth.step, depth.is_bigendian) == (4 * depth.width, 0)
    for colour in colours:
        assert colour.encoding in contract.colours
        assert (colour.width, colour.height) == (depth.width, depth.height)


def check_camera_info(info: CameraInfo, image: Image) -> None:
    assert (info.width, info.height) == (image.width, image.height)
    assert not any(info.d)
    rectified = [*info.k[0:3], 0.0, *info.k[3:6], 0.0, *info.k[6:9], 0.0]
    assert list(info.p) == rectified
    assert info.k[0] > 0.0
    assert info.k[4] > 0.0


def check_points(cloud: PointCloud2) -> None:
    types = {field.name: field.datatype for field in cloud.fields}
    assert [types[name] for name in 'xyz'] == [PointField.FLOAT32] * 3
    assert cloud.width * cloud.height > 0
    assert len(cloud.data) == cloud.row_step * cloud.height


def heights(cloud: PointCloud2, odom_T_camera: np.ndarray) -> tuple[float, float]:
    """Give the lowest and the highest point in odom, as a costmap cuts them off there."""
    points = read_points_numpy(cloud, ['x', 'y', 'z'], skip_nans=True)
    z = (points @ odom_T_camera[:3, :3].T + odom_T_camera[:3, 3])[:, 2]
    return float(z.min()), float(z.max())


def least_of(contract: Contract) -> int:
    """Count the keyframes that must arrive: DDS may drop some of a best-effort subscription."""
    is_reliable = contract.reliability is ReliabilityPolicy.RELIABLE
    return NUM_FRAMES if is_reliable else NUM_FRAMES // 2


def test_every_keyframe_fits(contract, subscriber, start_node, peer):
    start_node()
    peer.wait_for_camera()
    assert eventually(lambda: all(
        subscriber.node.count_publishers(subscription.topic_name)
        for subscription in subscriber.subscriptions))
    sent = []
    for frame in frames(NUM_FRAMES):
        peer.send_camera_info(frame)
        peer.send(frame)
        sent.append(frame.stamp_ns)
        time.sleep(0.05)
    assert eventually(lambda: len(subscriber.messages) >= least_of(contract) and all(
        set(messages) == set(contract.topics) for messages in subscriber.messages.values()))
    assert set(subscriber.messages) <= set(sent)
    bounds = []
    for time_ns, messages in subscriber.messages.items():
        by_type = defaultdict(list)
        for topic in contract.topics:
            by_type[contract.topics[topic]].append(messages[topic])
        if by_type[Image]:
            check_images(by_type[Image], contract)
        for info in by_type[CameraInfo]:
            check_camera_info(info, by_type[Image][0])
        for cloud in by_type[PointCloud2]:
            check_points(cloud)
        for message in by_type[Image] + by_type[CameraInfo] + by_type[PointCloud2]:
            assert message.header.frame_id == FRAME_ID
        for odometry in by_type[Odometry]:
            assert (odometry.header.frame_id, odometry.child_frame_id) == ('odom', FRAME_ID)
        # Another process may get the transform a little later than the images.
        transform = peer.buffer.lookup_transform(
            'odom', FRAME_ID, Time(nanoseconds=time_ns), Duration(seconds=5)).transform
        bounds += [heights(cloud, from_transform(transform)) for cloud in by_type[PointCloud2]]
    for floor, ceiling in bounds:
        # The level room of the engine: z is up in odom, in one unit for all keyframes.
        assert floor < 0.0 < ceiling
        assert (floor, ceiling) == pytest.approx(bounds[0], rel=0.02)
