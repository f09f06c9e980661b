# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Whoever asks for a transition, and whenever, gets an answer; the node lives."""

import time

from da3_ros.node import Da3Node
from da3_ros.ros.engine_loading import LoadedEngine, ModelIdentity
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from node_harness import eventually
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from test_node_survival import assert_works

CONFIGURE, ACTIVATE = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE
DEACTIVATE, CLEANUP = Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP
SHUTDOWN = Transition.TRANSITION_UNCONFIGURED_SHUTDOWN

# What the manager of Nav2 1.3.13 expects after each.
GOALS = {
    CONFIGURE: State.PRIMARY_STATE_INACTIVE,
    ACTIVATE: State.PRIMARY_STATE_ACTIVE,
    DEACTIVATE: State.PRIMARY_STATE_INACTIVE,
    CLEANUP: State.PRIMARY_STATE_UNCONFIGURED,
    SHUTDOWN: State.PRIMARY_STATE_FINALIZED,
}


def ask(peer, transition, label=''):
    """Ask for a transition by number or label and return whether it succeeded."""
    request = ChangeState.Request(transition=Transition(id=transition, label=label))
    return peer.call(ChangeState, '/da3/change_state', request).success


def test_what_the_state_does_not_allow_is_refused_and_the_node_lives(start_node, peer):
    """By number or by label, known or not; the log says what was expected."""
    node = start_node()
    peer.wait_for_camera()
    refused = [
        (number, '') for number in (*range(13), 30, 60, 99, 255)
        if number not in (DEACTIVATE, Transition.TRANSITION_ACTIVE_SHUTDOWN)]
    refused += [(DEACTIVATE, label) for label in ('configure', 'transition_success', 'no such')]
    for number, label in refused:
        assert not ask(peer, number, label), (number, label)
    assert peer.state() == 'active'
    node.wait_for_output(
        'transition refused: got 1 in state active, expected deactivate (4), shutdown (7)')
    assert_works(peer, first=0)
    assert ask(peer, 0, 'deactivate')
    assert ask(peer, 0, 'cleanup')
    assert not ask(peer, ACTIVATE)
    assert ask(peer, 0, 'shutdown')
    assert not ask(peer, CONFIGURE)
    assert peer.state() == 'finalized'
    assert node.is_alive


def test_a_node_that_brings_itself_up_is_brought_up_by_somebody_else_too(start_node, peer):
    """Whichever comes first, it ends active: asked from the first moment, again and again."""
    node = start_node(arguments=['--load-s', '0.2'])
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline or peer.state() != 'active':
        peer.change_state(CONFIGURE)
        peer.change_state(ACTIVATE)
    assert_works(peer, first=0)
    assert node.is_alive
    assert 'Traceback' not in node.output


@pytest.mark.parametrize('transitions', [(CONFIGURE,), (CONFIGURE, ACTIVATE)])
def test_autostart_gives_way(transitions):
    """Somebody else was first, and goes on; nothing is raised."""
    rclpy.init(args=['--ros-args', '-p', 'autostart:=true'])
    node = Da3Node(engine_loader=lambda _: LoadedEngine(
        None, ModelIdentity('none', 'none', 'none', 'cpu', False, 12)))
    try:
        for transition in transitions:
            {CONFIGURE: node.trigger_configure, ACTIVATE: node.trigger_activate}[transition]()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        for _ in range(20):
            executor.spin_once(timeout_sec=0.02)
        state = node._state_machine.current_state[0]
        assert state == GOALS[transitions[-1]]
    finally:
        node.close()
        node.destroy_node()
        rclpy.shutdown()


class Manager:
    """Asks as the lifecycle manager of Nav2 does: each answer is checked by the state."""

    def __init__(self, peer) -> None:
        """Wait for the node, without a limit there."""
        self._peer = peer

    def change(self, *transitions: int) -> bool:
        """Bring the node through transitions; end at the first that fails."""
        return all(self._change(transition) for transition in transitions)

    def _change(self, transition: int) -> bool:
        # It looks at the state alone: a call that was answered counts as done.
        self._peer.change_state(transition)
        state = self._peer.call(GetState, '/da3/get_state', GetState.Request()).current_state
        return state.id == GOALS[transition]


def test_the_lifecycle_manager_of_nav2(start_node, peer):
    """Start up, pause, resume, reset, start again, shut down; a node with autostart fails it."""
    node = start_node({'autostart': False})
    manager = Manager(peer)
    assert manager.change(CONFIGURE, ACTIVATE)
    peer.wait_for_camera()
    assert_works(peer, first=0)
    assert manager.change(DEACTIVATE)
    assert manager.change(ACTIVATE)
    assert manager.change(DEACTIVATE, CLEANUP)
    assert manager.change(CONFIGURE, ACTIVATE)
    peer.wait_for_camera()
    assert_works(peer, first=100)
    assert manager.change(DEACTIVATE, CLEANUP, SHUTDOWN)
    assert node.interrupt() == 0


def test_the_manager_is_told_of_a_node_that_is_up_already(start_node, peer):
    """Nav2 gives up with an error; nothing happens to the node."""
    node = start_node()
    peer.wait_for_camera()
    assert not Manager(peer).change(CONFIGURE)
    assert eventually(lambda: 'transition refused: got 1 in state active' in node.output)
    assert_works(peer, first=0)
