# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The robot's frames: waited for, but not again and again where there are none."""

import threading
import time

from da3_ros.mapping.keyframe import Frame, Instant, Keyframe
from da3_ros.ros.conversions import to_stamp, to_transform
from da3_ros.ros.insight.counters import Counters, Event
from da3_ros.ros.parameters.settings import NodeSettings, TfSettings
from da3_ros.ros.robot_frames import RobotFrames, RobotPoses
from node_harness import eventually
import numpy as np
import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from spun_graph import SpunGraph
from tf2_ros import StaticTransformBroadcaster, TransformBroadcaster

STAMP_NS = 10**18
TIMEOUT_S = 0.3


class Robot(SpunGraph):
    """A node that listens to frames, and one that publishes them."""

    def __init__(self, domain_id, *, use_sim_time=False) -> None:
        """Spin both."""
        super().__init__(domain_id)
        self.listener = listener = Node('listener', context=self.context, parameter_overrides=[
            Parameter('use_sim_time', value=use_sim_time)])
        self.node = robot = Node('robot', context=self.context)
        self.frames = RobotFrames(listener)
        self.static = StaticTransformBroadcaster(robot)
        self.moving = TransformBroadcaster(robot)
        self.spin(listener, robot)

    def look_up(self, source, *, stamp_ns=STAMP_NS, timeout_s=TIMEOUT_S):
        """Look a frame of the base up; return what was found and how long it took."""
        started = time.monotonic()
        found = self.frames.look_up('base', source, stamp_ns=stamp_ns, timeout_s=timeout_s)
        return found, time.monotonic() - started

    def close(self) -> None:
        """End everything."""
        self.stop()
        self.frames.close()
        super().close()


@pytest.fixture
def robot(domain_id):
    """Give a robot that ends with the test."""
    robot = Robot(domain_id)
    yield robot
    robot.close()


def link(child, stamp_ns=0):
    """Make a transform."""
    return to_transform(np.eye(4), time_ns=stamp_ns, parent='base', child=child)


def test_a_frame_that_nobody_knows_is_waited_for_once(robot):
    """And found as soon as somebody does."""
    found, duration_s = robot.look_up('camera')
    assert isinstance(found, str)
    assert duration_s >= TIMEOUT_S
    again, duration_s = robot.look_up('camera')
    assert again == found
    assert duration_s < TIMEOUT_S / 2
    robot.static.sendTransform(link('camera'))
    assert eventually(lambda: not isinstance(robot.look_up('camera')[0], str), 10.0)


def test_a_transform_on_its_way_is_waited_for_every_time(robot):
    """The frames are connected, but not yet at the time that is asked for."""
    assert eventually(lambda: robot.moving.pub_tf.get_subscription_count() > 0, 10.0)
    robot.moving.sendTransform(link('arm', STAMP_NS))
    assert eventually(lambda: not isinstance(robot.look_up('arm', timeout_s=0.0)[0], str), 10.0)
    for _ in range(2):
        found, duration_s = robot.look_up('arm', stamp_ns=STAMP_NS + 10**9)
        assert isinstance(found, str)
        assert duration_s >= TIMEOUT_S
    threading.Timer(0.5, robot.moving.sendTransform, [link('arm', STAMP_NS + 2 * 10**9)]).start()
    found, _ = robot.look_up('arm', stamp_ns=STAMP_NS + 10**9, timeout_s=5.0)
    np.testing.assert_allclose(found, np.eye(4))


def settings(**fields):
    """Give settings of a robot whose mounting and odometry are asked for."""
    return NodeSettings(tf=TfSettings(mode='map_to_odom', base_frame='base', **fields))


def instant_at(stamp_ns):
    """Give one keyframe of the camera."""
    frame = Frame(stamp_ns, np.zeros((2, 2, 3), np.uint8), frame_id='camera')
    return Instant((Keyframe(0, frame),))


