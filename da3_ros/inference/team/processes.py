# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The processes of devices that share windows, from their start to their end."""

from collections.abc import Sequence
import contextlib
from multiprocessing.connection import Connection, wait
import os
from pathlib import Path
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import weakref

from da3_ros.errors import DeviceLostError
from da3_ros.inference.team.messages import receive, Reply, send, Start
from da3_ros.inference.team.shared_memory import Block
import torch

MEMBER = 'da3_ros.inference.team.member'
# Importing torch, finding each other, bringing weights to GPUs.
_START_S = 180.0
_POLL_S = 0.5
# Whoever misses another says so at once, and ends by itself.
_ORPHAN_STATUS = 1
_GRACE_S = 2.0


class LostError(Exception):
    """
    Some devices are lost.

    :param message: how it was noticed.
    :param ranks: which they are; none: nobody knows.
    """

    def __init__(self, message: str, ranks: set[int]) -> None:
        super().__init__(message)
        self.ranks = ranks


class TeamProcesses:
    """
    One process for each device; they end with this object, and with this process.

    :param starts: what each is told first, but where they meet.
    :param progress: counts of how often each has come to meet the others.
    :param patience_s: longest time in which none of them comes to that.
    :param module: that they run.
    :raises LostError: if one of them ends.
    :raises Exception: what they fail by.
    """

    def __init__(
        self, starts: Sequence[Start], progress: Block, *, patience_s: float,
        module: str = MEMBER,
    ) -> None:
        self._progress = progress.lease().view(torch.int64)
        self._progress.zero_()
        self._patience_s = patience_s
        self._channels: list[Connection] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        folder = Path(tempfile.mkdtemp(prefix='da3_ros'))
        # Held by nobody else: whatever this process ends by, the system closes it, and they end.
        pipe, held = os.pipe()
        self.end = weakref.finalize(self, _end, held, self._channels, self.processes, folder)
        try:
            for _ in starts:
                self._spawn(module, pipe)
            # None looks for the others before all are there: that may take them long.
            self.answer(_START_S)
            for channel, start in zip(self._channels, starts, strict=True):
                with contextlib.suppress(OSError):
                    send(channel, (start, str(folder / 'meeting')))
            self.answer(_START_S)
        except BaseException:
            self.end()
            raise
        finally:
            os.close(pipe)

    def ask(self, request: object) -> None:
        """
        Ask all of them the same; whether they are there shows when they answer.

        :param request: of ``messages``.
        """
        for channel in self._channels:
            with contextlib.suppress(OSError):
                send(channel, request)

    def answer(self, patience_s: float | None = None) -> Reply:
        """
        Wait for all of them, and return what the first one says.

        :param patience_s: longest time in which none goes on; None: as ever.
        :raises LostError: if one of them has ended or is silent.
        :raises Exception: what they failed by.
        """
        patience_s = self._patience_s if patience_s is None else patience_s
        replies: dict[int, Reply] = {}
        counts, moved_s = self._progress.tolist(), time.monotonic()
        while len(replies) < len(self._channels):
            waiting = {
                id(channel): rank for rank, channel in enumerate(self._channels)
                if rank not in replies}
            for channel in wait([self._channels[rank] for rank in waiting.values()], _POLL_S):
                assert isinstance(channel, Connection)
                rank = waiting[id(channel)]
                replies[rank] = self._receive(channel, rank)
                moved_s = time.monotonic()
            if self._progress.tolist() != counts:
                counts, moved_s = self._progress.tolist(), time.monotonic()
            elif time.monotonic() - moved_s > patience_s:
                silent = set(range(len(self._channels))) - set(replies)
                raise LostError(f'no sign of it for {patience_s:.0f} s', self._behind(silent))
        error, first = _error(replies), replies[0]
        if error is None:
            return first
        # Nothing that the error's traceback holds may hold the error.
        replies.clear()
        try:
            raise error
        finally:
            del error, first

    def _spawn(self, module: str, pipe: int) -> None:
        ours, theirs = socket.socketpair()
        self._channels.append(Connection(ours.detach()))
        with theirs:
            self.processes.append(subprocess.Popen(
                [sys.executable, '-m', module, str(theirs.fileno()), str(pipe)],
                pass_fds=(theirs.fileno(), pipe), stdin=subprocess.DEVNULL,
                # Without the terminal's signals: they end with this process.
                process_group=0,
                env={**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))}))

    def _receive(self, channel: Connection, rank: int) -> Reply:
        try:
            reply: Reply = receive(channel)
        except (EOFError, OSError):
            self.processes[rank].kill()
            status = self.processes[rank].wait()
            raise LostError(f'its process has ended with status {status}', {rank}) from None
        if isinstance(reply.error, DeviceLostError):
            raise LostError(*self._missed(str(reply.error)))
        return reply

    def _missed(self, message: str) -> tuple[str, set[int]]:
        """Find who is lost, where another only knows that one is."""
        deadline_s = time.monotonic() + _GRACE_S
        while time.monotonic() < deadline_s:
            ended = {
                rank: process.returncode for rank, process in enumerate(self.processes)
                if process.poll() not in (None, _ORPHAN_STATUS)}
            if ended:
                return f'its process has ended with status {min(ended.values())}', set(ended)
            time.sleep(_POLL_S / 10)
        return message, self._behind(set(range(len(self._channels))))

    def _behind(self, ranks: set[int]) -> set[int]:
        """Return those who have come to meet the others least often, none where all have."""
        counts = self._progress.tolist()
        least = min(counts[rank] for rank in ranks)
        behind = {rank for rank in ranks if counts[rank] == least}
        return set() if len(behind) == len(counts) > 1 else behind


def _error(replies: dict[int, Reply]) -> Exception | None:
    """Return what has failed; those where nothing has say no more than that."""
    errors = [reply.error for reply in replies.values() if reply.error is not None]
    return min(
        errors, key=lambda error: type(error).__name__ == 'ElsewhereError', default=None)


def _end(
    held: int, channels: list[Connection], processes: list['subprocess.Popen[bytes]'],
    folder: Path,
) -> None:
    """End all processes, whatever they are at."""
    os.close(held)
    for channel in channels:
        channel.close()
    deadline_s = time.monotonic() + _GRACE_S
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(deadline_s - time.monotonic(), 0.0))
        process.kill()
    for process in processes:
        # One that the kernel does not let go must not hold up everything else.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
    shutil.rmtree(folder, ignore_errors=True)
