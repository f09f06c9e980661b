# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Time of windows, of a stream of keyframes and of live frames: upstream, ours and the floor.

Random weights, random images: time does not depend on their values. Everything starts from images
on the host, at the size that the network sees, and ends with maps on the host. The floor is what
the arithmetic alone would take at the rates that a chip is known for.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, fields
import gc
import json
from pathlib import Path
import statistics
import sys
import time

from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.device import choose_device, choose_dtype, reduce_fragmentation
from da3_ros.inference.executor import WindowExecutor
from da3_ros.inference.placement import place
from da3_ros.inference.preprocessing import normalize
from da3_ros.model import MODELS
from da3_ros.model.config import ModelConfig, PATCH_SIZE
from matplotlib import pyplot
import numpy as np
import torch
from upstream_package import build_random, build_upstream, run_upstream

# Of an H200: products and attention in bfloat16, the head in TF32 [operations per second].
_PRODUCTS, _ATTENTION, _HEAD = 790e12, 497e12, 395e12
# Of the head, for a patch, by features of its pyramid; the narrower ones in proportion.
_HEAD_OPERATIONS = 217.6e6 / 256**2
# DA3-Streaming joins windows by half of their views.
_STREAMING_VIEWS = 32
# Views of the window before whose maps join it to the next one.
_NUM_ANCHORS, _NUM_LIVE_ANCHORS = 4, 1


@dataclass(frozen=True)
class Row:
    """
    Medians of one case.

    :param mode: 'window', 'stream' or 'live'.
    :param model: name of the variant.
    :param views: of a window.
    :param new: of these, how many are new.
    :param upstream_ms: of upstream's package; every view is new to it.
    :param eager_ms: ours, kernel by kernel, every view new.
    :param ms: ours.
    :param launch_ms: of that, until the device has all of its work.
    :param slow_ms: 95 of 100 are faster.
    :param floor_ms: of a window, every view new.
    """

    mode: str
    model: str
    views: int
    new: int
    upstream_ms: float
    eager_ms: float
    ms: float
    launch_ms: float
    slow_ms: float
    floor_ms: float


def floor_seconds(config: ModelConfig, num_views: int, size: tuple[int, int]) -> float:
    """Return the time of the arithmetic of a window alone."""
    patches, dim = size[0] * size[1] // PATCH_SIZE**2, config.embed_dim
    tokens, depth = num_views * (patches + 1), config.out_layers[-1] + 1
    num_across = sum(config.is_global(i) for i in range(depth))
    products = 24 * dim**2 * tokens * depth + 1176 * dim * num_views * patches
    attention = 4 * dim * tokens * (
        (patches + 1) * (depth - num_across) + tokens * num_across)
    head = _HEAD_OPERATIONS * config.head_features**2 * num_views * patches
    return products / _PRODUCTS + attention / _ATTENTION + head / _HEAD


def timed(run: Callable[[], object], num_runs: int) -> list[float]:
    """Return the seconds of some runs."""
    seconds = []
    for _ in range(num_runs):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return seconds


class Speed:
    """
    One variant at one image size.

    :param model: its name.
    :param size: height and width of the images [px].
    :param with_upstream: whether upstream's package runs too.
    """

    def __init__(self, model: str, size: tuple[int, int], *, with_upstream: bool) -> None:
        self._model, self._size = model, size
        self._device = choose_device()
        self._dtype = choose_dtype(self._device)
        self._network = build_random(model, self._device)
        self._network.set_compute_dtype(self._dtype)
        place(self._network, self._device, with_rays=False)
        self._upstream = build_upstream(model, self._device) if with_upstream else None
        self._images = np.random.default_rng(0).integers(
            0, 256, (2 * _STREAMING_VIEWS, *size, 3), dtype=np.uint8)

    def window(self, num_views: int) -> Row:
        """Time windows whose views are all new."""
        images = self._take(num_views)
        executor = WindowExecutor(self._network)
        ours, launch = self._ours(lambda: executor.submit(images), _num_runs(num_views))
        return self._row('window', num_views, num_views, ours, launch)

    def stream(self, num_views: int, num_new: int) -> Row:
        """Time windows of a stream, whose other views were in the window before."""
        executor = WindowExecutor(self._network)
        position = 0

        def submit() -> object:
            nonlocal position
            position += num_new
            keys = range(position, position + num_views)
            images = self._images[np.arange(position, position + num_views) % len(self._images)]
            # The new ones, and what joins windows.
            wanted = range(max(num_views - num_new - _NUM_ANCHORS, 0), num_views)
            return executor.submit(images, keys=keys, wanted=wanted)

        ours, launch = self._ours(submit, _num_runs(num_views))
        return self._row('stream', num_views, num_new, ours, launch)

    def live(self, num_context: int) -> Row:
        """Time a frame that is no keyframe, beside keyframes that stay."""
        executor = WindowExecutor(self._network)
        images = self._take(num_context + 1)
        keys = [*range(num_context), None]
        wanted = range(num_context - _NUM_LIVE_ANCHORS, num_context + 1)
        ours, launch = self._ours(
            lambda: executor.submit(images, keys=keys, wanted=wanted), 60)
        return self._row('live', num_context + 1, 1, ours, launch)

    def profile(self, num_views: int, num_rows: int) -> str:
        """Say which kernels a window's time goes to."""
        executor, images = WindowExecutor(self._network), self._take(num_views)
        for _ in range(4):
            executor.run(images)
        activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
        with torch.profiler.profile(activities=activities) as profile:
            executor.run(images)
        return str(profile.key_averages().table(
            sort_by='self_device_time_total', row_limit=num_rows, max_name_column_width=160))

    def _take(self, num_views: int) -> np.ndarray:
        return self._images[np.arange(num_views) % len(self._images)]

    def _ours(
        self, submit: Callable[[], object], num_runs: int
    ) -> tuple[list[float], list[float]]:
        """Time our executor: whole windows, and until they are launched."""
        for _ in range(4):
            submit().collect()
        launches = []

        def run() -> None:
            start = time.perf_counter()
            pending = submit()
            launches.append(time.perf_counter() - start)
            pending.collect()

        return timed(run, num_runs), launches

    def _row(
        self, mode: str, num_views: int, num_new: int, ours: list[float], launch: list[float]
    ) -> Row:
        images, num_runs = self._take(num_views), _num_runs(num_views)
        eager = WindowExecutor(self._network, ExecutorOptions(small_window=0))
        upstream = float('nan')
        if self._upstream is not None:
            network, pixels = self._upstream, normalize(torch.from_numpy(images))
            upstream = _median(lambda: run_upstream(network, pixels, dtype=self._dtype), num_runs)
        config = self._network.config
        return Row(
            mode, self._model, num_views, num_new, upstream,
            _median(lambda: eager.run(images), num_runs), 1e3 * statistics.median(ours),
            1e3 * statistics.median(launch), 1e3 * float(np.quantile(ours, 0.95)),
            1e3 * floor_seconds(config, num_views, self._size))


