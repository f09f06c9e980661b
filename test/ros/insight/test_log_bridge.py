# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The package's log in ROS: short, and only as long as there is a node in the process."""

import logging

from da3_ros.errors import MemoryBudgetError, PredictionError
from da3_ros.mapping.frame_stream import FrameStream
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.ros.insight.log_bridge import LogBridge
from da3_ros.ros.insight.repetition import Repetition
from engine_node import poses
from perfect_engine import frames, PerfectEngine
from pipeline_runs import EVERY_FRAME
import pytest
from rclpy.logging import get_logger, LoggingSeverity


def test_the_log_goes_where_it_went_before_when_the_last_bridge_is_gone(caplog):
    package = logging.getLogger('da3_ros.some.module')
    bridges = [LogBridge(get_logger('first')), LogBridge(get_logger('second'))]
    for bridge in bridges:
        package.info('to ROS alone')
        bridge.detach()
    package.info('to everybody')
    assert [record.getMessage() for record in caplog.records] == ['to everybody']


class Clock:
    """Time that passes when told so."""

    now_s = 0.0


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def bridge(clock):
    """Give the package's log of a node whose time is the clock's."""
    bridge = LogBridge(get_logger('da3'), Repetition(now_s=lambda: clock.now_s))
    yield bridge
    bridge.detach()


@pytest.mark.parametrize(('faults', 'most'), [
    ({'drift': 0.02}, 8),
    ({'noise': 1.0, 'camera_noise': 2.0}, 12),
])
@pytest.mark.usefixtures('bridge')
def test_ten_minutes_are_a_few_lines(clock, capfd, faults, most):
    """One that goes around and drifts, one that sees nothing but noise."""
    pipeline = DepthPipeline(PerfectEngine(poses()[:300], **faults), EVERY_FRAME)
    stream, num_windows = FrameStream(pipeline.config), 0
    for frame in frames(300):
        clock.now_s += 2.0
        for instant in stream.take(frame).instants:
            num_windows += len(pipeline.add(instant).windows)
            num_windows += len(pipeline.close_loops().windows)
    assert clock.now_s == 600.0 and num_windows > 60
    assert len(capfd.readouterr().err.splitlines()) <= most


@pytest.mark.usefixtures('bridge')
def test_what_comes_again_and_again_is_told_ever_more_seldom_and_counted(clock, capfd):
    """With other numbers every time; what was quiet for long is news."""
    package = logging.getLogger('da3_ros.some.module')
    for second in range(190):
        clock.now_s = float(second)
        package.warning('segment %d begins: %s', second, f'residual {0.1 * second}')
    lines = capfd.readouterr().err.splitlines()
    assert [line.partition('da3]: ')[2].partition(':')[0] for line in lines] == [
        f'segment {number} begins' for number in (0, 1, 61, 181)]
    assert lines[2].endswith('(and 59 like this since the last such line)')
    clock.now_s = 2000.0
    package.warning('segment %d begins: %s', 900, 'nothing is shared')
    clock.now_s = 5000.0
    for number in (901, 902, 903):
        package.warning('segment %d begins: %s', number, 'nothing is shared')
    assert len(capfd.readouterr().err.splitlines()) == 3


@pytest.mark.usefixtures('bridge')
def test_different_lines_hide_no_other(capfd):
    """By severity, by what they say, and by the error behind them."""
    package = logging.getLogger('da3_ros.some.module')
    for _ in range(5):
        package.info('the same')
        package.warning('the same')
        package.warning('another')
        for error in (PredictionError('not finite'), MemoryBudgetError('full')):
            try:
                raise error
            except type(error):
                package.exception('unexpected error')
    output = capfd.readouterr().err
    assert [output.count(text) for text in (
        'the same', 'another', 'Traceback', 'not finite', 'full')] == [4, 2, 4, 2, 2]


def test_debug_shows_every_line(bridge, capfd):
    logger = bridge._ros_logger
    logger.set_level(LoggingSeverity.DEBUG)
    try:
        for number in range(5):
            logging.getLogger('da3_ros.some.module').info('loop %d', number)
    finally:
        logger.set_level(LoggingSeverity.UNSET)
    assert capfd.readouterr().err.count('loop') == 5
