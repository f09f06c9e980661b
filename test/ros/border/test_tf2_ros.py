# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What da3_ros relies on in tf2_ros: the real one and the stand-in must pass."""

from collections.abc import Iterator
import threading
import time

from geometry_msgs.msg import TransformStamped
import numpy as np
import pytest
import rclpy
from rclpy.clock import ROSClock
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.time import Time
from scipy.spatial.transform import Rotation
import tf2_ros

SECOND = 10**9
LATEST = Time()


def transform(
    parent: str, child: str, stamp_ns: int = 0, translation: tuple = (0.0, 0.0, 0.0),
    rotation: Rotation | None = None,
) -> TransformStamped:
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = parent
    message.header.stamp = Time(nanoseconds=stamp_ns).to_msg()
    position, turn = message.transform.translation, message.transform.rotation
    position.x, position.y, position.z = (float(value) for value in translation)
    quaternion = (rotation or Rotation.identity()).as_quat()
    turn.x, turn.y, turn.z, turn.w = (float(value) for value in quaternion)
    return message


def matrix(message: TransformStamped) -> np.ndarray:
    position, turn = message.transform.translation, message.transform.rotation
    result = np.eye(4)
    result[:3, :3] = Rotation.from_quat([turn.x, turn.y, turn.z, turn.w]).as_matrix()
    result[:3, 3] = position.x, position.y, position.z
    return result


def buffer_of(*messages: TransformStamped, **arguments: Duration) -> tf2_ros.Buffer:
    buffer = tf2_ros.Buffer(**arguments)
    for message in messages:
        buffer.set_transform(message, 'test')
    return buffer


def moving_buffer() -> tf2_ros.Buffer:
    """Hold a base that goes from 0 to 2 m and turns by 90 degrees from second 1 to second 3."""
    return buffer_of(
        transform('odom', 'base', 1 * SECOND),
        transform('odom', 'base', 3 * SECOND, (2, 0, 0), Rotation.from_euler('z', 90, True)))


def at(seconds: float) -> Time:
    return Time(nanoseconds=round(seconds * SECOND))


def test_every_pair_of_a_random_tree() -> None:
    generator = np.random.default_rng(3)
    frames = [f'f{index}' for index in range(8)]
    buffer = tf2_ros.Buffer()
    root_T_frame = {frames[0]: np.eye(4)}
    for index, child in enumerate(frames[1:], start=1):
        parent = frames[generator.integers(index)]
        rotation = Rotation.from_quat(generator.normal(size=4))
        message = transform(parent, child, SECOND, generator.normal(size=3), rotation)
        store = buffer.set_transform_static if index % 3 == 0 else buffer.set_transform
        store(message, 'test')
        root_T_frame[child] = root_T_frame[parent] @ matrix(message)
    for target in frames:
        for source in frames:
            found = buffer.lookup_transform(target, source, at(1))
            expected = np.linalg.inv(root_T_frame[target]) @ root_T_frame[source]
            np.testing.assert_allclose(matrix(found), expected, atol=1e-12)
            assert (found.header.frame_id, found.child_frame_id) == (target, source)
            assert Time.from_msg(found.header.stamp).nanoseconds == SECOND


def test_between_two_times_it_interpolates() -> None:
    found = matrix(moving_buffer().lookup_transform('odom', 'base', at(1.5)))
    np.testing.assert_allclose(found[:3, 3], [0.5, 0, 0], atol=1e-12)
    expected = Rotation.from_euler('z', 22.5, True).as_matrix()
    np.testing.assert_allclose(found[:3, :3], expected, atol=1e-9)


def test_rotations_take_the_short_way() -> None:
    negated = transform('odom', 'base', 3 * SECOND, (0, 0, 0), Rotation.from_euler('z', 90, True))
    turn = negated.transform.rotation
    turn.x, turn.y, turn.z, turn.w = -turn.x, -turn.y, -turn.z, -turn.w
    buffer = buffer_of(transform('odom', 'base', SECOND), negated)
    found = matrix(buffer.lookup_transform('odom', 'base', at(2)))
    expected = Rotation.from_euler('z', 45, True).as_matrix()
    np.testing.assert_allclose(found[:3, :3], expected, atol=1e-9)


def test_a_quaternion_of_another_norm_is_normalised() -> None:
    doubled = transform('odom', 'base', SECOND, (1, 0, 0), Rotation.from_euler('z', 90, True))
    doubled.transform.rotation.z *= 2
    doubled.transform.rotation.w *= 2
    found = matrix(buffer_of(doubled).lookup_transform('base', 'odom', at(1)))
    np.testing.assert_allclose(found[:3, 3], [0, 1, 0], atol=1e-12)


