# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The table of what this machine's GPU can do: ``plan``."""

import argparse
from collections.abc import Sequence
import sys

from da3_ros.errors import Da3Error, MemoryBudgetError
from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.calibration import CalibrationCache, CalibrationKey
from da3_ros.inference.device import (
    choose_device,
    choose_dtype,
    is_out_of_memory,
    reduce_fragmentation,
)
from da3_ros.inference.executor import WindowExecutor
from da3_ros.inference.memory_guard import (
    calibrate_where_it_fits,
    frugal_options,
    MemoryLimits,
    usable_bytes,
)
from da3_ros.inference.memory_model import Calibration, WindowModel
from da3_ros.inference.memory_planner import Demand, Plan, plan_window
from da3_ros.inference.placement import place
from da3_ros.model import build_network, MODELS
import torch

_GIB = 2.0**30
_DEFAULT_MODELS = ('da3-small', 'da3-base', 'da3-large', 'da3-giant', 'da3nested-giant-large')


def parse_size(text: str) -> tuple[int, int]:
    """
    Read WIDTHxHEIGHT.

    :returns: height and width [px].
    """
    width, _, height = text.partition('x')
    return int(height), int(width)


def probe_model(
    name: str,
    image_size: tuple[int, int],
    device: torch.device,
    *,
    cache: CalibrationCache,
    dtype: torch.dtype | None = None,
    options: ExecutorOptions | None = None,
) -> WindowModel:
    """
    Find out what windows of a variant cost on a GPU; neither depends on the weights' values.

    :param name: of the variant.
    :param image_size: height and width [px].
    :param device: the GPU.
    :param cache: of calibrations.
    :param dtype: of the backbone's matrices; None: by the device.
    :param options: of the executor; None: the default ones.
    :raises MemoryBudgetError: if a few views of it do not fit.
    """
    dtype = choose_dtype(device) if dtype is None else dtype
    options = ExecutorOptions() if options is None else options

    def probe() -> Calibration:
        reduce_fragmentation()
        network = build_network(name, device='meta')
        # Before there is memory for them: twice as much is not there on small GPUs.
        network.set_compute_dtype(dtype)
        network.to_empty(device=device)
        for weight in network.parameters():
            torch.nn.init.normal_(weight, std=0.02)
        place(network, device, with_rays=False)
        ways = (options, frugal_options(options, image_size))
        executors = (WindowExecutor(network, way) for way in ways)
        return calibrate_where_it_fits(network, executors, image_size)

    key = CalibrationKey.of(device, name, image_size, dtype, options)
    calibration = None
    try:
        calibration = cache.get(key, probe)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    finally:
        torch.cuda.empty_cache()
    if calibration is None:
        raise MemoryBudgetError("the weights do not fit the GPU's free memory")
    return WindowModel(MODELS[name], image_size, dtype, options, calibration)


def build_parser() -> argparse.ArgumentParser:
    """Describe the arguments."""
    parser = argparse.ArgumentParser(
        prog='plan', description='How many views fit this GPU, and how long a window takes.'
    )
    parser.add_argument('--models', nargs='+', choices=MODELS, default=_DEFAULT_MODELS)
    parser.add_argument(
        '--sizes', nargs='+', type=parse_size, default=[(280, 504), (378, 504)],
        metavar='WIDTHxHEIGHT', help='process resolution, multiples of 14 (504x280)',
    )
    parser.add_argument('--views', type=int, default=0, help='views wanted; 0: as many as allowed')
    parser.add_argument('--max-latency-s', type=float, help='longest inference of a window')
    parser.add_argument('--reserve-mib', type=int, default=MemoryLimits().reserve_mib)
    return parser


def row(plan: Plan) -> str:
    """Write a plan as a row of the table."""
    height, width = plan.image_size
    cells = (
        plan.model, f'{width}x{height}', str(plan.num_views), f'{plan.peak_bytes / _GIB:.2f}',
        f'{plan.seconds:.2f}', plan.limited_by,
    )
    return '| ' + ' | '.join(cells) + ' |'


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    options = build_parser().parse_args(arguments)
    device = choose_device()
    if device.type != 'cuda':
        sys.stderr.write('no GPU that torch can use: there is nothing to plan\n')
        return 1
    budget = usable_bytes(device, MemoryLimits(options.reserve_mib))
    name, dtype = torch.cuda.get_device_name(device), choose_dtype(device)
    sys.stdout.write(
        f'{name}, {budget / _GIB:.1f} GiB to be had, {dtype}, torch {torch.__version__}\n'
    )
    sys.stdout.write('| model | size | views | GiB | s | limited by |\n' + '|---' * 6 + '|\n')
    demand = Demand(options.views, 1, options.max_latency_s)
    cache = CalibrationCache()
    for model in options.models:
        for size in options.sizes:
            try:
                window_model = probe_model(model, size, device, cache=cache)
                sys.stdout.write(row(plan_window(window_model, demand, budget)) + '\n')
            except Da3Error as error:
                sys.stdout.write(f'| {model} | {size[1]}x{size[0]} | 0 | - | - | {error} |\n')
            sys.stdout.flush()
    return 0


if __name__ == '__main__':
    sys.exit(main())
