# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""The demo's child processes: started, listened to, watched, stopped."""

from collections.abc import Sequence
import json
import os
from pathlib import Path
import queue
import re
import signal
import subprocess
import threading
import time
from typing import Any

from da3_ros.errors import Da3Error

_POLL_S = 0.2
_STOP_S = 15.0
_LAST_LINES = 8
# As ROS logs to a console; launch puts the name of the process in front.
_ERROR = re.compile(r'(\[[^]]+\] )?\[(ERROR|FATAL)\]')


class DemoError(Da3Error):
    """The demo cannot show what it promises."""


class Child:
    """
    A process that logs to a file.

    The demo's own ones also report lines of JSON on stdout (``reporting``) and end when their
    stdin is closed.
    """

    def __init__(
        self, name: str, command: Sequence[str], log: Path, *, ends_with_stdin: bool = True,
    ) -> None:
        """
        Start it, in a process group of its own.

        :param name: for people.
        :param command: program and arguments.
        :param log: file for stderr, and for what is not JSON on stdout.
        :param ends_with_stdin: whether it is one of the demo's own.
        """
        self.name = name
        self.log = log
        self._ends_with_stdin = ends_with_stdin
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._file = log.open('w')
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._file, text=True,
            errors='replace', start_new_session=True)
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Id of the process that was started."""
        return self._process.pid

    def check(self) -> None:
        """
        Check that it runs and has logged no error.

        :raises DemoError: if it has ended or logged one.
        """
        lines = self.log.read_text(errors='replace').splitlines()
        errors = [line for line in lines if _ERROR.match(line)]
        if errors:
            raise DemoError(f'the {self.name} logged: {errors[0]} (log: {self.log})')
        code = self._process.poll()
        if code is not None:
            raise DemoError(f'the {self.name} ended with status {code}: {self._last_words()}')

    def wait_for(
        self, event: str, timeout_s: float, *, others: Sequence['Child'] = (),
    ) -> dict[str, Any]:
        """
        Return the next report of a kind; others are left out.

        :param event: which.
        :param timeout_s: longest wait [s].
        :param others: processes that must keep running meanwhile.
        :raises DemoError: if time is over or a process ends.
        """
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            try:
                report = self._events.get(timeout=_POLL_S)
            except queue.Empty:
                for child in (self, *others):
                    child.check()
                continue
            if report['event'] == event:
                return report
        raise DemoError(
            f'the {self.name} did not report "{event}" within {timeout_s:.0f} s: '
            f'{self._last_words()}')

    def forget(self) -> None:
        """Drop the reports so far."""
        while not self._events.empty():
            self._events.get_nowait()

    def close(self) -> None:
        """Ask it to end by closing its stdin."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()

    def stop(self) -> None:
        """End it: by closing its stdin if it listens to that, then by signals."""
        self.close()
        ended = self._ends_with_stdin and self._ends_within(_STOP_S)
        if not ended and self._process.poll() is None:
            # To itself alone: launch hands it on, and a second one would cut the node short.
            self._process.send_signal(signal.SIGINT)
            ended = self._ends_within(_STOP_S)
        for stop_signal in (signal.SIGTERM, signal.SIGKILL):
            if not ended and self._process.poll() is None:
                os.killpg(self.pid, stop_signal)
                ended = self._ends_within(_STOP_S)
        self._reader.join()
        self._file.close()

    def _ends_within(self, timeout_s: float) -> bool:
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith('{'):
                self._events.put(json.loads(line))
            else:
                self._file.write(line)
                self._file.flush()

    def _last_words(self) -> str:
        lines = [line.strip() for line in self.log.read_text(errors='replace').splitlines()]
        words = ' | '.join([line for line in lines if line][-_LAST_LINES:])
        return f'{words or "it said nothing"} (log: {self.log})'
