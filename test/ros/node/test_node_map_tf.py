# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""``map -> odom`` between keyframes, over real DDS."""

from dataclasses import replace
import time

from da3_ros.geometry import rigid
from da3_ros.ros.conversions import stamp_ns, to_transform
from lifecycle_msgs.msg import Transition
from node_harness import eventually
import numpy as np
from perfect_engine import frames
from rclpy.duration import Duration
from rclpy.time import Time
from std_srvs.srv import Trigger
from test_node_tf import mount_camera
from tf2_ros import TransformBroadcaster

MODE = {'tf.mode': 'map_to_odom', 'tf.rate_hz': 20.0, 'tf.tolerance_s': 0.3}
NUM_FRAMES = 6
NS_PER_S = 10**9


class Robot:
    """A robot with wheels and a camera whose stamps are of now; and what is on /tf."""

    def __init__(self, peer) -> None:
        """Mount the camera."""
        self._peer = peer
        self._mounting = mount_camera(peer)
        self._wheels = TransformBroadcaster(peer.node)

    def tell_wheels(self, position_m=0.0) -> int:
        """Say where the base is now; return the stamp."""
        time_ns = time.time_ns()
        odom_T_base = rigid.from_rotation_translation(np.eye(3), [position_m, 0.0, 0.0])
        self._wheels.sendTransform(to_transform(
            odom_T_base, time_ns=time_ns, parent='odom', child='base_link'))
        return time_ns

    def drive(self, *, first=0):
        """Send frames and return their stamps."""
        sent = []
        for index, frame in enumerate(frames(NUM_FRAMES, first=first)):
            stamped = replace(frame, stamp_ns=self.tell_wheels(0.1 * index))
            self._peer.send_camera_info(stamped)
            self._peer.send(stamped)
            sent.append(stamped.stamp_ns)
            time.sleep(0.05)
        return sent

    def corrections(self):
        """Give all of ``map -> odom`` so far."""
        return [link for link in list(self._peer.transforms)
                if (link.header.frame_id, link.child_frame_id) == ('map', 'odom')]

    def wait_for_keyframes(self, sent) -> None:
        """Wait until each has come out with its own correction."""
        assert eventually(lambda: set(sent) <= {
            stamp_ns(link.header.stamp) for link in self.corrections()})

    def arrivals(self, seconds):
        """Give the ages of what comes in some time, by their stamps [s]."""
        ages_s = []
        known, deadline = len(self.corrections()), time.monotonic() + seconds
        while time.monotonic() < deadline:
            now_ns = time.time_ns()
            links = self.corrections()
            ages_s += [(now_ns - stamp_ns(link.header.stamp)) / NS_PER_S for link in links[known:]]
            known = len(links)
            time.sleep(0.005)
        return ages_s


def test_the_newest_correction_is_repeated_for_the_present(start_node, peer):
    """Steadily, dated ahead, from the first keyframe of a world until its end."""
    robot = Robot(peer)
    start_node(MODE)
    peer.wait_for_camera()
    assert robot.corrections() == []
    robot.wait_for_keyframes(sent := robot.drive())
    ages_s = robot.arrivals(1.5)
    assert 20 <= len(ages_s) <= 31
    assert min(ages_s) > -0.31 and max(ages_s) < 0.0
    own = next(
        link for link in robot.corrections() if stamp_ns(link.header.stamp) == sent[-1])
    assert robot.corrections()[-1].transform == own.transform
    # What Nav2 asks: where the base is in the map, now.
    assert peer.buffer.can_transform(
        'map', 'base_link', Time(nanoseconds=robot.tell_wheels()), Duration(seconds=1))

    assert peer.call(Trigger, '/da3/reset', Trigger.Request()).success
    time.sleep(0.2)
    assert robot.arrivals(0.4) == []
    robot.wait_for_keyframes(robot.drive(first=100))
    assert eventually(lambda: len(robot.arrivals(0.2)) > 1)

    assert peer.change_state(Transition.TRANSITION_DEACTIVATE)
    time.sleep(0.2)
    assert robot.arrivals(0.4) == []
    assert peer.change_state(Transition.TRANSITION_ACTIVATE)
    assert robot.arrivals(0.4) == []
