# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What a configured node is made of is there as a whole, or not at all."""

import threading

from da3_ros.ros import processing_line
from da3_ros.ros.engine_loading import LoadedEngine, ModelIdentity
from da3_ros.ros.insight.counters import Counters
from da3_ros.ros.insight.health import Health
from da3_ros.ros.parameters.settings import NodeSettings, TfSettings
from da3_ros.ros.processing_line import ProcessingLine
from node_harness import eventually
from perfect_engine import level_camera, PerfectEngine
import pytest
from rclpy.lifecycle import LifecycleNode
from spun_graph import SpunGraph

SETTINGS = NodeSettings(tf=TfSettings(mode='map_to_odom', rate_hz=10.0))


@pytest.fixture
def node(domain_id):
    """Give a node that can be configured."""
    graph = SpunGraph(domain_id)
    node = LifecycleNode('da3', context=graph.context)
    graph.spin(node)
    yield node
    graph.close()


def create(node):
    """Create the line of a node."""
    engine = PerfectEngine([level_camera([0.0, 0.0, 0.0], 0.0)])
    identity = ModelIdentity('perfect', 'none', 'none', 'cpu', False, 12)
    return ProcessingLine(
        node, LoadedEngine(engine, identity), settings=lambda: SETTINGS, counters=Counters(),
        health=Health(lambda: 0), on_session_end=lambda _session: None)


def belongings(node):
    """Return how much a node has, and the threads of the line."""
    threads = [each for each in threading.enumerate() if each.name.startswith('da3_')]
    return (len(list(node.publishers)), len(list(node.subscriptions)), len(list(node.timers)),
            len(threads))


def fail(*_args, **_kwargs):
    raise RuntimeError('told to fail')


@pytest.mark.parametrize('part', [
    'RobotFrames', 'MapBroadcaster', 'MapPublisher', 'KeyframePublisher', 'InferenceWorker'])
def test_whatever_cannot_be_created_takes_the_rest_along(node, monkeypatch, part):
    """Again and again, as a manager tries; and then one that succeeds can be closed."""
    before = belongings(node)
    with monkeypatch.context() as patch:
        patch.setattr(processing_line, part, fail)
        for _ in range(2):
            with pytest.raises(RuntimeError, match='told to fail'):
                create(node)
    assert eventually(lambda: belongings(node) == before)
    line = create(node)
    assert all(now > then for now, then in zip(belongings(node), before, strict=True))
    assert line.close(10.0)
    assert eventually(lambda: belongings(node) == before)
