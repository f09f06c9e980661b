# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Sessions and lives of the node over real DDS: where worlds begin, and that they end whole."""

from dataclasses import replace
import time

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from nav_msgs.msg import Path
from node_harness import eventually
from perfect_engine import frames
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_srvs.srv import Trigger
from test_node_outputs import PACE_S, stream
from test_node_settings import set_parameter
from test_node_survival import Counts

HOUR_NS = 3600 * 10**9


def send(peer, images):
    """Send images with their calibration."""
    for frame in images:
        peer.send_camera_info(frame)
        peer.send(frame)
        time.sleep(PACE_S)


def test_a_wrong_stamp_ends_no_world(start_node, peer):
    """Zero, six seconds and an hour ahead, among good ones: dropped, counted, told."""
    node = start_node()
    counts = Counts(peer)
    peer.wait_for_camera()
    good = list(frames(24, first=100))
    images = list(good)
    for place, stamp_ns in (
            (18, good[0].stamp_ns + HOUR_NS), (12, good[0].stamp_ns + 60 * 10**9), (6, 0)):
        images.insert(place, replace(good[place], stamp_ns=stamp_ns))
    send(peer, images)
    sent = [frame.stamp_ns for frame in good]
    assert eventually(lambda: peer.stamps('depth') == sent)
    assert eventually(lambda: counts['dropped images: stamp of another time'] == 3)
    assert counts['sessions'] == 1
    assert 'image dropped: its stamp 0 ns is of another time' in node.output


def test_a_reset_while_the_camera_stands_begins_with_one_keyframe(start_node, peer):
    """By motion, of a picture that never changes: one keyframe before, and one after."""
    start_node({'keyframe.mode': 'motion', 'window.min_views': 1})
    peer.wait_for_camera()
    picture = next(frames(1)).image

    def stand(first):
        images = [replace(frame, image=picture) for frame in frames(15, first=first)]
        send(peer, images)
        return images[0].stamp_ns

    before = stand(0)
    assert eventually(lambda: peer.stamps('depth') == [before])
    assert peer.call(Trigger, '/da3/reset', Trigger.Request()).success
    after = stand(15)
    assert eventually(lambda: peer.stamps('depth') == [before, after])
    time.sleep(1.0)
    assert peer.stamps('depth') == [before, after]


class World:
    """What /diagnostics says of the world and of the last window."""

    def __init__(self, peer) -> None:
        """Listen."""
        self.text, self.keys = '', set()
        peer.node.create_subscription(DiagnosticArray, '/diagnostics', self._store, 10)

    def _store(self, message) -> None:
        for status in message.status:
            if status.name.endswith('world'):
                self.text = status.message
                self.keys = {value.key for value in status.values}


def test_nothing_is_told_of_a_world_that_has_ended(start_node, peer):
    """After reset: neither its path, nor its metres and joins; nor after cleanup."""
    start_node({'scale.source': 'fixed'})
    world = World(peer)
    peer.wait_for_camera()
    stream(peer, 12)
    assert eventually(lambda: world.text == 'metric' and 'segment' in world.keys)
    assert peer.call(Trigger, '/da3/reset', Trigger.Request()).success
    paths = []
    peer.node.create_subscription(Path, '/da3/path', paths.append, QoSProfile(
        depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    assert eventually(lambda: paths)
    assert [len(path.poses) for path in paths] == [0]
    assert eventually(lambda: world.text == 'no keyframe yet' and not world.keys)
    sent = stream(peer, 6, first=20)
    assert eventually(lambda: len(paths[-1].poses) == len(sent))
    assert eventually(lambda: world.text == 'metric')
    assert peer.change_state(Transition.TRANSITION_DEACTIVATE)
    assert peer.change_state(Transition.TRANSITION_CLEANUP)
    assert eventually(lambda: world.text == 'no keyframe yet' and not world.keys)


def test_a_configure_that_fails_leaves_nothing_behind(start_node, peer):
    """Before the outputs are made, or in the midst of them; then one that succeeds."""
    node = start_node({
        'autostart': False, 'window.size': 0,
        'qos_overrides./da3/map.publisher.reliability': 'nonsense'})
    assert eventually(peer.knows_node)
    for size in (0, 6, 6):
        assert set_parameter(peer, 'window.size', size).successful
        assert not peer.change_state(Transition.TRANSITION_CONFIGURE)
    assert 'nonsense' in node.output
    time.sleep(1.0)
    for topic in ('/da3/points', '/da3/depth/image', '/da3/path', '/tf'):
        assert peer.node.count_publishers(topic) == 0, topic
    names = peer.node.get_subscriber_names_and_types_by_node('da3', '/')
    assert '/tf' not in [name for name, _ in names]
    assert peer.state() == 'unconfigured'
