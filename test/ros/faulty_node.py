# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
The node with the real network on the CPU and faults put into it, for tests.

Windows run behind the real ``MemoryGuard``, which is told that it has a GPU of endless memory;
``torch.OutOfMemoryError`` is raised where the network would ask a full GPU for some.
"""

import argparse
from dataclasses import dataclass, replace
import sys
from unittest import mock

from da3_ros.inference import device_runner, InferenceEngine, memory_guard
from da3_ros.inference.calibration import Calibration, CalibrationCache, CalibrationKey
from da3_ros.inference.executor import WindowExecutor
from da3_ros.inference.memory_guard import MemoryGuard, MemoryLimits
from da3_ros.model.depth_head import DualDpt
from da3_ros.model.network import NetworkOutput
from da3_ros.node import Da3Node
from da3_ros.ros.engine_loading import load_engine, LoadedEngine
from da3_ros.ros.process import run
import numpy as np
from rclpy.utilities import remove_ros_args
import torch
import torch.nn.functional as F

_ENDLESS_BYTES = 2**40


@dataclass(frozen=True)
class Fault:
    """
    What happens to which runs of the network.

    :param kind: where memory is missing, or what is NaN.
    :param first: number of the first run.
    :param last: number of the last one.
    :param fits: runs of so few views are spared.
    """

    kind: str
    first: int
    last: int
    fits: int = 0


class Schedule:
    """The faults of a life, by the number of the run of the network."""

    def __init__(self, faults: list[Fault]) -> None:
        """Wait for the first run."""
        self._faults = faults
        self._run_number = -1
        self.num_views = 0

    def begin(self) -> None:
        """Count from here."""
        self._run_number = -1

    def begin_run(self, num_views: int) -> None:
        """Take note of a run."""
        self._run_number += 1
        self.num_views = num_views

    def strikes(self, kind: str) -> bool:
        """Tell whether to fail."""
        return any(
            fault.kind == kind and fault.first <= self._run_number <= fault.last
            and self.num_views > fault.fits for fault in self._faults)


_KEY = CalibrationKey('none', '', '', (14, 14), '', '', 'Arithmetic')


class KnownCosts(CalibrationCache):
    """Nothing is measured on a CPU."""

    def get(self, _key, _probe, **_):
        """Answer without a probe."""
        return Calibration(0, 0, 0, 0.0, 0.0)

    def forget(self, _key):
        """Keep nothing."""


def no_memory() -> None:
    """Fail as torch does."""
    raise torch.OutOfMemoryError('CUDA out of memory (injected)')


def spoil_cameras(schedule: Schedule, output: NetworkOutput) -> NetworkOutput:
    """Let faults strike the cameras of a window."""
    if schedule.strikes('pose'):
        output = replace(output, extrinsics=output.extrinsics * np.nan)
    if schedule.strikes('intrinsics'):
        output = replace(output, intrinsics=output.intrinsics * np.nan)
    return output


def patch_network(schedule: Schedule) -> None:
    """Let faults strike inside the network's own functions."""
    submit_window, attention, predict_maps = (
        WindowExecutor.submit, F.scaled_dot_product_attention, DualDpt.maps)

    def submit_and_tell(self, images, *given, **named):
        schedule.begin_run(len(images))
        pending = submit_window(self, images, *given, **named)
        sys.stdout.write(f'window of {len(images)} views\n')

        return replace(pending, finish=lambda: spoil_cameras(schedule, pending.finish()))

    def attend(queries, *others):
        is_over_all_views = queries.shape[0] == 1 and schedule.num_views > 1
        if is_over_all_views and schedule.strikes('global block'):
            no_memory()
        return attention(queries, *others)

    def predict_or_fail(self, *arguments):
        if schedule.strikes('head'):
            no_memory()
        dense = predict_maps(self, *arguments)
        for name in ('depth', 'confidence'):
            if schedule.strikes(name):
                getattr(dense, name)[..., 0] = np.nan
        return dense

    WindowExecutor.submit, F.scaled_dot_product_attention = submit_and_tell, attend
    DualDpt.maps = predict_or_fail


def guard(engine: InferenceEngine) -> None:
    """Run the windows of an engine as on a GPU."""
    network, runner = engine._runner.network, engine._runner
    runner.executor = MemoryGuard(
        network, lambda options: WindowExecutor(network, options), runner.executor.options,
        MemoryLimits(), cache=KnownCosts())


def parse(text: str) -> Fault:
    """Read ``kind:first:last:fits``."""
    kind, *numbers = text.split(':')
    return Fault(kind, *map(int, numbers))


def main() -> None:
    """Run the node."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--fails-to-load', action='store_true')
    parser.add_argument('--fault', type=parse, action='append', default=[])
    options = parser.parse_args(remove_ros_args(sys.argv)[1:])
    schedule = Schedule(options.fault)
    place, num_loads = device_runner.place, 0

    def place_or_fail(*arguments, **keywords) -> None:
        nonlocal num_loads
        num_loads += 1
        if options.fails_to_load and num_loads == 1:
            no_memory()
        place(*arguments, **keywords)

    def load(settings) -> LoadedEngine:
        loaded = load_engine(settings)
        guard(loaded.engine)
        schedule.begin()
        return loaded

    patch_network(schedule)
    with mock.patch.object(device_runner, 'place', place_or_fail), \
            mock.patch.object(memory_guard, 'available_bytes', lambda _: _ENDLESS_BYTES), \
            mock.patch.object(memory_guard.CalibrationKey, 'of', lambda *_, **__: _KEY):
        run(lambda: Da3Node(engine_loader=load))


if __name__ == '__main__':
    main()
