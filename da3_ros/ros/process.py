# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The process that a node lives in: from ROS's arguments to the exit."""

from collections.abc import Callable, Sequence
import os
import sys
from typing import Protocol

from da3_ros.ros.allocator import reuse_large_buffers
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

# A tenth of Python's own: callbacks ask for its lock many times per image, and each time wait so
# long while the worker runs Python.
_SWITCH_INTERVAL_S = 5e-4


class ClosableNode(Protocol):
    """A node with threads of its own, which are ended before it is destroyed."""

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

    :param create_node: called when ROS is up.
    :param args: of the command line.
    """
    reuse_large_buffers()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    try:
        rclpy.init(args=None if args is None else list(args))
    except RuntimeError as error:
        # An argument or a parameter file that cannot be read: ROS names it, a traceback does not.
        sys.exit(f'da3: {error}')
    executor = SingleThreadedExecutor()
    is_done = True
    try:
        node = create_node()
        try:
            executor.add_node(node)
            executor.spin()
        finally:
            is_done = node.close()
            node.destroy_node()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except RuntimeError:
        # What rclpy raises when a signal came in the middle of a transition.
        if rclpy.ok():
            raise
    finally:
        rclpy.try_shutdown()
    if not is_done:
        # The interpreter must not be taken down under a thread that is still inside torch.
        sys.stderr.flush()
        os._exit(0)
