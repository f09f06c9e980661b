# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Signals end the process cleanly in every lifecycle state."""

from concurrent.futures import ThreadPoolExecutor
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

from lifecycle_msgs.msg import Transition
from node_harness import ENGINE_NODE, eventually, ROOT
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


def test_a_second_signal_at_any_moment_of_the_end_is_quiet_too(start_node, peer):
    """As launch sends a SIGTERM when the end takes long: the exit code is that of a clean end."""
    node = start_node(arguments=['--delay-s', '0.3'])
    peer.wait_for_camera()
    stream(peer, 8)
    node.send_signal(signal.SIGINT)
    while node.is_alive:
        node.send_signal(signal.SIGTERM)
        time.sleep(0.002)
    assert node.interrupt() == 0
    assert 'Traceback' not in node.output


def test_ctrl_c_while_the_process_comes_up_is_quiet(start_node):
    """Importing and creating the node takes seconds."""
    for delay_s in (0.5, 1.5):
        node = start_node(program=('-m', 'da3_ros.start'))
        time.sleep(delay_s)
        assert node.interrupt() == 0
        assert 'Traceback' not in node.output


def test_a_node_ends_with_the_launch_that_started_it(tmp_path, domain_id):
    """Killed, too, which launch cannot pass on."""
    log = tmp_path / 'log'
    parent = subprocess.Popen(
        [sys.executable, '-c', 'import subprocess, sys, time; log = open(sys.argv[1], "w"); '
         'subprocess.Popen(sys.argv[2:], stdout=log, stderr=log); time.sleep(60)', str(log),
         sys.executable, *ENGINE_NODE],
        env=os.environ | {
            'DA3_END_WITH_PARENT': '1', 'ROS_DOMAIN_ID': str(domain_id), 'PYTHONPATH':
            os.pathsep.join([str(ROOT), str(ROOT / 'test/unit/mapping'),
                             os.environ.get('PYTHONPATH', '')])})
    assert eventually(lambda: log.exists() and 'waiting for configure' in log.read_text(), 60.0)
    (child,) = Path(f'/proc/{parent.pid}/task/{parent.pid}/children').read_text().split()
    parent.kill()
    parent.wait()
    # Nobody may have waited for it yet: then its command line is empty.
    command = Path(f'/proc/{child}/cmdline')
    assert eventually(lambda: not command.exists() or not command.read_bytes())


def test_simulated_time_that_never_begins(start_node):
    """The node comes up all the same."""
    node = start_node({'use_sim_time': True})
    node.wait_for_output('active: waiting for')
