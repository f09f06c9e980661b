# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
One window over several GPUs: time and memory beside those of one, and the largest window.

Random weights, random images: neither time nor memory depends on their values. For every number
of GPUs the processes are started by ``torchrun``; each runs its share of the same windows, from
images on the host to maps on the host. ``engine_s`` is what the node sees: the same through the
engine, whose processes get images and give maps by shared memory.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, fields
import json
import os
from pathlib import Path
import statistics
import subprocess
import sys
import time

from da3_ros.errors import Da3Error
from da3_ros.inference import InferenceEngine
from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.device import choose_dtype, reduce_fragmentation
from da3_ros.inference.device_runner import DeviceRunner, RunnerSettings
from da3_ros.inference.executor import WindowExecutor
from da3_ros.inference.memory_guard import frugal_options, MemoryLimits
from da3_ros.inference.memory_planner import Demand
from da3_ros.inference.placement import place
from da3_ros.inference.sharing import Peers
from da3_ros.inference.team.process_peers import join, ProcessPeers
from da3_ros.model import build_network, MODELS
import numpy as np
import torch

_GIB = 2.0**30


@dataclass(frozen=True)
class Row:
    """
    One case.

    :param model: name of the variant.
    :param gpus: that share the window.
    :param kind: 'window', 'frugal' (small pieces, a few heads at a time) or 'largest' at a limit.
    :param views: of the window.
    :param s: median time.
    :param gib: most that torch held on a GPU.
    :param engine_s: median time through the engine.
    """

    model: str
    gpus: int
    kind: str
    views: int
    s: float
    gib: float
    engine_s: float = float('nan')


class Member:
    """
    One of the processes.

    :param options: of the command.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        rank, self._num_gpus = int(os.environ['RANK']), int(os.environ['WORLD_SIZE'])
        self._is_gpu = options.kind == 'cuda'
        self._device = torch.device('cuda', rank) if self._is_gpu else torch.device('cpu')
        self._size = tuple(options.size)
        self._options = options
        join(self._device, None, rank=rank, num_devices=self._num_gpus, patience_s=600.0)
        # One GPU does without all of it.
        several = ProcessPeers(self._device)
        self._peers = several if self._num_gpus > 1 else Peers()
        self._meet = several.agree
        self.is_first = rank == 0

    def rows(self) -> Iterator[Row]:
        """Measure everything."""
        for model in self._options.models:
            network = build_network(model)
            network.set_compute_dtype(choose_dtype(self._device))
            place(network, self._device, with_rays=False)
            plain = ExecutorOptions()
            for kind, options in (
                ('window', plain),
                ('frugal', frugal_options(
                    plain, self._size, self._peers.frugal_head_groups)),
            ):
                executor = WindowExecutor(network, options, peers=self._peers)
                for num_views in self._options.views:
                    yield self._measure(model, kind, executor, num_views)
            for num_views in self._options.profile:
                self._profile(WindowExecutor(network, peers=self._peers), model, num_views)
            del network, executor
            if self._options.limit_gib > 0.0:
                yield self._largest(model)

    def _images(self, num_views: int) -> np.ndarray:
        random = np.random.default_rng(0)
        some = random.integers(0, 256, (min(num_views, 32), *self._size, 3), dtype=np.uint8)
        return some[np.arange(num_views) % len(some)]

    def _measure(
        self, model: str, kind: str, executor: WindowExecutor | DeviceRunner, num_views: int
    ) -> Row:
        images = self._images(num_views)
        if self._is_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
        seconds = []
        for i in range(self._options.runs + 2):
            self._meet()
            start_s = time.perf_counter()
            executor.submit(images).collect()
            self._meet()
            if i >= 2:
                seconds.append(time.perf_counter() - start_s)
        peak = torch.cuda.max_memory_allocated(self._device) / _GIB if self._is_gpu else 0.0
        return Row(
            model, self._num_gpus, kind, num_views, statistics.median(seconds),
            self._peers.largest(peak))

    def _largest(self, model: str) -> Row:
        """Plan the largest window at a limit for each GPU, and run it whole."""
        if self._is_gpu:
            total = torch.cuda.get_device_properties(self._device).total_memory
            share = self._options.limit_gib * _GIB / total
            torch.cuda.set_per_process_memory_fraction(share, self._device)
        settings = RunnerSettings(choose_dtype(self._device), limits=MemoryLimits(0))
        try:
            runner = DeviceRunner(
                build_network(model), self._device, settings, self._peers)
            plan = runner.plan(self._size, Demand(min_views=1))
            return self._measure(model, 'largest', runner, plan.num_views)
        finally:
            if self._is_gpu:
                torch.cuda.set_per_process_memory_fraction(1.0, self._device)

    def _profile(self, executor: WindowExecutor, model: str, num_views: int) -> None:
        """Say which kernels the time goes to: the exchange is nccl's, beside attention."""
        images = self._images(num_views)
        for _ in range(2):
            executor.run(images)
        activities = [torch.profiler.ProfilerActivity.CPU]
        if self._is_gpu:
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        with torch.profiler.profile(activities=activities) as profile:
            executor.run(images)
        if self.is_first:
            by = 'self_device_time_total' if self._is_gpu else 'self_cpu_time_total'
            table = profile.key_averages().table(
                sort_by=by, row_limit=28, max_name_column_width=120)
            sys.stderr.write(f'{model}, {num_views} views, {self._num_gpus} GPUs\n{table}\n')