def _num_runs(num_views: int) -> int:
    return 20 if num_views <= 32 else 5 if num_views <= 100 else 2


def _median(run: Callable[[], object], num_runs: int) -> float:
    """Return the median of some runs [ms], after two to warm up."""
    for _ in range(2):
        run()
    return 1e3 * statistics.median(timed(run, num_runs))


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Measure everything that is asked for."""
    size = (options.size[0], options.size[1])
    for model in options.models:
        speed = Speed(model, size, with_upstream='upstream' in options.implementations)
        for num_views in options.views:
            yield speed.window(num_views)
        for num_views, num_new in options.streams:
            yield speed.stream(num_views, num_new)
        for num_context in options.live:
            yield speed.live(num_context)
        for num_views in options.profile:
            sys.stdout.write(f'{model}, {num_views} views\n{speed.profile(num_views, 28)}\n')
        del speed
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def plot(measured: Sequence[Row], path: Path) -> None:
    """Draw the time of windows over their views."""
    figure, axis = pyplot.subplots(figsize=(7, 5))
    for i, model in enumerate(dict.fromkeys(row.model for row in measured)):
        windows = [row for row in measured if (row.model, row.mode) == (model, 'window')]
        for name, style in (('upstream_ms', ':'), ('ms', '-'), ('floor_ms', '--')):
            axis.plot(
                [row.views for row in windows], [getattr(row, name) for row in windows], style,
                color=f'C{i}', marker='.', label=f'{model}, {name[:-3]}')
    axis.set(xlabel='views in the window', ylabel='time [ms]', xscale='log', yscale='log')
    axis.grid(visible=True, alpha=0.3)
    axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def pair(text: str) -> tuple[int, int]:
    """Read VIEWS/NEW."""
    views, _, new = text.partition('/')
    return int(views), int(new)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write JSON and the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--models', nargs='+', choices=MODELS,
                        default=['da3-small', 'da3-base', 'da3-large', 'da3-giant'])
    parser.add_argument('--views', nargs='*', type=int, default=[1, 8, 12, 32, 100, 300])
    parser.add_argument('--streams', nargs='*', type=pair, default=[(12, 4), (32, 16)],
                        metavar='VIEWS/NEW')
    parser.add_argument('--live', nargs='*', type=int, default=[4, 8], metavar='CONTEXT')
    parser.add_argument('--profile', nargs='*', type=int, default=[], metavar='VIEWS')
    parser.add_argument('--size', nargs=2, type=int, default=[280, 504], metavar=('H', 'W'))
    parser.add_argument('--implementations', nargs='+', choices=['ours', 'upstream'],
                        default=['ours', 'upstream'])
    parser.add_argument('--threads', type=int, help='of torch on the CPU')
    parser.add_argument('--out', type=Path, default=Path('out'))
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.threads:
        torch.set_num_threads(options.threads)
    device = choose_device()
    reduce_fragmentation()
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else 'CPU'
    sys.stdout.write(f'{name}, torch {torch.__version__}, {options.size[1]}x{options.size[0]}\n')
    sys.stdout.write('| ' + ' | '.join(field.name for field in fields(Row)) + ' |\n')
    sys.stdout.write('|---' * len(fields(Row)) + '|\n')
    measured = []
    for row in rows(options):
        measured.append(row)
        cells = [f'{cell:.2f}' if isinstance(cell, float) else str(cell) for cell in astuple(row)]
        sys.stdout.write('| ' + ' | '.join(cells) + ' |\n')
        sys.stdout.flush()
        (options.out / 'speed.json').write_text(
            json.dumps([asdict(row) for row in measured], indent=1))
    plot(measured, options.out / 'speed.png')
    return 0


if __name__ == '__main__':
    sys.exit(main())
