# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What /diagnostics says of latency, lengths, and an inference that does not end."""

from dataclasses import replace
import time

from da3_ros.mapping.config import ScaleConfig
from da3_ros.mapping.keyframe import PosedKeyframe, StageTimes
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.ros.engine_loading import ModelIdentity
from da3_ros.ros.insight.counters import Counters
from da3_ros.ros.insight.diagnostics import Diagnostics
from da3_ros.ros.insight.health import Health
from da3_ros.ros.parameters.settings import NodeSettings, TfSettings
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_harness import eventually
import numpy as np
from paths import curve
from perfect_engine import frames, PerfectEngine
from pipeline_runs import EVERY_FRAME, reports, run
import pytest
from rclpy.node import Node
from spun_graph import SpunGraph

NS_PER_S = 10**9
IDENTITY = ModelIdentity('tiny', 'none', 'Apache-2.0', 'cpu', False, 12)


class Bench(SpunGraph):
    """A node with nothing but diagnostics, and what it says."""

    def __init__(self, domain_id) -> None:
        """Spin it."""
        self.busy_s = 0.0
        self.settings = NodeSettings()
        self.health = Health(time.time_ns)
        self._statuses = {}
        super().__init__(domain_id)
        self._node = Node('da3', context=self.context)
        self._node.create_subscription(DiagnosticArray, '/diagnostics', self._store, 10)
        Diagnostics(
            self._node, Counters(), self.health, settings=lambda: self.settings,
            num_publishers=lambda: 1, cameras=dict, identity=lambda: IDENTITY,
            busy_s=lambda: self.busy_s)
        self.spin(self._node)

    def _store(self, message) -> None:
        self._statuses.update({status.name: status for status in message.status})

    def status(self, name):
        """Return the last message's status of some name, or an empty one."""
        return self._statuses.get(f'/da3: {name}', DiagnosticStatus())

    def values(self, name):
        """Return what a status tells."""
        return {value.key: value.value for value in self.status(name).values}


@pytest.fixture
def bench(domain_id):
    """Give a bench that ends with the test."""
    bench = Bench(domain_id)
    yield bench
    bench.close()


def keyframe(age_s):
    """Give a keyframe whose window has just been inferred, for half a second."""
    now_s = time.monotonic()
    times = StageTimes(now_s - 2.03, now_s - 2.0, now_s - 0.5, now_s)
    return PosedKeyframe(
        0, time.time_ns() - round(age_s * NS_PER_S), 'camera', np.zeros((2, 2, 3), np.uint8),
        np.ones((2, 2), np.float32), None, np.eye(3), np.eye(4), 0, True, times=times)


def test_what_bounds_the_windows_is_told(bench):
    """Twelve were planned and ten fit the memory; six leave time for the stream."""
    pipeline = DepthPipeline(PerfectEngine(curve(3)), EVERY_FRAME)
    report, *_ = reports(run(pipeline, frames(3)))
    assert (report.max_views, report.paced_views) == (12, 12)
    bench.health.note_window(replace(report, max_views=10, paced_views=6))
    assert eventually(lambda: 'views that fit' in bench.values('model'))
    values = bench.values('model')
    assert [values[name] for name in (
        'views of the last window', 'views that fit', 'views in time')] == ['3', '10', '6']
    assert bench.status('model').message.endswith('memory is short: 10 views at most')


def test_the_latency_is_told_stage_by_stage(bench):
    """In seconds; stages of which nothing is known are left out."""
    bench.health.note_published(keyframe(2.5))
    assert eventually(lambda: bench.values('latency'))
    values = bench.values('latency')
    assert float(values['inference: median [s]']) == pytest.approx(0.5, abs=1e-3)
    assert float(values['selection to inference: max [s]']) == pytest.approx(1.5, abs=1e-3)
    assert float(values['stamp to publication: 95 % [s]']) == pytest.approx(2.5, abs=0.1)
    assert not [name for name in values if 'stamp to receipt' in name]
    assert bench.status('latency').message.endswith(' s from stamp to publication')


def test_stamps_of_another_clock_are_no_latency(bench):
    """The stages inside the node are known all the same."""
    bench.health.note_published(keyframe(1e6))
    assert eventually(lambda: bench.values('latency'))
    values = bench.values('latency')
    assert values['stamp to publication'].startswith('unknown: the stamps are of another clock')
    assert 'inference: max [s]' in values


def test_an_inference_that_does_not_end_is_a_warning(bench):
    """It says for how long, until it ends."""
    bench.busy_s = 75.0
    assert eventually(lambda: bench.status('model').level == DiagnosticStatus.WARN)
    assert 'an inference has not ended for 75 s' in bench.status('model').message
    bench.busy_s = 0.0
    assert eventually(lambda: bench.status('model').level == DiagnosticStatus.OK)


@pytest.mark.parametrize(('source', 'mode', 'level', 'text'), [
    ('none', 'camera', DiagnosticStatus.OK, 'not metres, as set (scale.source: none)'),
    ('model', 'camera', DiagnosticStatus.WARN, 'not metric'),
    ('none', 'odom_to_base', DiagnosticStatus.WARN,
     'not metric: positions do not fit the robot in metres'),
])
def test_lengths_without_metres_are_a_warning_unless_they_are_chosen(
        bench, source, mode, level, text):
    """A robot needs metres all the same."""
    bench.settings = NodeSettings(scale=ScaleConfig(source=source), tf=TfSettings(mode=mode))
    bench.health.note_published(replace(keyframe(1.0), is_metric=False))
    assert eventually(lambda: bench.status('world').message == text)
    assert bench.status('world').level == level
