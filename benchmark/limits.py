# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
What the planner promises, on one GPU: every planned window runs, and memory never runs out.

Random weights and images. For every model: windows of random size, predicted and measured; the
largest window within each limit on torch's allocator; windows while other memory comes. Ends by
itself within the given time, and says what it did not come to.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict
import gc
import json
from pathlib import Path
import sys
import tempfile
import time

from da3_ros.inference.device import choose_device, choose_dtype, reduce_fragmentation
from da3_ros.inference.memory_guard import MemoryGuard
from da3_ros.model import MODELS
from limit_tables import limit_table, row, summarize, Trial
from limit_trials import LimitRun, make_guard, run_window, run_within, WindowRun
from memory_stress import Stress, StressRun
import numpy as np
import torch

SIZES = ((280, 504), (378, 504), (504, 504), (154, 504), (504, 280))
LIMITED_SIZES = SIZES[:3]

# The largest first: what the others leave of their time goes to the small and fast ones.
_MODELS = (
    'da3-large', 'da3-giant', 'da3nested-giant-large', 'da3metric-large', 'da3mono-large',
    'da3-base', 'da3-small', 'da3-tiny',
)
# Shares of a model's time behind which its parts end.
_DRAWS_UNTIL, _LIMITS_UNTIL = 0.3, 0.6
# Share of all time for windows that have a whole limit for themselves, and which ones they are:
# their time grows with the square of what fits.
_WHOLE_SHARE = 0.35
_LARGE_MODELS = ('da3-large', 'da3-giant', 'da3nested-giant-large', 'da3metric-large')
_WHOLE = {8.0: _LARGE_MODELS, 6.0: _LARGE_MODELS, 4.0: _MODELS}


class Limits:
    """
    All trials of all models.

    :param options: of the command line.
    :param device: the GPU.
    :param cache: file for calibrations.
    """

    def __init__(self, options: argparse.Namespace, device: torch.device, cache: Path) -> None:
        self._options = options
        self._device = device
        self._cache = cache
        self._rng = np.random.default_rng(options.seed)
        self._end = time.monotonic() + options.seconds
        self._whole_s = _WHOLE_SHARE * options.seconds
        self._num_stress = 0

    def run(self) -> Iterator[Trial]:
        """Run the models one after the other."""
        names = self._options.models
        for i, name in enumerate(names):
            if time.monotonic() > self._end - max(self._whole_s, 0.0):
                return
            guard = make_guard(name, self._device, self._cache)
            guard.window_model(SIZES[0])
            # Kernels are compiled by now, which is not to be taken from the first model's trials.
            start, left = time.monotonic(), len(names) - i
            share = (self._end - start - max(self._whole_s, 0.0)) / left
            yield from self._draws(guard, name, start + _DRAWS_UNTIL * share)
            whole_before = self._whole_s
            yield from self._limits(guard, name, start + _LIMITS_UNTIL * share)
            start += whole_before - self._whole_s
            count = -(-(self._options.stress - self._num_stress) // left)
            yield from self._stress(guard, name, count, start + share)
            del guard
            gc.collect()
            torch.cuda.empty_cache()

    def _draws(self, guard: MemoryGuard, name: str, until: float) -> Iterator[WindowRun]:
        """Run windows of random size and resolution."""
        for _ in range(self._options.draws):
            if time.monotonic() > until:
                return
            size = SIZES[self._rng.integers(len(SIZES))]
            most = guard.window_model(size).max_views_within(self._options.draw_seconds)
            num_views = int(np.exp(self._rng.uniform(0.0, np.log(max(most, 2)))))
            yield run_window(guard, name, size, num_views)

    def _limits(self, guard: MemoryGuard, name: str, until: float) -> Iterator[LimitRun]:
        """Run the largest window of each size within each limit."""
        for size in LIMITED_SIZES:
            for limit_gib in self._options.limits:
                start = time.monotonic()
                if start > until:
                    return
                is_to_be_whole = size == SIZES[0] and name in _WHOLE.get(limit_gib, ())
                whole_s = min(self._whole_s, 0.7 * (self._end - start)) if is_to_be_whole else 0.0
                run = run_within(
                    guard, name, size, limit_gib, self._device,
                    seconds=self._options.limit_seconds, whole_seconds=whole_s,
                )
                if is_to_be_whole:
                    seconds = time.monotonic() - start
                    self._whole_s -= seconds
                    until += seconds
                yield run

    def _stress(
        self, guard: MemoryGuard, name: str, count: int, until: float
    ) -> Iterator[StressRun]:
        """Take memory away, at each size in turn."""
        sizes = self._rng.permutation(len(SIZES))
        done = 0
        for i, which in enumerate(sizes):
            now, left = time.monotonic(), len(sizes) - i
            stress = Stress(
                guard, name, SIZES[which], max_seconds=self._options.stress_seconds,
                max_limit_gib=max(self._options.limits), device=self._device, rng=self._rng,
            )
            part = -(-(count - done) // left)
            for run in stress.run(part, now + (until - now) / left):
                done += 1
                self._num_stress += 1
                yield run


def build_parser() -> argparse.ArgumentParser:
    """Describe the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seconds', type=float, default=300.0, help='for everything')
    parser.add_argument('--models', nargs='+', choices=MODELS, default=list(_MODELS))
    parser.add_argument('--limits', nargs='*', type=float, default=[8.0, 6.0, 4.0, 12.0, 24.0],
                        help='[GiB]')
    parser.add_argument('--draws', type=int, default=9, help='of each model')
    parser.add_argument('--draw-seconds', type=float, default=0.3, help='of the largest window')
    parser.add_argument('--limit-seconds', type=float, default=0.15,
                        help='of a window that shares its limit')
    parser.add_argument('--stress', type=int, default=1000, help='draws of all models together')
    parser.add_argument('--stress-seconds', type=float, default=0.04, help='of the largest window')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, default=Path('out'))
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and keep every trial as one line of JSON."""
    options = build_parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    device = choose_device()
    reduce_fragmentation()
    write = sys.stdout.write
    name = torch.cuda.get_device_name(device)
    write(f'{name}, torch {torch.__version__}, {choose_dtype(device)}\n')
    trials: list[Trial] = []
    with tempfile.TemporaryDirectory() as folder, (options.out / 'limits.jsonl').open('w') as log:
        limits = Limits(options, device, Path(folder) / 'calibration.json')
        for trial in limits.run():
            trials.append(trial)
            log.write(json.dumps({'kind': type(trial).__name__, **asdict(trial)}) + '\n')
            log.flush()
            if not isinstance(trial, StressRun) or trial.error:
                write(row(trial) + '\n')
                sys.stdout.flush()
    write('\n'.join([*limit_table(trials), *summarize(trials)]) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
