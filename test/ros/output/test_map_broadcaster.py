# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Only ``map -> odom`` is repeated, only while it holds, and only for a clock that it is of."""

import time

from da3_ros.ros.conversions import stamp_ns, to_stamp, to_transform
from da3_ros.ros.output.map_broadcaster import MapBroadcaster
from da3_ros.ros.parameters.settings import TfSettings
from da3_ros.ros.robot_frames import RobotFrames
from node_harness import eventually
import numpy as np
import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.time import Time
from rosgraph_msgs.msg import Clock
from spun_graph import SpunGraph
from tf2_msgs.msg import TFMessage
from tf2_ros import Buffer, TransformBroadcaster, TransformListener

HOUR_NS = 3600 * 10**9


class Bench(SpunGraph):
    """A broadcaster, and all that it sent."""

    def __init__(self, domain_id, *, use_sim_time=False) -> None:
        """Spin its node."""
        self.links = []
        super().__init__(domain_id)
        self._node = Node('da3', context=self.context, parameter_overrides=[
            Parameter('use_sim_time', value=use_sim_time)])
        self._clock = self._node.create_publisher(Clock, '/clock', 10)
        self._node.create_subscription(
            TFMessage, '/tf', lambda message: self.links.extend(message.transforms), 100)
        self.frames = RobotFrames(self._node)
        self.spin(self._node)
        self.broadcaster = None

    def create(self, **settings):
        """Create the broadcaster and wait until it is heard."""
        self.broadcaster = MapBroadcaster(
            self._node, TfSettings(**settings), self.frames)
        assert eventually(lambda: self.broadcaster.pub_tf.get_subscription_count() > 0)
        return self.broadcaster

    def create_node(self):
        """Create another node."""
        self._other = Node('other', context=self.context)
        return self._other

    def replay(self, first_s, last_s):
        """Let simulated time pass, ten times as fast as real."""
        for hundredths in range(round(100 * first_s), round(100 * last_s)):
            self._clock.publish(Clock(clock=to_stamp(hundredths * 10**7)))
            time.sleep(0.001)

    def num_repeated(self, seconds=0.3):
        """Count what comes in some time."""
        time.sleep(0.1)
        before = len(self.links)
        time.sleep(seconds)
        return len(self.links) - before

    def close(self) -> None:
        """End everything."""
        self.stop()
        self.frames.close()
        if self.broadcaster is not None:
            self.broadcaster.close()
        super().close()


@pytest.fixture
def bench(domain_id):
    """Give a bench that ends with the test."""
    bench = Bench(domain_id)
    yield bench
    bench.close()


@pytest.fixture
def simulated_bench(domain_id):
    """Give one whose time is simulated."""
    bench = Bench(domain_id, use_sim_time=True)
    yield bench
    bench.close()


def link(parent, child, *, age_ns=0, time_ns=None):
    """Make a transform of now, or of another time."""
    if time_ns is None:
        time_ns = time.time_ns() - age_ns
    return to_transform(np.eye(4), time_ns=time_ns, parent=parent, child=child)


CAMERA = ('odom', 'camera')
MAP = ('map', 'odom')


def test_the_correction_is_repeated_until_a_keyframe_has_none(bench):
    """Somebody else publishes it now; what was sent with it is not repeated."""
    broadcaster = bench.create(mode='camera', publish_map=True, rate_hz=50.0)
    assert bench.num_repeated() == 0
    broadcaster.sendTransform([link(*CAMERA), link(*MAP)])
    assert bench.num_repeated() > 5
    assert sum(found.child_frame_id == 'camera' for found in bench.links) == 1
    stamps = [stamp_ns(found.header.stamp) for found in bench.links]
    assert stamps[2:] == sorted(set(stamps[2:]))
    broadcaster.sendTransform([link(*CAMERA)], leads=False)
    assert bench.num_repeated() > 5
    broadcaster.sendTransform([link(*CAMERA)])
    assert bench.num_repeated() == 0
    assert eventually(lambda: bench.links[-1].child_frame_id == 'camera', 5.0)


def test_other_cameras_of_the_instant_leave_the_correction(bench):
    """They say nothing new about it."""
    broadcaster = bench.create(mode='camera', publish_map=True, rate_hz=50.0)
    broadcaster.sendTransform([link(*CAMERA), link(*MAP)])
    broadcaster.sendTransform([link('odom', 'left')], leads=False)
    broadcaster.sendTransform([], leads=False)
    assert bench.num_repeated() > 5


def test_nothing_of_an_old_world_is_repeated(bench):
    """Until the next world has a correction."""
    broadcaster = bench.create(mode='map_to_odom', rate_hz=50.0)
    broadcaster.sendTransform([link(*MAP)])
    assert bench.num_repeated() > 5
    broadcaster.forget()
    assert bench.num_repeated() == 0
    broadcaster.sendTransform([link(*MAP)])
    assert bench.num_repeated() > 5