def test_stamps_are_exact_and_messages_serve_as_times() -> None:
    stamp_ns = 1_700_000_000_123_456_789
    stamp = Time(nanoseconds=stamp_ns).to_msg()
    buffer = buffer_of(transform('odom', 'base', stamp_ns, (1, 0, 0)))
    assert buffer.lookup_transform('odom', 'base', stamp).header.stamp == stamp
    assert buffer.can_transform('odom', 'base', stamp)


def test_arrival_order_does_not_matter() -> None:
    buffer = buffer_of(*(transform('odom', 'base', second * SECOND, (second, 0, 0))
                         for second in (3, 1, 4, 2)))
    found = matrix(buffer.lookup_transform('odom', 'base', at(1.25)))
    np.testing.assert_allclose(found[:3, 3], [1.25, 0, 0], atol=1e-12)


@pytest.mark.parametrize('seconds', [0.5, 3.5])
def test_it_never_extrapolates(seconds: float) -> None:
    buffer = moving_buffer()
    with pytest.raises(tf2_ros.ExtrapolationException):
        buffer.lookup_transform('odom', 'base', at(seconds))
    assert not buffer.can_transform('odom', 'base', at(seconds))
    buffer = buffer_of(transform('odom', 'base', SECOND))
    with pytest.raises(tf2_ros.ExtrapolationException):
        buffer.lookup_transform('base', 'odom', at(seconds))


def test_time_zero_is_the_latest_common_time() -> None:
    buffer = moving_buffer()
    buffer.set_transform(transform('map', 'odom', 2 * SECOND, (0, 1, 0)), 'test')
    buffer.set_transform_static(transform('base', 'camera', 0, (0, 0, 1)), 'test')
    found = buffer.lookup_transform('map', 'camera', LATEST)
    assert Time.from_msg(found.header.stamp).nanoseconds == 2 * SECOND
    np.testing.assert_allclose(matrix(found)[:3, 3], [1, 1, 1], atol=1e-12)
    found = buffer.lookup_transform('odom', 'camera', LATEST)
    assert Time.from_msg(found.header.stamp).nanoseconds == 3 * SECOND


def test_static_transforms_hold_at_all_times() -> None:
    buffer = tf2_ros.Buffer()
    buffer.set_transform_static(transform('base', 'camera', 5 * SECOND, (0, 0, 1)), 'test')
    for stamp in (at(1), at(1e6)):
        found = buffer.lookup_transform('base', 'camera', stamp)
        assert Time.from_msg(found.header.stamp) == Time.from_msg(stamp.to_msg())
    found = buffer.lookup_transform('base', 'camera', LATEST)
    assert Time.from_msg(found.header.stamp).nanoseconds == 0


def test_frames_that_are_not_there() -> None:
    buffer = moving_buffer()
    buffer.set_transform(transform('world', 'other', 2 * SECOND), 'test')
    for stamp in (LATEST, at(2)):
        with pytest.raises(tf2_ros.LookupException):
            buffer.lookup_transform('odom', 'nowhere', stamp)
        with pytest.raises(tf2_ros.ConnectivityException):
            buffer.lookup_transform('odom', 'other', stamp)
    with pytest.raises(tf2_ros.InvalidArgumentException):
        buffer.lookup_transform('/odom', 'base', LATEST)
    with pytest.raises(tf2_ros.InvalidArgumentException):
        buffer.lookup_transform('odom', '', LATEST)
    for name in ('Lookup', 'Connectivity', 'Extrapolation', 'InvalidArgument'):
        assert issubclass(getattr(tf2_ros, f'{name}Exception'), tf2_ros.TransformException)


def test_a_frame_in_itself_needs_no_data() -> None:
    found = tf2_ros.Buffer().lookup_transform('anything', 'anything', at(4))
    np.testing.assert_array_equal(matrix(found), np.eye(4))
    assert Time.from_msg(found.header.stamp).nanoseconds == 4 * SECOND


def test_invalid_transforms_are_ignored() -> None:
    unset = transform('odom', 'base', 2 * SECOND)
    unset.transform.rotation.w = 0.0
    buffer = buffer_of(
        transform('odom', 'base', SECOND), unset,
        transform('odom', 'base', 3 * SECOND, (np.nan, 0, 0)),
        transform('base', 'base', 4 * SECOND), transform('', 'base', 5 * SECOND))
    found = buffer.lookup_transform('odom', 'base', LATEST)
    assert Time.from_msg(found.header.stamp).nanoseconds == SECOND


