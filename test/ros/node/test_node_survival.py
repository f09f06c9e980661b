# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Whatever the camera, the network or the operator do, the node stays alive and tells."""

import time

from da3_ros.ros.conversions import to_header
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from node_harness import eventually
import numpy as np
from perfect_engine import frames, HEIGHT, WIDTH
import pytest
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool, Trigger
from test_node_outputs import stream


class Counts:
    """The counters that the node tells on /diagnostics."""

    def __init__(self, peer) -> None:
        """Listen."""
        self._values: dict[str, str] = {}
        peer.node.create_subscription(DiagnosticArray, '/diagnostics', self._store, 10)

    def _store(self, message) -> None:
        for status in message.status:
            self._values.update({value.key: value.value for value in status.values})

    def __getitem__(self, name: str) -> int:
        """Return a counter, 0 before the first message."""
        return int(self._values.get(name, 0))

    def seconds(self, name: str) -> float:
        """Return a duration, which must have been told."""
        return float(self._values[name])


def assert_works(peer, *, first: int) -> None:
    """Check that new frames still come out, in full."""
    sent = stream(peer, 6, first=first)
    assert eventually(lambda: set(sent) <= set(peer.stamps('points'))), 'nothing comes out'


def test_no_camera_info(start_node, peer):
    """The network's own intrinsics are used, with a warning."""
    node = start_node()
    peer.wait_for_camera()
    sent = stream(peer, 20, with_camera_info=False)
    assert eventually(lambda: sent[-1] in peer.stamps('depth'))
    assert len(peer.stamps('depth')) >= 10
    assert node.output.count('no CameraInfo: the network estimates the intrinsics') == 1


SPOILT_IMAGES = {
    'wrong encoding': {'encoding': '32FC1'},
    'no encoding': {'encoding': ''},
    'no rows': {'height': 0},
    'step too short': {'step': 5},
    'truncated data': {'height': 10_000},
    'absurd size': {'width': 2**30, 'step': 2**30 * 3},
}


def test_unusable_images(start_node, peer):
    """A clear error for every kind of them, and a count; the images after them are processed."""
    node = start_node()
    counts = Counts(peer)
    peer.wait_for_camera()
    assert_works(peer, first=0)
    stamps_ns = [frame.stamp_ns for frame in frames(len(SPOILT_IMAGES), first=50)]
    sound = {'height': HEIGHT, 'width': WIDTH, 'step': 3 * WIDTH, 'encoding': 'rgb8'}
    for time_ns, spoil in zip(stamps_ns, SPOILT_IMAGES.values(), strict=True):
        image = Image(header=to_header(time_ns, 'camera_optical_frame'), **sound | spoil)
        image.data = bytes(3 * WIDTH * HEIGHT)
        peer.send_raw(image)
        time.sleep(0.05)
    node.wait_for_output("image dropped: image encoding: got '32FC1', expected one of")
    assert eventually(
        lambda: counts['dropped images: unusable message'] == len(SPOILT_IMAGES))
    assert_works(peer, first=100)
    assert not set(stamps_ns) & set(peer.stamps('depth'))
    for name in ('image encoding', 'image size', 'image step', 'image data'):
        assert 1 <= node.output.count(f'image dropped: {name}') <= 2, node.output


def test_size_change_in_mid_stream(start_node, peer):
    """A new session begins; what waited in the old one still comes out."""
    node = start_node()
    counts = Counts(peer)
    peer.wait_for_camera()
    old = stream(peer, 7)
    new = []
    for frame in frames(5, first=20):
        image = np.zeros((HEIGHT + 2, WIDTH, 3), np.uint8)
        image[:HEIGHT] = frame.image
        new.append(frame.stamp_ns)
        peer.send(type(frame)(frame.stamp_ns, image))
        time.sleep(0.05)
    node.wait_for_output('new session: height changed from 48 to 50')
    assert eventually(lambda: counts['sessions'] == 2)
    assert eventually(lambda: set(old) <= set(peer.stamps('depth')))
    assert eventually(lambda: set(new) <= set(peer.stamps('depth')))
    assert_works(peer, first=100)


def test_clock_that_jumps_back(start_node, peer):
    """A bag that loops begins a new session, with the poses of a beginning."""
    node = start_node()
    peer.wait_for_camera()
    stream(peer, 6, first=100)
    again = stream(peer, 6, first=0)
    assert eventually(lambda: set(again) <= set(peer.stamps('odometry')))
    node.wait_for_output('new session: time went back by')
    position = peer.received['odometry'][again[0]][0].pose.pose.position
    assert (position.x, position.y, position.z) == pytest.approx((0.0, 0.0, 0.0), abs=1e-6)


def test_equal_and_late_stamps_are_dropped(start_node, peer):
    """They are counted and do not disturb the session."""
    start_node()
    counts = Counts(peer)
    peer.wait_for_camera()
    sent = stream(peer, 4)
    first, second = frames(2, first=2)
    peer.send(second)
    peer.send(first)
    assert eventually(lambda: counts['dropped images: out of order'] == 1)
    assert counts['dropped images: stamp seen before'] == 1
    assert counts['sessions'] == 1
    assert eventually(lambda: set(sent) <= set(peer.stamps('depth')))


