# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What a node says whose inputs are wrong, in its log and on /diagnostics."""

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_harness import eventually
from perfect_engine import frames
from rclpy.qos import DurabilityPolicy, QoSProfile

# The peer publishes on /image and /camera_info.
WRONG_TOPICS = ['--ros-args', '-r', 'image:=/imagee', '-r', 'camera_info:=/info', '--']


class Statuses:
    """The newest status of each name."""

    def __init__(self, peer) -> None:
        """Listen."""
        self._newest = {}
        peer.node.create_subscription(DiagnosticArray, '/diagnostics', self._store, 10)

    def _store(self, message) -> None:
        self._newest.update({status.name: status for status in message.status})

    def __getitem__(self, name) -> DiagnosticStatus:
        """Return a status, an empty one before the first message."""
        return self._newest.get(f'/da3: {name}', DiagnosticStatus())


def test_wrong_topics_are_named_with_the_right_ones(start_node, peer):
    """In the log, for images and CameraInfo, and as a warning on /diagnostics."""
    node = start_node(arguments=WRONG_TOPICS)
    statuses = Statuses(peer)
    node.wait_for_output('no image on /imagee for 5 s: nobody publishes there; did you mean '
                         '/image (/peer)?')
    node.wait_for_output('no CameraInfo on /info for 5 s: nobody publishes there; did you mean '
                         '/camera_info (/peer)?')
    assert eventually(lambda: statuses['stream'].level == DiagnosticStatus.WARN)
    assert 'no image on /imagee for' in statuses['stream'].message


def test_a_stream_without_metres_and_with_equal_stamps(start_node, peer):
    """Both are told once, with what to do; what was chosen is level OK."""
    node = start_node({'scale.source': 'none'})
    statuses = Statuses(peer)
    peer.wait_for_camera()
    (frame,) = frames(1)
    for _ in range(12):
        peer.send_camera_info(frame)
        peer.send(frame)
    node.wait_for_output(f'all stamps on /image are {frame.stamp_ns / 1e9:g} s')
    assert node.output.count('lengths are not metres (scale.source: none); for metres set') == 1
    assert eventually(
        lambda: statuses['world'].message == 'not metres, as set (scale.source: none)')
    assert statuses['world'].level == DiagnosticStatus.OK
    told = []
    peer.node.create_subscription(DiagnosticStatus, '/da3/status', told.append, QoSProfile(
        depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    assert eventually(lambda: told)
    assert [value.value for value in told[0].values if value.key == 'metric'] == ['false']
    assert 'lengths are not metres' not in told[0].message
    assert eventually(lambda: statuses['stream'].level == DiagnosticStatus.WARN)