def test_transforms_are_found_when_the_keyframe_comes_and_kept_until_its_window(robot):
    """By then tf2 has forgotten them: its buffer holds ten seconds."""
    counters = Counters()
    poses = RobotPoses(robot.frames, settings(), counters)
    robot.static.sendTransform(link('camera'))
    assert eventually(lambda: robot.moving.pub_tf.get_subscription_count() > 0, 10.0)

    def drive(stamp_ns):
        robot.moving.sendTransform(
            to_transform(np.eye(4), time_ns=stamp_ns, parent='odom', child='base'))
        assert eventually(
            lambda: robot.look_up('odom', stamp_ns=stamp_ns, timeout_s=0.0)[0] is not None
            and not isinstance(robot.look_up('odom', stamp_ns=stamp_ns, timeout_s=0.0)[0], str),
            10.0)

    drive(STAMP_NS)
    early, on_its_way = instant_at(STAMP_NS), instant_at(STAMP_NS + 10**8)
    poses.expect(early)
    # The wheels of this moment have not been heard of yet.
    poses.expect(on_its_way)
    drive(STAMP_NS + 10**8)
    poses.retry()
    drive(STAMP_NS + 20 * 10**9)
    assert isinstance(robot.look_up('odom', stamp_ns=STAMP_NS, timeout_s=0.0)[0], str)
    for instant in (early, on_its_way):
        started = time.monotonic()
        (keyframe,) = poses.complete(instant, 5.0).keyframes
        assert time.monotonic() - started < 1.0
        np.testing.assert_allclose(keyframe.frame.robot_T_camera, np.eye(4))
        np.testing.assert_allclose(keyframe.frame.base_T_camera, np.eye(4))
    assert counters[Event.TF_MISSING] == 0


def test_what_is_not_to_be_had_is_waited_for_since_the_keyframe_came(robot, caplog):
    """Not again after a long inference; counted each time, told once."""
    counters = Counters()
    poses = RobotPoses(robot.frames, settings(), counters)
    robot.static.sendTransform(link('camera'))
    assert eventually(lambda: not isinstance(robot.look_up('camera')[0], str), 10.0)
    robot.moving.sendTransform(
        to_transform(np.eye(4), time_ns=STAMP_NS, parent='odom', child='base'))
    assert eventually(lambda: not isinstance(robot.look_up('odom')[0], str), 10.0)
    later = instant_at(STAMP_NS + 10**9)
    poses.expect(later)
    time.sleep(TIMEOUT_S)
    started = time.monotonic()
    for _ in range(2):
        (keyframe,) = poses.complete(later, TIMEOUT_S if _ == 0 else 0.0).keyframes
        assert keyframe.frame.robot_T_camera is None
        assert keyframe.frame.base_T_camera is not None
    assert time.monotonic() - started < TIMEOUT_S / 2
    assert counters[Event.TF_MISSING] == 2
    assert len([text for text in caplog.messages if 'odom from camera' in text]) == 1


def test_a_clock_that_goes_back_empties_the_buffer(domain_id):
    """A bag that loops, in simulated time: where the robot was in the last round is not now."""
    robot = Robot(domain_id, use_sim_time=True)
    clock = robot.node.create_publisher(Clock, '/clock', 10)

    def set_clock(seconds):
        clock.publish(Clock(clock=to_stamp(seconds * 10**9)))
        return robot.listener.get_clock().now().nanoseconds == seconds * 10**9

    def is_known():
        return not isinstance(robot.look_up('arm', stamp_ns=19 * 10**9, timeout_s=0.0)[0], str)

    try:
        assert eventually(lambda: set_clock(20))
        assert eventually(lambda: robot.moving.pub_tf.get_subscription_count() > 0)
        robot.moving.sendTransform(link('arm', 19 * 10**9))
        assert eventually(is_known)
        assert eventually(lambda: set_clock(10))
        assert not is_known()
    finally:
        robot.close()
