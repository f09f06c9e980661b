# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Memory and time of windows of growing size, upstream's package beside ours.

Random weights, random images: neither memory nor time depends on their values. Both start from
images on the host and end with depth on the host. Peak is what torch's allocator handed out.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
import gc
import json
from pathlib import Path
import statistics
import sys
import time

from da3_ros.errors import Da3Error
from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.device import choose_device, choose_dtype
from da3_ros.inference.executor import WindowExecutor
from da3_ros.inference.placement import place
from da3_ros.inference.preprocessing import normalize
from da3_ros.model import MODELS
from matplotlib import pyplot
import numpy as np
import torch
from upstream_package import build_random, build_upstream, run_upstream

OURS = {
    'ours': ExecutorOptions(),
    'ours, features on host': ExecutorOptions(features='host'),
    'ours, reduced': ExecutorOptions(reduced=True),
}
IMPLEMENTATIONS = [*OURS, 'upstream']

_GIB = 2.0**30


@dataclass(frozen=True)
class Measurement:
    """
    One window size of one implementation.

    :param implementation: one of ``IMPLEMENTATIONS``.
    :param model: name of the variant.
    :param num_views: in the window.
    :param seconds: median of the timed runs, or None where it failed.
    :param peak_gib: most memory allocated in a run, weights included.
    :param reserved_gib: most memory that the allocator held in a run.
    :param error: why it failed.
    """

    implementation: str
    model: str
    num_views: int
    seconds: float | None = None
    peak_gib: float | None = None
    reserved_gib: float | None = None
    error: str = ''


def random_images(num_views: int, size: tuple[int, int]) -> np.ndarray:
    """Make (N, H, W, 3) uint8 images."""
    rng = np.random.default_rng(num_views)
    return rng.integers(0, 256, (num_views, *size, 3), dtype=np.uint8)


def measure(run: Callable[[], object], num_runs: int) -> tuple[float, float | None, float | None]:
    """
    Take the peak of the first run, and the median time of later ones.

    :param num_runs: later ones; 0 takes the time of the first.
    :returns: seconds, peak allocated and peak reserved [GiB].
    """
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    run()
    first = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated() / _GIB if on_gpu else None
    reserved = torch.cuda.max_memory_reserved() / _GIB if on_gpu else None
    for _ in range(num_runs // 2):
        run()
    seconds = []
    for _ in range(num_runs):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds or [first]), peak, reserved


def ours(model: str, options: ExecutorOptions) -> Callable[[np.ndarray], Callable[[], object]]:
    """Make our executor; the result turns images into a run."""
    device = choose_device()
    network = build_random(model, device)
    network.set_compute_dtype(choose_dtype(device))
    place(network, device, with_rays=False)
    executor = WindowExecutor(network, options)
    return lambda images: lambda: executor.run(images)


def upstream(model: str) -> Callable[[np.ndarray], Callable[[], object]]:
    """Make upstream's network; the result turns images into a run."""
    device = choose_device()
    network = build_upstream(model, device)
    dtype = choose_dtype(device)

    def prepare(images: np.ndarray) -> Callable[[], object]:
        pixels = normalize(torch.from_numpy(images))
        return lambda: run_upstream(network, pixels, dtype=dtype)

    return prepare


def measure_all(
    implementation: str, model: str, views: Sequence[int], size: tuple[int, int], max_runs: int
) -> Iterator[Measurement]:
    """Measure one implementation of one variant at every window size, smallest first."""
    # Where nothing can be built, the first window fails.
    num_views = views[0]
    try:
        if implementation == 'upstream':
            prepare = upstream(model)
        else:
            prepare = ours(model, OURS[implementation])
        for num_views in views:
            run = prepare(random_images(num_views, size))
            num_runs = 5 if num_views <= 32 else 2 if num_views <= 100 else 1
            yield Measurement(
                implementation, model, num_views, *measure(run, min(num_runs, max_runs))
            )
    except (RuntimeError, ImportError, Da3Error) as error:
        yield Measurement(implementation, model, num_views, error=repr(error).splitlines()[0])
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def slope_mib(measurements: Sequence[Measurement]) -> float | None:
    """Return the memory that one more view takes, from the two largest windows."""
    peaks = sorted((m.num_views, m.peak_gib) for m in measurements if m.peak_gib is not None)
    if len(peaks) < 2:
        return None
    (few, low), (many, high) = peaks[-2:]
    return (high - low) * 1024.0 / (many - few)


