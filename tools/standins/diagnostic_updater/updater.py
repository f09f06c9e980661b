# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Runs diagnostic tasks at a period and publishes what they say."""

from collections.abc import Callable
from threading import Lock

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from diagnostic_updater.status import DiagnosticStatusWrapper
from rclpy.node import Node

StatusFunction = Callable[[DiagnosticStatusWrapper], DiagnosticStatusWrapper]


class DiagnosticTask:
    """Base of tasks: a name, and ``run``, which fills a status and returns it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def getName(self) -> str:
        """Return the name."""
        return self.name

    def run(self, stat: DiagnosticStatusWrapper) -> DiagnosticStatusWrapper:
        """Fill the status."""
        return stat


class FunctionDiagnosticTask(DiagnosticTask):
    """A task that is a function."""

    def __init__(self, name: str, fn: StatusFunction) -> None:
        super().__init__(name)
        self.fn = fn

    def run(self, stat: DiagnosticStatusWrapper) -> DiagnosticStatusWrapper:
        """Call the function."""
        return self.fn(stat)


class Updater:
    """
    Run all tasks at the period and publish on /diagnostics.

    Declares the node's parameters ``diagnostic_updater.period`` and
    ``diagnostic_updater.use_fqn``; as with the original, one updater per node and lifetime.
    """

    def __init__(self, node: Node, period: float = 1.0) -> None:
        self.node = node
        self.hwid = ''
        self.tasks: list[DiagnosticTask] = []
        self.lock = Lock()
        self._missing_id_was_told = False
        self.publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 1)
        self._period = node.declare_parameter('diagnostic_updater.period', period).value
        self.timer = node.create_timer(self._period, self.update)
        name = 'diagnostic_updater.use_fqn'
        if not node.has_parameter(name):
            node.declare_parameter(name, False)
        self.node_name = node.get_name()
        if node.get_parameter(name).value:
            self.node_name = f'{node.get_namespace()}/{node.get_name()}'

    @property
    def period(self) -> float:
        """Seconds between two updates."""
        return self._period

    def setHardwareID(self, hwid: str) -> None:
        """Name the device whose state this is, 'none' if there is none."""
        self.hwid = hwid

    def add(self, *args: DiagnosticTask | str | StatusFunction) -> None:
        """Add a task, or ``(name, function)``, and publish that it starts."""
        task = args[0] if len(args) == 1 else FunctionDiagnosticTask(*args)
        with self.lock:
            self.tasks.append(task)
            self._publish([self._summary(task, DiagnosticStatus.OK, 'Node starting up')])

    def removeByName(self, name: str) -> bool:
        """Remove the first task of this name; tell whether there was one."""
        with self.lock:
            for task in self.tasks:
                if task.getName() == name:
                    self.tasks.remove(task)
                    return True
        return False

    def force_update(self) -> None:
        """Update outside the period."""
        self.update()

    def update(self) -> None:
        """Run the tasks and publish."""
        statuses = []
        with self.lock:
            for task in self.tasks:
                status = self._summary(task, DiagnosticStatus.ERROR, 'No message was set')
                status.hardware_id = self.hwid
                statuses.append(task.run(status))
        all_ok = all(status.level == DiagnosticStatus.OK for status in statuses)
        if all_ok and not self.hwid and not self._missing_id_was_told:
            self._missing_id_was_told = True
            self.node.get_logger().warning(
                'diagnostic_updater: No HW_ID was set. Set it to none where there is no device.')
        self._publish(statuses)

    def broadcast(self, lvl: bytes, msg: str) -> None:
        """Say one thing for all tasks, at a shutdown for instance."""
        self._publish([self._summary(task, lvl, msg) for task in self.tasks])

    def _summary(self, task: DiagnosticTask, level: bytes, text: str) -> DiagnosticStatusWrapper:
        status = DiagnosticStatusWrapper(name=task.getName())
        status.summary(level, text)
        return status

    def _publish(self, statuses: list[DiagnosticStatusWrapper]) -> None:
        message = DiagnosticArray()
        message.header.stamp = self.node.get_clock().now().to_msg()
        for status in statuses:
            message.status.append(DiagnosticStatus(
                level=status.level, name=f'{self.node_name}: {status.name}',
                message=status.message, hardware_id=status.hardware_id, values=status.values))
        self.publisher.publish(message)
