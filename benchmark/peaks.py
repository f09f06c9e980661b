# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Peaks of torch's allocator over many windows, beside what a machine was calibrated with.

Random weights and images. Writes the table that test/unit/inference/test_memory_model.py holds the
memory model to.
"""

import argparse
from collections.abc import Iterator, Sequence
import csv
from dataclasses import astuple, dataclass, fields
import gc
from pathlib import Path
import sys

from da3_ros.inference.arithmetic import Arithmetic
from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.calibration import calibrate
from da3_ros.inference.device import choose_device, choose_dtype, reduce_fragmentation
from da3_ros.inference.executor import WindowExecutor
from da3_ros.inference.fused_arithmetic import choose_arithmetic
from da3_ros.inference.memory_model import WindowModel
from da3_ros.inference.placement import place
from da3_ros.model import MODELS, Network
from limit_trials import make_images
import torch
from upstream_package import build_random

_MIB = 2**20
_SIZES = ((280, 504), (504, 504), (154, 504))
WAYS = {
    'plain': ExecutorOptions(small_window=0),
    'host': ExecutorOptions(features='host', small_window=0),
    'reduced': ExecutorOptions(reduced=True, small_window=0),
    'rays': ExecutorOptions(small_window=0),
}
# So many that interpreting their maps needs most; quick where no view sees another.
_MANY_VIEWS = 600


@dataclass(frozen=True)
class Peak:
    """
    One window.

    :param model: name of the variant.
    :param way: how it ran: 'plain', features on the 'host', 'reduced' or with 'rays'.
    :param height: of the images [px].
    :param width: of the images [px].
    :param views: of the window.
    :param fixed_mib: calibrated, see ``Calibration``.
    :param head_per_view_mib: calibrated.
    :param head_of_one_mib: calibrated.
    :param peak_mib: measured.
    :param error: by which share the memory model's prediction is above it.
    """

    model: str
    way: str
    height: int
    width: int
    views: int
    fixed_mib: float
    head_per_view_mib: float
    head_of_one_mib: float
    peak_mib: float
    error: float


def measure(
    network: Network, way: str, size: tuple[int, int], views: Sequence[int], device: torch.device
) -> Iterator[Peak]:
    """Calibrate and run windows."""
    options, config = WAYS[way], network.config
    place(network, device, with_rays=way == 'rays')
    executor = WindowExecutor(network, options, use_ray_pose=way == 'rays')
    found = calibrate(network, executor, size)
    cost = WindowModel(
        config, size, choose_dtype(device), options, found, way == 'rays',
        type(choose_arithmetic(device)) is not Arithmetic)
    calibrated = (
        found.fixed_bytes / _MIB, found.head_bytes_per_view / _MIB, found.head_bytes_of_one / _MIB)
    for num_views in views:
        images = make_images(num_views, size)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        executor.run(images)
        peak = torch.cuda.max_memory_allocated(device)
        yield Peak(
            config.name, way, *size, num_views, *calibrated, peak / _MIB,
            cost.peak_bytes(num_views) / peak - 1.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--models', nargs='+', choices=MODELS, default=list(MODELS))
    parser.add_argument('--views', nargs='+', type=int, default=[1, 2, 3, 5, 8, 20, 40, 70])
    parser.add_argument('--ways', nargs='+', choices=WAYS, default=list(WAYS),
                        help='all but plain ones at one size only')
    parser.add_argument('--out', type=Path, default=Path('out'))
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    device = choose_device()
    reduce_fragmentation()
    sys.stdout.write(f'{torch.cuda.get_device_name(device)}, torch {torch.__version__}\n')
    with (options.out / 'measured_peaks.csv').open('w', newline='') as file:
        table = csv.writer(file)
        table.writerow([field.name for field in fields(Peak)][:-1])
        for name in options.models:
            network = build_random(name, device)
            network.set_compute_dtype(choose_dtype(device))
            views = options.views + ([] if network.config.has_cameras else [_MANY_VIEWS])
            ways = [way for way in options.ways if way != 'rays' or network.config.has_cameras]
            for way in ways:
                for size in _SIZES if way == 'plain' else _SIZES[:1]:
                    for peak in measure(network, way, size, views, device):
                        row = [f'{x:.1f}' if isinstance(x, float) else x for x in astuple(peak)]
                        table.writerow(row[:-1])
                        sys.stdout.write(f'{peak}\n')
            del network
            gc.collect()
            torch.cuda.empty_cache()
    return 0


if __name__ == '__main__':
    sys.exit(main())