@pytest.mark.parametrize(('settings', 'age_h'), [
    ({'rate_hz': 0.0}, 0),
    ({'mode': 'camera', 'publish_map': False}, 0),
    ({}, 2),
    ({}, -2),
])
def test_it_is_not_repeated(bench, settings, age_h):
    """Not asked for, or the stamps of a bag without simulated time: sent, once."""
    broadcaster = bench.create(**{'mode': 'map_to_odom', 'rate_hz': 50.0} | settings)
    broadcaster.sendTransform([link(*MAP, age_ns=age_h * HOUR_NS)])
    assert eventually(lambda: len(bench.links) == 1)
    assert bench.num_repeated() == 0


def test_in_a_replay_the_present_is_that_of_the_recording(simulated_bench):
    """Ahead of simulated time, at its pace; not while it stands, and not after it went back."""
    bench = simulated_bench
    broadcaster = bench.create(mode='map_to_odom', rate_hz=10.0, tolerance_s=0.5)
    bench.replay(100.0, 101.0)
    broadcaster.sendTransform([link(*MAP, time_ns=100 * 10**9)])
    bench.replay(101.0, 104.0)
    assert eventually(lambda: len(bench.links) > 20)
    ahead_s = [stamp_ns(found.header.stamp) / 10**9 for found in bench.links[1:]]
    assert min(ahead_s) > 101.4
    assert max(ahead_s) < 104.6
    assert bench.num_repeated() == 0
    bench.replay(50.0, 52.0)
    time.sleep(0.2)
    assert not [found for found in bench.links if stamp_ns(found.header.stamp) < 60 * 10**9]
    # Listeners have forgotten the first round, too.
    broadcaster.sendTransform([link(*MAP, time_ns=51 * 10**9)])
    assert eventually(lambda: stamp_ns(bench.links[-1].header.stamp) == 51 * 10**9)


def test_what_listeners_have_forgotten_is_not_sent(bench):
    """A window that took twelve seconds: its correction is repeated, but not dated back."""
    broadcaster = bench.create(mode='map_to_odom', rate_hz=20.0)
    now_ns = time.time_ns()
    broadcaster.sendTransform(link('map', 'odom', time_ns=now_ns - 2 * 10**9))
    assert eventually(lambda: len(bench.links) > 3)
    broadcaster.sendTransform(link('map', 'odom', time_ns=now_ns - 12 * 10**9))
    assert bench.num_repeated() > 2
    assert min(stamp_ns(each.header.stamp) for each in bench.links) == now_ns - 2 * 10**9


@pytest.mark.parametrize('rate_hz', [0.0, 20.0])
def test_no_listener_hears_of_a_time_that_it_has_forgotten(bench, rate_hz, capfd):
    """However long windows take, and where a session ends in the middle of one (TF_OLD_DATA)."""
    buffer = Buffer()
    listener = TransformListener(buffer, bench._node)
    broadcaster = bench.create(mode='map_to_odom', rate_hz=rate_hz)
    assert eventually(lambda: broadcaster.pub_tf.get_subscription_count() > 2)
    newest_ns = time.time_ns()
    for age_ms in (500, 9500, 3000, 12_000, 8900):
        broadcaster.sendTransform([
            link(*MAP, time_ns=newest_ns - age_ms * 10**6),
            link('odom', 'base', time_ns=newest_ns - (age_ms - 500) * 10**6)])
        assert rate_hz == 0.0 or bench.num_repeated() > 1
    broadcaster.forget()
    if rate_hz:
        # The first window of the next session took as long; the clock went on.
        broadcaster.sendTransform(link(*MAP, age_ns=12 * 10**9))
        assert bench.num_repeated() > 1
    broadcaster.sendTransform(link(*MAP, age_ns=10**9))
    assert eventually(lambda: buffer.can_transform('map', 'odom', Time()))
    listener.unregister()
    assert 'TF_OLD_DATA' not in capfd.readouterr().err


def test_a_session_of_an_earlier_time_is_sent(bench):
    """A bag that begins again, and no clock with it: where nothing was repeated."""
    broadcaster = bench.create(mode='map_to_odom', rate_hz=20.0)
    for time_s in (2000, 1000):
        broadcaster.sendTransform([
            link(*MAP, time_ns=time_s * 10**9), link('odom', 'base', time_ns=time_s * 10**9)])
        broadcaster.forget()
    assert eventually(lambda: [
        stamp_ns(each.header.stamp) // 10**9 for each in bench.links] == [2000] * 2 + [1000] * 2)


def test_own_transforms_come_back_unnoticed_and_those_of_others_do_not(bench):
    """Also of the same link, and although the node was there first."""
    broadcaster = bench.create(mode='camera', publish_map=True, rate_hz=50.0)
    for _ in range(20):
        broadcaster.sendTransform([link(*CAMERA), link(*MAP)])
        time.sleep(0.01)
    assert eventually(lambda: len(bench.links) > 40)
    time.sleep(0.2)
    assert not bench.frames.parents('camera') and not bench.frames.parents('odom')
    other = TransformBroadcaster(bench.create_node())
    other.sendTransform(link('odom', 'camera', time_ns=time.time_ns()))
    assert eventually(lambda: bench.frames.parents('camera') == {'odom'})
