# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The table of what this machine can do: ``plan``."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
import sys

from da3_ros.errors import Da3Error, MemoryBudgetError
from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.calibration import calibrate, CalibrationCache, CalibrationKey
from da3_ros.inference.device import (
    choose_devices,
    choose_dtype,
    is_out_of_memory,
    reduce_fragmentation,
)
from da3_ros.inference.executor import WindowExecutor
from da3_ros.inference.host_plan import calibrate_on_host, usable_ram_bytes
from da3_ros.inference.memory_guard import frugal_options, MemoryLimits, usable_bytes
from da3_ros.inference.memory_model import Calibration, WindowModel
from da3_ros.inference.memory_planner import (
    DEFAULT_MAX_LATENCY_S,
    Demand,
    Plan,
    plan_window,
)
from da3_ros.inference.placement import place
from da3_ros.model import build_network, MODELS, Network
from da3_ros.model.config import PATCH_SIZE
import torch

_GIB = 2.0**30
_MODELS_ON_HOST = ('da3-tiny', 'da3-small', 'da3-base')
_MODELS_ON_GPU = ('da3-small', 'da3-base', 'da3-large', 'da3-giant', 'da3nested-giant-large')


def parse_size(text: str) -> tuple[int, int]:
    """
    Read WIDTHxHEIGHT.

    :returns: height and width [px].
    :raises ArgumentTypeError: if that is no size of a view.
    """
    width, _, height = text.partition('x')
    try:
        size = int(height), int(width)
    except ValueError:
        size = 0, 0
    if min(size) < PATCH_SIZE or any(side % PATCH_SIZE for side in size):
        raise argparse.ArgumentTypeError(
            f'got {text!r}, expected WIDTHxHEIGHT in multiples of {PATCH_SIZE}, as 504x280')
    return size


def parse_devices(text: str) -> tuple[torch.device, ...]:
    """
    Read what ``choose_devices`` takes.

    :raises ArgumentTypeError: if there are no such devices.
    """
    try:
        return choose_devices(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def probe_model(
    name: str,
    image_size: tuple[int, int],
    device: torch.device,
    *,
    cache: CalibrationCache,
    dtype: torch.dtype | None = None,
    options: ExecutorOptions | None = None,
    with_rays: bool = False,
    with_encoder: bool = False,
) -> WindowModel:
    """
    Find out what windows of a variant cost on a GPU; neither depends on the weights' values.

    :param name: of the variant.
    :param image_size: height and width [px].
    :param device: the GPU.
    :param cache: of calibrations.
    :param dtype: of the backbone's matrices; None: by the device.
    :param options: of the executor; None: the default ones.
    :param with_rays: whether cameras come from the rays.
    :param with_encoder: whether windows come with poses.
    :returns: of windows in large pieces, or in small ones if only those fit.
    :raises MemoryBudgetError: if a few views of it do not fit.
    """
    dtype = choose_dtype(device) if dtype is None else dtype
    # What windows of few views may take on top is given back where it is short.
    options = replace(ExecutorOptions() if options is None else options, small_window=0)
    with_encoder = with_encoder and MODELS[name].has_cameras
    networks: list[Network] = []

    def probe(way: ExecutorOptions) -> Calibration:
        if not networks:
            reduce_fragmentation()
            network = _build_random(name, device, dtype)
            place(network, device, with_rays=with_rays, with_encoder=with_encoder)
            networks.append(network)
        executor = WindowExecutor(networks[0], way, use_ray_pose=with_rays)
        return calibrate(networks[0], executor, image_size)

    for way in (options, frugal_options(options, image_size)):
        key = CalibrationKey.of(
            device, name, image_size, dtype, way, with_rays=with_rays, with_encoder=with_encoder)
        calibration = None
        try:
            calibration = cache.get(key, partial(probe, way))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        if calibration is not None:
            networks.clear()
            torch.cuda.empty_cache()
            return WindowModel(
                MODELS[name], image_size, dtype, way, calibration, with_rays, key.is_fused)
        torch.cuda.empty_cache()
    what = 'a few views do' if networks else 'the weights do'
    networks.clear()
    torch.cuda.empty_cache()
    raise MemoryBudgetError(f"{what} not fit the GPU's free memory")


def probe_model_on_host(name: str, image_size: tuple[int, int]) -> WindowModel:
    """
    Find out what windows of a variant cost on this machine's processor.

    :param name: of the variant.
    :param image_size: height and width [px].
    """
    network = _build_random(name, torch.device('cpu'), torch.float32)
    return calibrate_on_host(network, WindowExecutor(network), image_size)


def _build_random(name: str, device: torch.device, dtype: torch.dtype) -> Network:
    network = build_network(name, device='meta')
    # Before there is memory for them: twice as much is not there on small GPUs.
    network.set_compute_dtype(dtype)
    network.to_empty(device=device)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.02)
    return network


