# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What da3_ros relies on in diagnostic_updater: the real one and the stand-in must pass."""

from collections.abc import Iterator
import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from diagnostic_updater import (
    DiagnosticStatusWrapper,
    DiagnosticTask,
    FunctionDiagnosticTask,
    Updater,
)
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


def fill(status: DiagnosticStatusWrapper) -> DiagnosticStatusWrapper:
    status.summary(WARN, 'two frames lost')
    status.add('lost', '2')
    return status


class Listener:
    """A node with an updater, and all statuses that arrive on /diagnostics."""

    def __init__(self, context: rclpy.Context, **parameters: bool | float) -> None:
        overrides = [Parameter(f'diagnostic_updater.{name}', value=value)
                     for name, value in parameters.items()]
        self.node = Node('camera', namespace='robot', context=context,
                         parameter_overrides=overrides)
        self.statuses: list[DiagnosticStatus] = []
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self.node)
        self.node.create_subscription(
            DiagnosticArray, '/diagnostics',
            lambda message: self.statuses.extend(message.status), 10)
        self.updater = Updater(self.node, period=1000.0)
        while not self.updater.publisher.get_subscription_count():
            time.sleep(0.01)

    def wait_for(self, num_statuses: int) -> list[DiagnosticStatus]:
        deadline = time.monotonic() + 10.0
        while len(self.statuses) < num_statuses and time.monotonic() < deadline:
            self._executor.spin_once(timeout_sec=0.1)
        return self.statuses


@pytest.fixture
def context() -> Iterator[rclpy.Context]:
    context = rclpy.Context()
    rclpy.init(context=context)
    yield context
    rclpy.try_shutdown(context=context)


def test_a_task_announces_itself_and_reports(context: rclpy.Context) -> None:
    listener = Listener(context)
    listener.updater.setHardwareID('none')
    listener.updater.add('frames', fill)
    listener.updater.force_update()
    starting, status = listener.wait_for(2)
    assert (starting.level, starting.name) == (OK, 'camera: frames')
    assert (status.level, status.message) == (WARN, 'two frames lost')
    assert (status.name, status.hardware_id) == ('camera: frames', 'none')
    assert [(value.key, value.value) for value in status.values] == [('lost', '2')]


def test_tasks_are_objects_too_and_can_be_removed(context: rclpy.Context) -> None:
    class Silent(DiagnosticTask):
        pass

    listener = Listener(context)
    listener.updater.add(FunctionDiagnosticTask('frames', fill))
    listener.updater.add(Silent('silent'))
    assert listener.updater.removeByName('frames')
    assert not listener.updater.removeByName('frames')
    listener.updater.force_update()
    status = listener.wait_for(3)[2]
    assert (status.name, status.level) == ('camera: silent', ERROR)


def test_broadcast_speaks_for_all_tasks(context: rclpy.Context) -> None:
    listener = Listener(context)
    listener.updater.add('frames', fill)
    listener.updater.add('windows', fill)
    listener.updater.broadcast(OK, 'going down')
    said = [status for status in listener.wait_for(4) if status.message == 'going down']
    assert [status.name for status in said] == ['camera: frames', 'camera: windows']


def test_parameters_set_the_period_and_the_full_name(context: rclpy.Context) -> None:
    listener = Listener(context, period=0.05, use_fqn=True)
    listener.updater.add('frames', fill)
    status = listener.wait_for(3)[2]
    assert listener.updater.period == 0.05
    assert status.name == '/robot/camera: frames'
    assert status.message == 'two frames lost'


def test_the_name_of_the_node_can_be_set(context: rclpy.Context) -> None:
    listener = Listener(context, use_fqn=True)
    listener.updater.node_name = '/da3'
    listener.updater.add('frames', fill)
    listener.updater.force_update()
    assert [status.name for status in listener.wait_for(2)] == ['/da3: frames'] * 2


@pytest.mark.parametrize('first, second, expected', [
    ((OK, ''), (OK, 'fine'), (OK, 'fine')),
    ((OK, 'fine'), (WARN, 'slow'), (WARN, 'slow')),
    ((WARN, 'slow'), (OK, 'fine'), (WARN, 'slow')),
    ((WARN, 'slow'), (ERROR, 'dead'), (ERROR, 'slow; dead')),
    ((ERROR, 'dead'), (WARN, 'slow'), (ERROR, 'dead; slow')),
])
def test_summaries_merge(first: tuple, second: tuple, expected: tuple) -> None:
    status = DiagnosticStatusWrapper()
    status.summary(*first)
    status.mergeSummary(*second)
    assert (status.level, status.message) == expected
    other = DiagnosticStatusWrapper()
    other.summary(status)
    assert (other.level, other.message) == expected
    other.clearSummary()
    assert (other.level, other.message) == (OK, '')
