# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Nodes of a test, spun in the background."""

import contextlib
import threading

from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node


class SpunGraph:
    """A context in a domain, and a thread that spins its nodes."""

    def __init__(self, domain_id: int) -> None:
        """Give the context that the nodes are to be created in."""
        self.context = Context()
        self.context.init(domain_id=domain_id)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._nodes: tuple[Node, ...] = ()
        self._thread = threading.Thread(target=self._run)

    def spin(self, *nodes: Node) -> None:
        """Start the thread."""
        self._nodes = nodes
        for node in nodes:
            self._executor.add_node(node)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the nodes stay."""
        self._executor.shutdown()
        self._thread.join()

    def close(self) -> None:
        """End everything."""
        self.stop()
        for node in self._nodes:
            node.destroy_node()
        self.context.try_shutdown()

    def _run(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()
