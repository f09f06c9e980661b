# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Processes of load tests, and what the kernel says of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import json
import os
from pathlib import Path
import signal
import subprocess
import sys

_HERE = Path(__file__).resolve().parent
_KIB = 1024.0
_END_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Usage:
    """
    What a process holds, and has used.

    :param cpu_s: processor time of all its threads so far.
    :param rss_mib: resident memory.
    :param num_files: open file handles.
    :param num_threads: threads.
    """

    cpu_s: float
    rss_mib: float
    num_files: int
    num_threads: int


def machine_cpu_s() -> float:
    """Return the processor time that all processes of the machine have used so far."""
    fields = Path('/proc/stat').read_text().splitlines()[0].split()[1:]
    user, nice, system, _, _, irq, softirq = (int(field) for field in fields[:7])
    return (user + nice + system + irq + softirq) / os.sysconf('SC_CLK_TCK')


class LoadProcess:
    """A script of this folder, in a process of its own."""

    def __init__(
        self, script: str, arguments: Sequence[str] = (), *,
        parameters: Mapping[str, object] | None = None, environment: Mapping[str, str],
    ) -> None:
        """
        Start.

        :param script: its name.
        :param arguments: of its command line.
        :param parameters: for the node in it, if it takes any.
        :param environment: added to this process's own.
        """
        command = [sys.executable, str(_HERE / script), *arguments]
        if parameters is not None:
            command += ['--ros-args', '--log-level', 'warn']
            for name, value in parameters.items():
                command += ['-p', f'{name}:={json.dumps(value)}']
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=os.environ | dict(environment))

    def usage(self) -> Usage:
        """Ask the kernel."""
        folder = Path('/proc') / str(self._process.pid)
        # The second field is the name in brackets, which may hold spaces.
        fields = (folder / 'stat').read_text().rpartition(')')[2].split()
        ticks = int(fields[11]) + int(fields[12])
        status = dict(
            line.split(':', 1) for line in (folder / 'status').read_text().splitlines())
        return Usage(
            ticks / os.sysconf('SC_CLK_TCK'), int(status['VmRSS'].split()[0]) / _KIB,
            len(list((folder / 'fd').iterdir())), int(status['Threads']),
        )

    def read_line(self) -> str:
        """
        Wait for the next line that the process prints.

        :raises RuntimeError: if it ended instead.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f'{self._process.args}: it ended')
        return line

    def read(self) -> str:
        """Wait for the end, and return what the process printed."""
        output, _ = self._process.communicate()
        return output

    def end(self) -> str:
        """Interrupt the process, wait for its end, and return what it still printed."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.communicate(timeout=_END_TIMEOUT_S)[0]
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