def build_parser() -> argparse.ArgumentParser:
    """Describe the arguments."""
    parser = argparse.ArgumentParser(
        prog='plan', description='How many views fit this machine, how long a window takes, and '
        'how many keyframes a second it keeps up with.'
    )
    parser.add_argument('--models', nargs='+', choices=MODELS, help='by default what may fit')
    parser.add_argument(
        '--sizes', nargs='+', type=parse_size, default=[(280, 504), (378, 504)],
        metavar='WIDTHxHEIGHT', help='process resolution, multiples of 14 (504x280)',
    )
    parser.add_argument('--views', type=int, default=0, help='views wanted; 0: as many as allowed')
    parser.add_argument(
        '--max-latency-s', type=float, default=DEFAULT_MAX_LATENCY_S,
        help='longest inference of a window; 0: no limit',
    )
    parser.add_argument(
        '--device', type=parse_devices, default=choose_devices(None), metavar='NAME',
        help='as model.device: several GPUs share windows ("cuda:0,1", "all"); by default one')
    parser.add_argument('--reserve-mib', type=int, default=MemoryLimits().reserve_mib)
    return parser


def row(plan: Plan) -> str:
    """Write a plan as a row of the table."""
    height, width = plan.image_size
    cells = (
        plan.model, f'{width}x{height}', str(plan.num_devices), str(plan.num_views),
        f'{plan.peak_bytes / _GIB:.2f}', f'{plan.seconds:.2f}', f'{plan.sustained_hz:.1f}',
        plan.limited_by,
    )
    return '| ' + ' | '.join(cells) + ' |'


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    options = build_parser().parse_args(arguments)
    device, limits = options.device[0], MemoryLimits(options.reserve_mib)
    is_gpu = device.type == 'cuda'
    budget = min(usable_bytes(other, limits) for other in options.device) if is_gpu else 0.0
    ram = usable_ram_bytes()
    name = torch.cuda.get_device_name(device) if is_gpu else f'{torch.get_num_threads()} threads'
    free = budget if is_gpu else ram
    sys.stdout.write(
        f'{name}, {free / _GIB:.1f} GiB to be had, {choose_dtype(*options.device)}, '
        f'torch {torch.__version__}\n'
        '| model | size | devices | views | GiB | s | keyframes/s | limited by |\n'
        + '|---' * 8 + '|\n')
    cache = CalibrationCache()
    for model in options.models or (_MODELS_ON_GPU if is_gpu else _MODELS_ON_HOST):
        demand = Demand(
            options.views, 1, options.max_latency_s or None,
            useful_views=None if options.views else MODELS[model].useful_views)
        for size in options.sizes:
            try:
                if is_gpu:
                    cost = probe_model(model, size, device, cache=cache)
                else:
                    cost = probe_model_on_host(model, size)
                    budget = ram / len(options.device) + cost.calibration.fixed_bytes
                # What several exchange is measured where they run.
                cost = replace(cost, num_devices=len(options.device))
                sys.stdout.write(row(plan_window(cost, demand, budget)) + '\n')
            except Da3Error as error:
                sys.stdout.write(
                    f'| {model} | {size[1]}x{size[0]} | {len(options.device)} | 0 | - | - | - | '
                    f'{error} |\n')
            sys.stdout.flush()
    return 0


if __name__ == '__main__':
    sys.exit(main())