def engine_seconds(model: str, row: Row, options: argparse.Namespace) -> float:
    """Time the same window through the engine."""
    names = ','.join(f'cuda:{i}' if options.kind == 'cuda' else 'cpu' for i in range(row.gpus))
    random = np.random.default_rng(0)
    images = list(random.integers(0, 256, (row.views, *options.size, 3), dtype=np.uint8))
    engine = InferenceEngine(
        build_network(model), device=names, size=max(options.size), limits=MemoryLimits(0))
    seconds = []
    for i in range(options.runs + 2):
        start_s = time.perf_counter()
        engine.infer(images)
        if i >= 2:
            seconds.append(time.perf_counter() - start_s)
    return statistics.median(seconds)


def run_members(num_gpus: int, arguments: Sequence[str]) -> list[Row]:
    """Let ``torchrun`` start a process for each GPU, and return what they measure."""
    # After the torch of this process, whatever is installed beside it.
    command = [
        sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nnodes=1',
        f'--nproc-per-node={num_gpus}', __file__, *arguments]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return [Row(**json.loads(line)) for line in found.stdout.splitlines() if line[:1] == '{']


def build_parser() -> argparse.ArgumentParser:
    """Describe the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--models', nargs='+', choices=MODELS, default=['da3-large', 'da3-giant'])
    parser.add_argument('--gpus', nargs='+', type=int, default=[1, 2])
    parser.add_argument('--views', nargs='*', type=int, default=[32, 100, 300])
    parser.add_argument('--size', nargs=2, type=int, default=[280, 504], metavar=('H', 'W'))
    parser.add_argument('--limit-gib', type=float, default=8.0, help='for each GPU; 0: not tried')
    parser.add_argument('--profile', nargs='*', type=int, default=[], metavar='VIEWS')
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument('--kind', choices=['cuda', 'cpu'], default='cuda')
    parser.add_argument('--no-engine', action='store_true', help='without the engine')
    parser.add_argument('--out', type=Path, default=Path('out'))
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write JSON."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = build_parser().parse_args(arguments)
    reduce_fragmentation()
    if 'RANK' in os.environ:
        member = Member(options)
        for row in member.rows():
            if member.is_first:
                sys.stdout.write(json.dumps(asdict(row)) + '\n')
                sys.stdout.flush()
        torch.distributed.destroy_process_group()
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    name = torch.cuda.get_device_name() if options.kind == 'cuda' else 'CPU'
    sys.stdout.write(f'{name}, torch {torch.__version__}, {options.size[1]}x{options.size[0]}\n')
    sys.stdout.write('| ' + ' | '.join(field.name for field in fields(Row)) + ' |\n')
    sys.stdout.write('|---' * len(fields(Row)) + '|\n')
    measured = []
    for num_gpus in options.gpus:
        for row in run_members(num_gpus, arguments):
            if row.kind == 'window' and not options.no_engine:
                row = Row(**{**asdict(row), 'engine_s': _engine_or_none(row, options)})
            measured.append(row)
            cells = [f'{cell:.3f}' if isinstance(cell, float) else str(cell)
                     for cell in astuple(row)]
            sys.stdout.write('| ' + ' | '.join(cells) + ' |\n')
            sys.stdout.flush()
            (options.out / 'several_gpus.json').write_text(
                json.dumps([asdict(row) for row in measured], indent=1))
    return 0


def _engine_or_none(row: Row, options: argparse.Namespace) -> float:
    try:
        return engine_seconds(row.model, row, options)
    except Da3Error as error:
        sys.stderr.write(f'{row.model}, {row.views} views: {error}\n')
        return float('nan')


if __name__ == '__main__':
    sys.exit(main())