def test_old_data_leave_the_buffer() -> None:
    buffer = buffer_of(cache_time=Duration(seconds=2))
    for second in range(1, 11):
        buffer.set_transform(transform('odom', 'base', second * SECOND), 'test')
    buffer.set_transform(transform('odom', 'base', SECOND), 'test')
    assert buffer.can_transform('odom', 'base', at(8.5))
    assert not buffer.can_transform('odom', 'base', at(5))


def test_a_frame_may_change_its_parent() -> None:
    buffer = buffer_of(
        transform('odom', 'base', SECOND, (1, 0, 0)), transform('map', 'base', 2 * SECOND))
    assert matrix(buffer.lookup_transform('odom', 'base', at(1)))[0, 3] == 1
    assert buffer.can_transform('map', 'base', at(2))
    assert not buffer.can_transform('odom', 'base', at(2))


def test_a_wait_ends_when_the_transform_comes() -> None:
    buffer = buffer_of(transform('odom', 'base', SECOND))
    late = threading.Timer(
        0.1, buffer.set_transform, (transform('odom', 'base', 3 * SECOND, (2, 0, 0)), 'test'))
    late.start()
    found = buffer.lookup_transform('odom', 'base', at(2), Duration(seconds=5))
    late.join()
    assert matrix(found)[0, 3] == pytest.approx(1)


def test_a_wait_ends_at_its_timeout() -> None:
    start = time.monotonic()
    with pytest.raises(tf2_ros.TransformException):
        moving_buffer().lookup_transform('odom', 'base', at(9), Duration(seconds=0.2))
    assert 0.19 < time.monotonic() - start < 2.0


@pytest.fixture
def nodes() -> Iterator[tuple[Node, Node]]:
    context = rclpy.Context()
    rclpy.init(context=context)
    sender, receiver = (Node(name, context=context) for name in ('sender', 'receiver'))
    yield sender, receiver
    for node in (sender, receiver):
        node.destroy_node()
    rclpy.try_shutdown(context=context)


def spin_until_transform(buffer: tf2_ros.Buffer, target: str, source: str, node: Node) -> bool:
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    deadline = time.monotonic() + 10.0
    while not buffer.can_transform(target, source, LATEST) and time.monotonic() < deadline:
        executor.spin_once(timeout_sec=0.1)
    executor.shutdown()
    return buffer.can_transform(target, source, LATEST)


def test_listener_hears_both_broadcasters(nodes: tuple[Node, Node]) -> None:
    sender, receiver = nodes
    static = tf2_ros.StaticTransformBroadcaster(sender)
    static.sendTransform(transform('base', 'camera', 0, (0, 0, 1)))
    static.sendTransform([transform('base', 'laser', 0, (0, 0, 2))])
    buffer = tf2_ros.Buffer(node=receiver)
    listener = tf2_ros.TransformListener(buffer, receiver)
    assert spin_until_transform(buffer, 'laser', 'camera', receiver)
    moving = tf2_ros.TransformBroadcaster(sender)
    while not moving.pub_tf.get_subscription_count():
        time.sleep(0.01)
    moving.sendTransform([transform('map', 'odom', SECOND), transform('odom', 'base', SECOND)])
    assert spin_until_transform(buffer, 'map', 'laser', receiver)
    found = matrix(buffer.lookup_transform('map', 'laser', LATEST))
    np.testing.assert_allclose(found[:3, 3], [0, 0, 2])
    listener.unregister()


def test_a_clock_that_jumps_back_clears_what_moved(nodes: tuple[Node, Node]) -> None:
    node = nodes[0]
    clock = node.get_clock()
    assert isinstance(clock, ROSClock)
    clock._set_ros_time_is_active(True)
    clock.set_ros_time_override(at(100))
    buffer = tf2_ros.Buffer(node=node)
    buffer.set_transform(transform('odom', 'base', 99 * SECOND), 'test')
    buffer.set_transform_static(transform('base', 'camera'), 'test')
    clock.set_ros_time_override(at(101))
    assert buffer.can_transform('odom', 'base', LATEST)
    clock.set_ros_time_override(at(50))
    assert not buffer.can_transform('odom', 'base', LATEST)
    assert buffer.can_transform('base', 'camera', LATEST)
    buffer.set_transform(transform('odom', 'base', 50 * SECOND), 'test')
    assert buffer.can_transform('odom', 'camera', at(50))
