# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Nodes among others: two cameras on one topic, two nodes in one graph, all kinds of QoS."""

import time

from diagnostic_msgs.msg import DiagnosticArray
from node_harness import eventually
from perfect_engine import frames
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from test_node_outputs import stream
from test_node_survival import assert_works, Counts

BEST_EFFORT, RELIABLE = ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE
# What the tests of other files ask for; here the node's own profiles are looked at.
NO_OVERRIDES = {
    'qos_overrides./image.subscription.reliability': 'best_effort',
    'qos_overrides./camera_info.subscription.reliability': 'best_effort',
}


def test_two_cameras_on_one_topic_do_not_end_the_world_with_every_image(start_node, peer):
    """One of them is kept, the other is counted and named; the diagnostics warn."""
    node = start_node()
    counts = Counts(peer)
    warnings = set()
    peer.node.create_subscription(DiagnosticArray, '/diagnostics', lambda message: warnings.update(
        status.message for status in message.status), 10)
    second = peer.node.create_publisher(Image, 'image', QoSProfile(depth=10))
    peer.wait_for_camera()
    assert eventually(lambda: second.get_subscription_count() == 1)
    sent = {'front': [], 'rear': []}
    for index, frame in enumerate(frames(60)):
        peer.send_camera_info(frame)
        name = ('front', 'rear')[index % 2]
        peer.send(frame, frame_id=name, publisher=second if index % 2 else None)
        sent[name].append(frame.stamp_ns)
        time.sleep(0.03)
    node.wait_for_output('two cameras seem to publish on this topic: frame_id changed from')
    assert eventually(lambda: counts['images received'] == 60)
    # The one that began the last session is kept: all but its first few images come out. The
    # very last image is counted when nothing has come for a while that could confirm it.
    foreign = 'dropped images: of a second camera on the topic'
    assert eventually(lambda: len(peer.stamps('points')) + counts[foreign] == 60)
    assert counts[foreign] >= 25
    assert counts['sessions'] <= 4
    assert any(set(stamps[5:]) <= set(peer.stamps('points')) for stamps in sent.values())
    assert any('2 publishers of images' in warning for warning in warnings)
    peer.node.destroy_publisher(second)
    time.sleep(1.0)
    assert_works(peer, first=100)


def test_two_nodes_side_by_side(start_node, peer):
    """Each takes its camera and publishes under its name; none disturbs the other."""
    names = ('front', 'rear')
    cameras = {}
    for name in names:
        start_node(arguments=[
            '--ros-args', '-r', f'__node:={name}', '-r', f'image:=/{name}/image', '-r',
            f'camera_info:=/{name}/camera_info', '--'])
        cameras[name] = peer.node.create_publisher(Image, f'/{name}/image', QoSProfile(depth=10))
        peer.listen(name, Image, f'/{name}/depth/image')
    statuses = set()
    peer.node.create_subscription(DiagnosticArray, '/diagnostics', lambda message: statuses.update(
        status.name for status in message.status), 10)
    for name in names:
        assert eventually(lambda name=name: cameras[name].get_subscription_count() == 1, 60)
        assert eventually(lambda name=name: peer.node.count_publishers(f'/{name}/depth/image'))
    time.sleep(1.0)
    sent = {name: [] for name in names}
    for frame in frames(12):
        for name in names:
            peer.send(frame, frame_id=name, publisher=cameras[name])
            sent[name].append(frame.stamp_ns)
        time.sleep(0.05)
    for name in names:
        assert eventually(lambda name=name: sent[name][-1] in peer.stamps(name))
        assert {message.header.frame_id for messages in peer.received[name].values()
                for message in messages} == {name}
        assert eventually(lambda name=name: f'/{name}: stream' in statuses), statuses
        assert set(peer.transform_stamps(name)) == set(peer.stamps(name))


def test_cameras_of_either_reliability_are_heard(start_node, peer):
    """As a sensor's data: best effort takes both."""
    start_node(NO_OVERRIDES)
    peer.wait_for_camera()
    for first, reliability in ((0, BEST_EFFORT), (30, RELIABLE)):
        camera = peer.node.create_publisher(
            Image, 'image', QoSProfile(depth=10, reliability=reliability))
        assert eventually(lambda camera=camera: camera.get_subscription_count() == 1)
        time.sleep(0.5)
        sent = []
        for frame in frames(12, first=first):
            peer.send_camera_info(frame)
            peer.send(frame, publisher=camera)
            sent.append(frame.stamp_ns)
            time.sleep(0.05)
        # Not each: best effort may lose some.
        assert eventually(lambda sent=sent: len(set(sent) & set(peer.stamps('depth'))) >= 6)


