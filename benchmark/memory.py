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
Memory and time of windows of growing size, upstream's package beside ours.

Random weights, random images: neither memory nor time depends on their values. Both start from
images on the host and end with depth on the host. Peak is what torch's allocator handed out.
"""

import argparse
from collections.abc import Callable, Sequence
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
from da3_ros.inference.preprocessing import normalize
from da3_ros.model import MODELS
import numpy as np
import torch
from upstream import build_random, build_upstream, copy_weights, run_upstream

_GIB = 2.0**30


@dataclass(frozen=True)
class Measurement:
    """
    One window size of one implementation.

    :param implementation: 'ours', 'ours, features on host', 'upstream'.
    :param model: name of the variant.
    :param num_views: in the window.
    :param seconds: median of the timed runs, or None where it failed.
    :param peak_gib: most memory allocated in a run, weights included.
    :param reserved_gib: most memory that the allocator held.
    :param error: why it failed.
    """

    implementation: str
    model: str
    num_views: int
    seconds: float | None = None
    peak_gib: float | None = None
    reserved_gib: float | None = None
    error: str = ''


def random_images(num_views: int, height: int, width: int) -> np.ndarray:
    """Make (N, H, W, 3) uint8 images."""
    rng = np.random.default_rng(num_views)
    return rng.integers(0, 256, (num_views, height, width, 3), dtype=np.uint8)


def measure(
    implementation: str, model: str, num_views: int, run: Callable[[], object], num_runs: int
) -> Measurement:
    """Run a few times to warm up, then take the median and the peak."""
    on_gpu = torch.cuda.is_available()
    try:
        if on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        run()
        peak = torch.cuda.max_memory_allocated() / _GIB if on_gpu else None
        reserved = torch.cuda.max_memory_reserved() / _GIB if on_gpu else None
        if num_runs > 1:
            run()
            run()
        seconds = []
        for _ in range(num_runs):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
    except (RuntimeError, Da3Error) as error:
        gc.collect()
        return Measurement(implementation, model, num_views, error=str(error).splitlines()[0])
    median = statistics.median(seconds)
    return Measurement(implementation, model, num_views, median, peak, reserved)


def measure_ours(
    model: str, views: Sequence[int], size: tuple[int, int], *, features: str = 'device'
) -> list[Measurement]:
    """Measure our executor."""
    device = choose_device()
    network = build_random(model, device)
    network.set_compute_dtype(choose_dtype(device))
    executor = WindowExecutor(network, ExecutorOptions(features=features))
    name = 'ours' if features == 'device' else 'ours, features on host'
    results = []
    for num_views in views:
        images = random_images(num_views, *size)
        num_runs = 5 if num_views <= 32 else 2 if num_views <= 100 else 1
        results.append(
            measure(name, model, num_views, lambda images=images: executor.run(images), num_runs)
        )
        show(results[-1])
    return results


def measure_upstream(
    model: str, views: Sequence[int], size: tuple[int, int]
) -> list[Measurement]:
    """Measure upstream's forward under its own autocast."""
    device = choose_device()
    network = build_upstream(model, device)
    dtype = choose_dtype(device)
    results = []
    for num_views in views:
        images = normalize(torch.from_numpy(random_images(num_views, *size)))
        num_runs = 5 if num_views <= 32 else 2 if num_views <= 100 else 1

        def run(images: torch.Tensor = images) -> torch.Tensor:
            return run_upstream(network, images, dtype=dtype)

        results.append(measure('upstream', model, num_views, run, num_runs))
        show(results[-1])
    return results
