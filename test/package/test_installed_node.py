# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The installed node starts, answers as a lifecycle node, configures, and ends when told to."""

from collections.abc import Iterator
import signal
import subprocess
import sys
import time

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

pytestmark = pytest.mark.package

# The smallest real work: random weights, and images of a few patches.
ARGUMENTS = ('--ros-args -p autostart:=false -p model.name:=da3-small -p model.weights:=random '
             '-p model.device:=cpu -p preprocess.size:=56')
TIMEOUT_S = 60.0


@pytest.fixture
def process(workspace) -> Iterator[subprocess.Popen]:
    """Start the script that `ros2 run da3_ros node` would start."""
    with workspace.popen(f'{workspace.prefix}/lib/da3_ros/node {ARGUMENTS}') as process:
        yield process
        process.kill()


@pytest.fixture
def client() -> Iterator[Node]:
    """Give a node that calls services."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node('client', context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


def call(client: Node, service_type: type, name: str, request: object) -> object:
    """Call a service of the node under test and return its response."""
    service = client.create_client(service_type, f'/da3/{name}')
    executor = SingleThreadedExecutor(context=client.context)
    assert service.wait_for_service(TIMEOUT_S), f'no service {name}'
    future = service.call_async(request)
    executor.add_node(client)
    executor.spin_until_future_complete(future, TIMEOUT_S)
    executor.remove_node(client)
    executor.shutdown()
    assert future.done(), f'{name} did not answer'
    return future.result()


def test_node_lives_and_ends(process, client):
    state = call(client, GetState, 'get_state', GetState.Request()).current_state
    assert state.label == 'unconfigured'

    configure = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
    assert call(client, ChangeState, 'change_state', configure).success
    state = call(client, GetState, 'get_state', GetState.Request()).current_state
    assert state.label == 'inactive'

    process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.returncode == 0, process.stdout.read()


def test_node_starts_with_the_python_that_built_it(workspace):
    script = (workspace.prefix / 'lib' / 'da3_ros' / 'node').read_text()
    assert script.splitlines()[0] == f'#!{sys.executable}'
