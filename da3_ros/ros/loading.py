# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The engine on its way: loaded in a thread of its own, while all callbacks go on."""

from collections.abc import Callable
import contextlib
import threading

from da3_ros.model.hub import Report
from da3_ros.ros.engine_loading import LoadedEngine
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.task import Future


class Loading:
    """
    One engine that is being loaded.

    All methods belong to the executor's thread. Nothing ends the thread before the engine is
    there, or its error: what is given up is forgotten when it comes.
    """

    def __init__(
        self, node: Node, name: str, load: Callable[[Report], LoadedEngine]
    ) -> None:
        """
        Begin.

        :param node: whose executor is woken at the end.
        :param name: of what is loaded.
        :param load: gives the engine, and tells what goes on.
        """
        self.is_over: Future = Future()
        self._node = node
        self._load = load
        self._text = name
        self._outcome: LoadedEngine | Exception | None = None
        self._thread = threading.Thread(target=self._run, name='loading', daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        """Return what goes on, in a few words."""
        return self._text

    @property
    def is_alive(self) -> bool:
        """Tell whether the thread runs, which must not be when the interpreter is taken down."""
        return self._thread.is_alive()

    def give_up(self) -> None:
        """Let go whoever waits, without an engine; there is no other loading after this one."""
        self.is_over.cancel()

    def result(self) -> LoadedEngine:
        """
        Return the engine; only when all is over.

        :raises Exception: whatever loading raised.
        """
        if isinstance(self._outcome, Exception):
            raise self._outcome
        assert self._outcome is not None
        return self._outcome

    def _run(self) -> None:
        try:
            self._outcome = self._load(self._report)
        except Exception as error:
            # It is raised where the engine is asked for.
            self._outcome = error
        self.is_over.set_result(None)
        # It sleeps until something comes; at the end of the process it is gone.
        executor = self._node.executor
        if executor is not None:
            with contextlib.suppress(InvalidHandle):
                executor.wake()

    def _report(self, text: str) -> None:
        self._text = text
