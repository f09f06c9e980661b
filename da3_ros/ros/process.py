# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The process that a node lives in: from ROS's arguments to the exit."""

from collections.abc import Callable, Sequence
import ctypes
import os
import signal
import sys
import threading
from types import FrameType
from typing import Protocol

from da3_ros.ros.allocator import reuse_large_buffers
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

# A tenth of Python's own: callbacks ask for its lock many times per image, and each time wait so
# long while the worker runs Python.
_SWITCH_INTERVAL_S = 5e-4
# Set by the launch files.
_END_WITH_PARENT = 'DA3_END_WITH_PARENT'
_PR_SET_PDEATHSIG = 1
# A signal is noticed after so long where nothing else happens.
_SIGNAL_PERIOD_S = 0.1


class ClosableNode(Protocol):
    """A node with threads of its own, which are ended before it is destroyed."""

    def interrupt(self) -> None:
        """Give up what takes long: the process is to end."""

    def close(self) -> bool:
        """
        End them.

        :returns: False if one is still at work.
        """

    def destroy_node(self) -> None:
        """Destroy the node."""


def run(create_node: Callable[[], ClosableNode], args: Sequence[str] | None = None) -> None:
    """
    Spin a node until the process is told to stop.

    ROS stays up until the node is closed. rclpy's own signal handler takes it away at once, and
    what other threads are sending at that moment fails, loudly.

    :param create_node: called when ROS is up.
    :param args: of the command line.
    """
    reuse_large_buffers()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    stop = StopSignals()
    if os.environ.get(_END_WITH_PARENT):
        end_with_parent()
    try:
        rclpy.init(
            args=None if args is None else list(args),
            signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:
        # An argument or a parameter file that cannot be read: ROS names it, a traceback does not.
        sys.exit(f'da3: {error}')
    executor = SingleThreadedExecutor()
    is_done = True
    try:
        node = create_node()
        stop.call(node.interrupt)
        try:
            executor.add_node(node)
            while not stop.came:
                executor.spin_once(timeout_sec=_SIGNAL_PERIOD_S)
        finally:
            is_done = node.close()
            node.destroy_node()
    except ExternalShutdownException:
        pass
    finally:
        rclpy.try_shutdown()
        stop.ignore()
    if not is_done:
        # The interpreter must not be taken down under a thread that is still inside torch.
        sys.stderr.flush()
        os._exit(0)


def end_with_parent() -> None:
    """Get a SIGINT when the parent ends, killed or not; Linux alone can do it."""
    parent = os.getppid()
    prctl = getattr(ctypes.CDLL(None), 'prctl', None)
    if prctl is None:
        return
    prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
    if os.getppid() != parent:
        # It ended in between.
        signal.raise_signal(signal.SIGINT)


class StopSignals:
    """SIGINT and SIGTERM, from now on and to the end of the process."""

    def __init__(self) -> None:
        """Take them, where this is the main thread."""
        self._came = threading.Event()
        self._callback: Callable[[], None] = self._came.set
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._note)

    @property
    def came(self) -> bool:
        """Tell whether one came."""
        return self._came.is_set()

    def call(self, callback: Callable[[], None]) -> None:
        """
        Call something with every signal, and now if one came already.

        :param callback: quick, and safe in the middle of any other code.
        """
        self._callback = callback
        if self.came:
            callback()

    def ignore(self) -> None:
        """Take no notice any more; rclpy's shutdown has put back what would kill the process."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self._came.set()
        self._callback()
