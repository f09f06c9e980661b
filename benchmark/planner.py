# Copyright 2026 The da3_ros authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""
The planner beside the GPU: predicted peaks, and windows as large as a limit allows.

Random weights and images. A limit is set on torch's allocator; where the largest window would
take too long, part of the limit is taken by other memory first, so that a smaller window is the
largest.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
import gc
from pathlib import Path
import sys
import tempfile
import time

from da3_ros.errors import Da3Error, MemoryBudgetError
from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.calibration import CalibrationCache
from da3_ros.inference.device import choose_device, choose_dtype, reduce_fragmentation
from da3_ros.inference.executor import WindowExecutor
from da3_ros.inference.memory_guard import MemoryGuard, MemoryLimits
from da3_ros.inference.placement import place
from da3_ros.model import MODELS
import numpy as np
import torch
from upstream_package import build_random

_GIB = 2**30
_SIZES = ((280, 504), (378, 504), (504, 504), (154, 504), (504, 280))


@dataclass(frozen=True)
class Draw:
    """
    One window, predicted and run.

    :param model: name of the variant.
    :param size: height and width [px].
    :param num_views: of the window.
    :param predicted_gib: peak.
    :param measured_gib: peak that torch's allocator handed out.
    :param reserved_gib: peak that it held.
    :param predicted_s: time.
    :param measured_s: time, of a first run.
    """

    model: str
    size: tuple[int, int]
    num_views: int
    predicted_gib: float
    measured_gib: float
    reserved_gib: float
    predicted_s: float
    measured_s: float


def make_guard(model: str, device: torch.device, cache: Path) -> MemoryGuard:
    """Put a network with random weights behind a guard."""
    network = build_random(model, device)
    network.set_compute_dtype(choose_dtype(device))
    place(network, device, with_rays=False)

    def make_executor(options: ExecutorOptions) -> WindowExecutor:
        return WindowExecutor(network, options)

    limits = MemoryLimits(reserve_mib=0)
    torch.cuda.empty_cache()
    return MemoryGuard(
        network, make_executor, ExecutorOptions(), limits, cache=CalibrationCache(cache)
    )


def run_window(guard: MemoryGuard, model: str, size: tuple[int, int], num_views: int) -> Draw:
    """Run one window and compare."""
    cost = guard.window_model(size)
    rng = np.random.default_rng(num_views)
    images = rng.integers(0, 256, (num_views, *size, 3), dtype=np.uint8)
    torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    guard.run(images, None)
    seconds = time.perf_counter() - start
    return Draw(
        model,
        size,
        num_views,
        cost.peak_bytes(num_views) / _GIB,
        torch.cuda.max_memory_allocated() / _GIB,
        torch.cuda.max_memory_reserved() / _GIB,
        cost.seconds(num_views),
        seconds,
    )


def random_draws(
    guard: MemoryGuard, model: str, count: int, seconds: float, rng: np.random.Generator
) -> Iterator[Draw]:
    """Run windows of random size and resolution."""
    for _ in range(count):
        size = _SIZES[rng.integers(len(_SIZES))]
        most = guard.window_model(size).max_views_within(seconds)
        num_views = int(np.exp(rng.uniform(0.0, np.log(max(most, 2)))))
        torch.cuda.empty_cache()
        yield run_window(guard, model, size, num_views)


def limited(
    guard: MemoryGuard, model: str, limit_gib: float, seconds: float
) -> tuple[Draw, int, float] | None:
    """
    Run the largest window under a limit.

    :returns: the window, the views that the whole limit allows, and the share of the limit in use;
        None where not one view fits.
    """
    device, size = choose_device(), _SIZES[0]
    total = torch.cuda.get_device_properties(device).total_memory
    guard.window_model(size)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(limit_gib * _GIB / total)
    try:
        try:
            whole = guard.plan(size).num_views
        except MemoryBudgetError:
            return None
        cost = guard.window_model(size)
        in_time = min(whole, cost.max_views_within(seconds))
        ballast_bytes = int(cost.peak_bytes(whole) - cost.peak_bytes(in_time))
        ballast = torch.empty(ballast_bytes, dtype=torch.uint8, device=device)
        draw = run_window(guard, model, size, guard.plan(size).num_views)
        del ballast
        return draw, whole, draw.reserved_gib / limit_gib
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, limit, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--models', nargs='+', choices=MODELS, default=list(MODELS))
    parser.add_argument('--draws', type=int, default=10, help='per model')
    parser.add_argument('--limits', nargs='*', type=float, default=[4, 6, 8, 12, 24])
    parser.add_argument('--seconds', type=float, default=1.0, help='longest window that is run')
    options = parser.parse_args(arguments)
    device = choose_device()
    reduce_fragmentation()
    rng = np.random.default_rng(0)
    errors = []
    write = sys.stdout.write
    write(f'{torch.cuda.get_device_name(device)}, torch {torch.__version__}\n')
    with tempfile.TemporaryDirectory() as folder:
        for model in options.models:
            guard = make_guard(model, device, Path(folder) / 'calibration.json')
            for draw in random_draws(guard, model, options.draws, options.seconds, rng):
                errors.append(draw.predicted_gib / draw.measured_gib - 1.0)
                write(
                    f'draw {draw.model} {draw.size[1]}x{draw.size[0]} {draw.num_views} views: '
                    f'{draw.predicted_gib:.3f} predicted, {draw.measured_gib:.3f} GiB measured '
                    f'({errors[-1]:+.1%}), {draw.predicted_s:.3f} / {draw.measured_s:.3f} s\n'
                )
            for limit_gib in options.limits:
                try:
                    result = limited(guard, model, limit_gib, options.seconds)
                except (RuntimeError, Da3Error) as error:
                    write(f'limit {limit_gib} GiB {model}: FAILED {error}\n')
                    continue
                if result is None:
                    write(f'limit {limit_gib} GiB {model}: not one view fits\n')
                    continue
                draw, whole, share = result
                write(
                    f'limit {limit_gib} GiB {model}: {whole} views; ran {draw.num_views}, '
                    f'{draw.measured_gib:.2f} allocated, {draw.reserved_gib:.2f} held: '
                    f'{share:.0%} of the limit\n'
                )
            del guard
            gc.collect()
            torch.cuda.empty_cache()
    write(f'{len(errors)} draws: from {min(errors):+.1%} to {max(errors):+.1%}\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