def test_failing_window_is_skipped(start_node, peer):
    """An unexpected error costs its window and is logged with its traceback."""
    node = start_node(arguments=['--fail-at', '2'])
    counts = Counts(peer)
    peer.wait_for_camera()
    stream(peer, 12)
    node.wait_for_output('RuntimeError: told to fail')
    assert eventually(lambda: counts['unexpected errors'] == 1)
    assert eventually(lambda: counts['keyframes published'] == 10)
    assert counts['dropped keyframes: inference failed'] == 2
    assert_works(peer, first=100)


def test_deactivate_during_inference(start_node, peer):
    """It returns at once, nothing comes out afterwards, and the node can be activated again."""
    start_node({'window.stride': 1}, arguments=['--delay-s', '3'])
    peer.wait_for_camera()
    stream(peer, 4)
    time.sleep(0.5)
    started = time.monotonic()
    assert peer.change_state(Transition.TRANSITION_DEACTIVATE)
    assert time.monotonic() - started < 1.0
    num_before = len(peer.stamps('depth'))
    time.sleep(4.0)
    assert len(peer.stamps('depth')) == num_before
    assert peer.state() == 'inactive'
    assert peer.change_state(Transition.TRANSITION_ACTIVATE)
    peer.wait_for_camera()
    sent = stream(peer, 3, first=100)
    assert eventually(lambda: set(sent) <= set(peer.stamps('depth')), 30)


def test_activate_after_a_cleanup_that_failed(start_node, peer):
    """An inference outlasts the cleanup: the node stays inactive, and can be activated again."""
    node = start_node({'window.stride': 1}, arguments=['--delay-s', '2', '--cleanup-s', '0.3'])
    peer.wait_for_camera()
    old = stream(peer, 4)
    time.sleep(0.5)
    assert peer.change_state(Transition.TRANSITION_DEACTIVATE)
    assert not peer.change_state(Transition.TRANSITION_CLEANUP)
    assert 'the inference under way did not end within 0.3 s' in node.output
    assert peer.state() == 'inactive'
    assert peer.change_state(Transition.TRANSITION_ACTIVATE)
    peer.wait_for_camera()
    new = stream(peer, 3, first=100)
    assert eventually(lambda: set(new) <= set(peer.stamps('depth')), 30)
    assert not set(old) & set(peer.stamps('depth'))


def test_all_states_twice(start_node, peer):
    """Configured, active, inactive, unconfigured and back: a second life is like the first."""
    start_node({'autostart': False})
    for first in (0, 100):
        assert eventually(lambda: peer.state() == 'unconfigured')
        assert peer.change_state(Transition.TRANSITION_CONFIGURE)
        assert peer.change_state(Transition.TRANSITION_ACTIVATE)
        peer.wait_for_camera()
        assert_works(peer, first=first)
        assert peer.change_state(Transition.TRANSITION_DEACTIVATE)
        assert peer.change_state(Transition.TRANSITION_CLEANUP)
        assert peer.node.count_publishers('/da3/points') == 0
    assert peer.change_state(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    assert peer.state() == 'finalized'


def test_services(start_node, peer):
    """Flush brings out what waits, pause ignores images, reset begins at the origin."""
    start_node({'window.max_age_s': 60.0})
    peer.wait_for_camera()
    sent = stream(peer, 2)
    time.sleep(0.5)
    assert peer.stamps('depth') == []
    assert peer.call(Trigger, '/da3/flush', Trigger.Request()).success
    assert eventually(lambda: peer.stamps('depth') == sent)

    assert peer.call(SetBool, '/da3/set_paused', SetBool.Request(data=True)).success
    stream(peer, 4, first=20)
    assert peer.call(SetBool, '/da3/set_paused', SetBool.Request(data=False)).success
    assert peer.call(Trigger, '/da3/flush', Trigger.Request()).success
    time.sleep(0.5)
    assert peer.stamps('depth') == sent

    assert peer.call(Trigger, '/da3/reset', Trigger.Request()).success
    after = stream(peer, 4, first=40)
    assert peer.call(Trigger, '/da3/flush', Trigger.Request()).success
    assert eventually(lambda: set(after) <= set(peer.stamps('odometry')))
    position = peer.received['odometry'][after[0]][0].pose.pose.position
    assert (position.x, position.y, position.z) == pytest.approx((0.0, 0.0, 0.0), abs=1e-6)


def test_services_of_an_inactive_node_refuse(start_node, peer):
    """They answer, with the reason."""
    start_node({'autostart': False})
    for name in ('reset', 'flush'):
        response = peer.call(Trigger, f'/da3/{name}', Trigger.Request())
        assert (response.success, response.message) == (False, 'the node is not active')