def table(measurements: Sequence[Measurement]) -> str:
    """Write a table, one row for a window size of a variant."""
    names = sorted({m.implementation for m in measurements})
    head = ['model', 'views', *(f'{name}: {unit}' for name in names for unit in ('s', 'GiB'))]
    lines = ['| ' + ' | '.join(head) + ' |', '|---' * len(head) + '|']
    cells = {(m.implementation, m.model, m.num_views): m for m in measurements}
    for model, num_views in dict.fromkeys((m.model, m.num_views) for m in measurements):
        row = [model, str(num_views)]
        for name in names:
            cell = cells.get((name, model, num_views))
            seconds = None if cell is None else cell.seconds
            peak = None if cell is None else cell.peak_gib
            row += ['-' if seconds is None else f'{seconds:.3f}']
            row += ['-' if peak is None else f'{peak:.2f}']
        lines.append('| ' + ' | '.join(row) + ' |')
    for model in dict.fromkeys(m.model for m in measurements):
        for name in names:
            chosen = [m for m in measurements if (m.model, m.implementation) == (model, name)]
            slope = slope_mib(chosen)
            lines += [] if slope is None else [f'{model}, {name}: {slope:.2f} MiB per view']
            lines += [f'{name}, {m.num_views} views: {m.error}' for m in chosen if m.error]
    return '\n'.join(lines)


def plot(measurements: Sequence[Measurement], path: Path) -> None:
    """Draw memory and time over the number of views."""
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.5))
    for axis, attribute, label in zip(
        axes, ('peak_gib', 'seconds'), ('peak GPU memory [GiB]', 'time [s]'), strict=True
    ):
        for model, name in dict.fromkeys((m.model, m.implementation) for m in measurements):
            points = [
                (m.num_views, getattr(m, attribute))
                for m in measurements
                if (m.model, m.implementation) == (model, name) and getattr(m, attribute)
            ]
            if points:
                axis.plot(*zip(*points, strict=True), marker='o', label=f'{model}, {name}')
        axis.set(xlabel='views in the window', ylabel=label)
        axis.grid(visible=True, alpha=0.3)
    axes[1].set(xscale='log', yscale='log')
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write JSON and the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--models', nargs='+', default=['da3-large', 'da3-giant'], choices=MODELS)
    parser.add_argument('--views', nargs='+', type=int, default=[1, 8, 32, 100, 300])
    parser.add_argument('--size', nargs=2, type=int, default=[280, 504], metavar=('H', 'W'))
    parser.add_argument(
        '--implementations', nargs='+', choices=IMPLEMENTATIONS, default=IMPLEMENTATIONS
    )
    parser.add_argument('--max-runs', type=int, default=5,
                        help='to take the time from, after the one for the peak; 0: from that one')
    parser.add_argument('--out', type=Path, default=Path('out'))
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    device = choose_device()
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else 'CPU'
    sys.stdout.write(f'{name}, torch {torch.__version__}, {options.size[1]}x{options.size[0]}\n')
    measurements = []
    for model in options.models:
        for implementation in options.implementations:
            size = (options.size[0], options.size[1])
            for measurement in measure_all(
                implementation, model, options.views, size, options.max_runs
            ):
                measurements.append(measurement)
                sys.stderr.write(f'{measurement}\n')
                (options.out / 'memory.json').write_text(
                    json.dumps([asdict(m) for m in measurements], indent=1)
                )
    sys.stdout.write(table(measurements) + '\n')
    plot(measurements, options.out / 'memory.png')
    return 0


if __name__ == '__main__':
    sys.exit(main())
