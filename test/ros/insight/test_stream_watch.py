# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What the watch over the streams says, and how often."""

import time

from da3_ros.ros.conversions import to_header
from da3_ros.ros.insight.counters import Counters, Event
from da3_ros.ros.insight.health import Health
from da3_ros.ros.insight.stream_watch import StreamWatch
import pytest
import rclpy
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

DAY_NS = 86_400 * 10**9


class Bench:
    """A watch over one camera, whose time passes when the test says so."""

    def __init__(self, node) -> None:
        """Subscribe to its topics."""
        self.now_s = 0.0
        self.counters = Counters()
        self.camera = Counters(self.counters)
        self.health = Health(time.time_ns)
        self.watch = StreamWatch(
            node, self.counters, {'front': self.camera}, self.health, tolerance_s=0.02,
            now_s=lambda: self.now_s)
        self.image = self.watch.heard('front', lambda _: None, is_image=True)
        self.info = self.watch.heard('front', lambda _: None, is_image=False)
        for message_type, topic, callback, is_image in (
                (Image, '/image', self.image, True), (CameraInfo, '/info', self.info, False)):
            self.watch.begin('front', node.create_subscription(
                message_type, topic, callback, 10), is_image=is_image)

    def pass_time(self, seconds):
        """Look once per second; return all that is wrong at the end."""
        for _ in range(seconds):
            self.now_s += 1.0
            self.watch.look()
        return self.watch.problems

    def send(self, *, stamp_ns=None):
        """Deliver an image and a CameraInfo."""
        header = to_header(time.time_ns() if stamp_ns is None else stamp_ns, 'front')
        self.image(Image(header=header))
        self.info(CameraInfo(header=header))


@pytest.fixture
def warnings():
    """Collect what the node warns of."""
    return []


@pytest.fixture
def bench(warnings, monkeypatch):
    """Give a bench over a real node."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node('da3', context=context)
    logger = node.get_logger()
    monkeypatch.setattr(logger, 'warning', warnings.append)
    monkeypatch.setattr(node, 'get_logger', lambda: logger)
    yield Bench(node)
    node.destroy_node()
    context.try_shutdown()


def test_silence_is_told_after_a_while_and_ever_more_seldom(bench, warnings):
    """Of both topics; ten minutes of it are four lines each."""
    assert not bench.pass_time(4)
    assert len(bench.pass_time(1)) == 2
    assert [text.partition(':')[0] for text in warnings] == [
        'no image on /image for 5 s', 'no CameraInfo on /info for 5 s']
    bench.pass_time(595)
    assert len(warnings) == 8


def test_a_camera_info_that_is_sent_once_is_enough(bench):
    """The images are missed alone, when they stop."""
    bench.send()
    assert not bench.pass_time(4)
    (problem,) = bench.pass_time(2)
    assert problem.startswith('no image on /image for ')
    bench.send()
    assert not bench.pass_time(1)


def test_stamps_that_are_all_equal_are_named(bench):
    """Ten of them: two cameras may well send the same one."""
    time_ns = time.time_ns()
    for stamp_ns, text in ((time_ns, f'{time_ns / 1e9:g}'), (0, '0')):
        for _ in range(10):
            assert not [each for each in bench.pass_time(1) if 'all stamps' in each]
            bench.send(stamp_ns=stamp_ns)
        (problem,) = bench.pass_time(1)
        assert problem.startswith(f'all stamps on /image are {text} s')
        bench.send()


@pytest.mark.parametrize(('offset', 'expected'), [
    (-3, '3.0 days behind'), (2, '2.0 days ahead of'), (-0.1, '2.4 h behind')])
def test_stamps_far_from_the_clock_are_named(bench, offset, expected):
    """With the distance, and what to do."""
    bench.send(stamp_ns=time.time_ns() + round(offset * DAY_NS))
    (problem,) = bench.pass_time(1)
    assert f'are {expected} the clock of the node' in problem
    assert 'use_sim_time' in problem


def test_dropped_keyframes_are_told_once_a_minute_at_most(bench, warnings):
    """Once while they go on, however many."""
    for _ in range(30):
        bench.send()
        bench.counters.add(Event.QUEUE_FULL, 5)
        (problem,) = bench.pass_time(1)
        assert problem.startswith('keyframes are dropped')
    assert len(warnings) == 1


@pytest.mark.parametrize(('pause_s', 'is_cause'), [(0.2, True), (0.02, False)])
def test_free_running_cameras_with_too_small_a_tolerance(bench, pause_s, is_cause):
    """Half the period of the images is more than the tolerance: that is why they are missing."""
    bench.health._arrivals_s['front'].extend(
        time.monotonic() - pause_s * number for number in range(50, 0, -1))
    bench.send()
    bench.camera.add(Event.ABSENT)
    problems = bench.pass_time(1)
    assert ['camera.sync_tolerance_s 0.02 s is below half the period' in each
            for each in problems] == [True] * is_cause
