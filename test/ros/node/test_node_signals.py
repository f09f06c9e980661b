# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Signals end the process cleanly in every lifecycle state."""

from concurrent.futures import ThreadPoolExecutor
import signal
import time

from lifecycle_msgs.msg import Transition
from node_harness import eventually
import pytest
from sensor_msgs.msg import PointCloud2
from test_node_outputs import stream

STATES = (
    'unconfigured', 'configuring', 'inactive', 'active', 'inferring', 'cleaning up', 'finalized')
LOAD_S = 3.0


def reach(state, start_node, peer):
    """Start a node and bring it into a state."""
    slow = ['--delay-s', '30']
    arguments = {
        'configuring': ['--load-s', str(LOAD_S)], 'inferring': slow, 'cleaning up': slow,
    }.get(state, [])
    autostart = state not in ('unconfigured', 'inactive', 'finalized')
    node = start_node({'autostart': autostart}, arguments=arguments)
    if state == 'configuring':
        node.wait_for_output('loading')
    elif autostart:
        peer.wait_for_camera()
    else:
        assert eventually(lambda: peer.state() == 'unconfigured')
    if state == 'inactive':
        assert peer.change_state(Transition.TRANSITION_CONFIGURE)
    if state == 'finalized':
        assert peer.change_state(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    if state in ('inferring', 'cleaning up'):
        stream(peer, 6)
        time.sleep(0.5)
    if state == 'cleaning up':
        assert peer.change_state(Transition.TRANSITION_DEACTIVATE)
        peer.begin_transition(Transition.TRANSITION_CLEANUP)
        time.sleep(0.5)
    return node


@pytest.mark.parametrize('state', STATES)
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_process_cleanly(start_node, peer, number, state):
    """The exit code is 0 and there is no traceback, even in the middle of an inference."""
    node = reach(state, start_node, peer)
    assert node.interrupt(number, timeout_s=LOAD_S + 7.0) == 0
    assert 'Traceback' not in node.output


@pytest.mark.parametrize('delay_s', [0.1, 0.75])
def test_ctrl_c_under_load_is_quiet(start_node, peer, delay_s):
    """At any moment of a stream at 8 Hz, with everything that can be heard heard."""
    node = start_node(
        {'window.stride': 1, 'map.period_s': 0.1}, arguments=['--delay-s', '0.05'])
    for name in ('map', 'points'):
        peer.listen(f'all {name}', PointCloud2, f'/da3/{name}')
    peer.wait_for_camera()
    stream(peer, 6, pace_s=0.125)
    with ThreadPoolExecutor() as pool:
        camera = pool.submit(stream, peer, 12, first=8, pace_s=0.125)
        time.sleep(delay_s)
        before = node.output
        assert node.interrupt() == 0
        camera.result()
    assert node.output.removeprefix(before).strip() == ''


def test_ctrl_c_while_the_process_comes_up_is_quiet(start_node):
    """Importing and creating the node takes seconds."""
    for delay_s in (0.5, 1.5):
        node = start_node(program=('-m', 'da3_ros.start'))
        time.sleep(delay_s)
        assert node.interrupt() == 0
        assert 'Traceback' not in node.output


def test_simulated_time_that_never_begins(start_node):
    """The node comes up all the same."""
    node = start_node({'use_sim_time': True})
    node.wait_for_output('active: waiting for')