def test_a_camera_that_is_ten_times_too_fast(start_node, peer):
    """Old keyframes are dropped and counted, each once; the newest come out soon."""
    start_node({'queue.size': 4}, arguments=['--delay-s', '0.2'])
    counts = Counts(peer)
    peer.wait_for_camera()
    sent = stream(peer, 200, pace_s=0.01)
    assert eventually(lambda: sent[-1] in peer.stamps('points'))
    assert eventually(lambda: counts['images received'] == len(sent))
    assert eventually(lambda: counts['keyframes'] == counts['keyframes published'] + counts[
        'dropped keyframes: queue full'])
    assert counts['keyframes'] > 150
    assert counts['dropped keyframes: queue full'] > 100
    assert {len(messages) for messages in peer.received['points'].values()} == {1}


def profiles(peer, topic, *, of_node='da3'):
    """Give the node's profiles on a topic, as the graph tells them."""
    infos = (*peer.node.get_publishers_info_by_topic(topic),
             *peer.node.get_subscriptions_info_by_topic(topic))
    return [info.qos_profile for info in infos if info.node_name == of_node]


def test_every_profile_can_be_overridden(start_node, peer):
    """By the topic's full name after remapping; one that then cannot match is named."""
    node = start_node({
        'qos_overrides./front/image.subscription.reliability': 'reliable',
        'qos_overrides./camera_info.subscription.reliability': 'best_effort',
        'qos_overrides./da3/points.publisher.reliability': 'best_effort',
        'camera.info_wait_s': 0.0,
    }, arguments=['--ros-args', '-r', 'image:=/front/image', '--'])
    node.wait_for_output('active: waiting for /front/image')
    assert eventually(lambda: len(profiles(peer, '/da3/points')) == 1)
    assert profiles(peer, '/front/image')[0].reliability == RELIABLE
    assert profiles(peer, '/camera_info')[0].reliability == BEST_EFFORT
    assert profiles(peer, '/da3/points')[0].reliability == BEST_EFFORT
    assert profiles(peer, '/da3/depth/image')[0].reliability == RELIABLE
    assert profiles(peer, '/da3/path')[0].durability == DurabilityPolicy.TRANSIENT_LOCAL

    mute = peer.node.create_publisher(
        Image, '/front/image', QoSProfile(depth=10, reliability=BEST_EFFORT))
    node.wait_for_output("topic 'image', offering incompatible QoS")
    peer.node.destroy_publisher(mute)
    camera = peer.node.create_publisher(Image, '/front/image', QoSProfile(depth=10))
    assert eventually(lambda: camera.get_subscription_count() == 1)
    time.sleep(1.0)
    for frame in frames(6):
        peer.send(frame, publisher=camera)
        time.sleep(0.05)
    assert eventually(lambda: len(peer.stamps('depth')) == 6)


@pytest.mark.parametrize('durability', ['VOLATILE', 'TRANSIENT_LOCAL'])
def test_camera_infos_of_every_kind_of_publisher_are_heard(start_node, peer, durability):
    """One that is sent once and kept, before the node was there; one that is not kept."""
    qos = QoSProfile(depth=1, durability=DurabilityPolicy[durability])
    infos = peer.node.create_publisher(CameraInfo, '/front/camera_info', qos)
    sent = list(frames(4))
    peer.send_camera_info(sent[0], publisher=infos)
    node = start_node({'camera.info_wait_s': 60.0}, arguments=[
        '--ros-args', '-r', 'camera_info:=/front/camera_info', '--'])
    peer.wait_for_images()
    if durability == 'VOLATILE':
        assert eventually(lambda: infos.get_subscription_count() == 1)
        time.sleep(1.0)
        peer.send_camera_info(sent[0], publisher=infos)
        time.sleep(0.5)
    for frame in sent:
        peer.send(frame)
        time.sleep(0.1)
    assert eventually(lambda: len(peer.stamps('camera_info')) == 4)
    scale = sent[0].intrinsics[0, 0] / sent[0].image.shape[1]
    for (info,) in peer.received['camera_info'].values():
        assert info.k[0] / info.width == pytest.approx(scale, rel=1e-6)
    assert 'incompatible QoS' not in node.output
    # Nor does the camera's driver warn, which it would of a subscription that it does not fit.
    assert {profile.durability for profile in profiles(peer, '/front/camera_info')} == {
        DurabilityPolicy.VOLATILE, DurabilityPolicy[durability]}
    peer.node.destroy_publisher(infos)
