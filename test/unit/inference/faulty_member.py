# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
The process of a device that shares windows, on the CPU, with faults put into it.

Windows run behind the real ``MemoryGuard``, which is told that it has a GPU of endless memory.
``FAULTS`` in the environment is a folder, in which the name of a file says what happens, and in
which process. It happens once: the file is removed then. Only while a GPU is full, it stays.
"""

import os
from pathlib import Path
import signal
import time
from unittest import mock

from da3_ros.inference import device_runner, memory_guard
from da3_ros.inference.calibration import Calibration, CalibrationCache, CalibrationKey
from da3_ros.inference.executor import WindowExecutor
from da3_ros.inference.memory_guard import MemoryGuard
from da3_ros.inference.team import member, process_peers
from da3_ros.model.depth_head import DualDpt
import torch
import torch.nn.functional as F

FAULTS = Path(os.environ['FAULTS'])


class KnownCosts(CalibrationCache):
    """Nothing is measured on a CPU."""

    def get(self, _key, _probe, **_):
        """Answer without a probe."""
        return Calibration(0, 0, 0, 0.0, 0.0)

    def forget(self, _key):
        """Keep nothing."""


class Faults:
    """What happens to this process."""

    rank = -1

    def strike(self, kind):
        """Tell whether to fail now; it is also over then."""
        try:
            (FAULTS / f'{kind} {self.rank}').unlink()
        except FileNotFoundError:
            return False
        return True

    def no_memory(self, kind):
        """Fail as torch does."""
        if self.strike(kind):
            raise torch.OutOfMemoryError('CUDA out of memory (injected)')

    def wrong(self, kind):
        """Fail by a mistake."""
        if self.strike(kind):
            raise KeyError('injected')


faults = Faults()


def guarded(self):
    """Run windows as on a GPU."""
    return MemoryGuard(
        self.network, self._shared, self._settings.options, self._settings.limits,
        cache=KnownCosts(), probed=self._alone, peers=self._peers)


def patch():
    """Let faults strike inside the functions that windows pass through."""
    begin, submit, attend, maps, place = (
        member.TeamMember.__init__, WindowExecutor.submit, F.scaled_dot_product_attention,
        DualDpt.maps, device_runner.place)

    def begin_and_tell(self, start, meeting_place):
        faults.rank = start.rank
        begin(self, start, meeting_place)

    def submit_or_fail(self, *given, **named):
        if faults.strike('killed'):
            os.kill(os.getpid(), signal.SIGKILL)
        if faults.strike('asleep'):
            time.sleep(3600)
        faults.wrong('wrong')
        return submit(self, *given, **named)

    def attend_or_fail(queries, keys, values):
        if keys.shape[2] > queries.shape[2]:
            # Keys of other processes, too.
            faults.no_memory('block')
        return attend(queries, keys, values)

    def maps_or_fail(self, *given):
        faults.no_memory('head')
        faults.wrong('broken head')
        return maps(self, *given)

    def place_or_fail(*given, **named):
        faults.no_memory('load')
        place(*given, **named)

    member.TeamMember.__init__ = begin_and_tell
    WindowExecutor.submit = submit_or_fail
    F.scaled_dot_product_attention = attend_or_fail
    DualDpt.maps = maps_or_fail
    device_runner.place = place_or_fail
    device_runner.DeviceRunner._make_executor = guarded


def main():
    """Serve as the real one does."""
    patch()
    key = CalibrationKey('none', '', '', (14, 14), '', '', 'Arithmetic')

    def available(_):
        return 0 if (FAULTS / f'full {faults.rank}').exists() else 2**40

    with (
        mock.patch.object(memory_guard, 'available_bytes', available),
        mock.patch.object(memory_guard.CalibrationKey, 'of', lambda *_, **__: key),
        mock.patch.object(torch.cuda, 'memory_allocated', lambda _: 0),
        mock.patch.object(process_peers, '_PROBE_BYTES', 2**10),
    ):
        return member.main()


if __name__ == '__main__':
    os._exit(main())
