# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Windows in limited GPU memory, predicted and run."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
import time

from da3_ros.errors import MemoryBudgetError
from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.calibration import CalibrationCache
from da3_ros.inference.device import choose_dtype
from da3_ros.inference.executor import WindowExecutor
from da3_ros.inference.memory_guard import MemoryGuard, MemoryLimits, usable_bytes
from da3_ros.inference.placement import place
import numpy as np
import torch
from torch import Tensor
from upstream_package import build_random

GIB = 2**30

# Neither memory nor time depends on what the images show: the same ones come again and again.
_NUM_IMAGES = 32
# Nothing is left to others.
_LIMITS = MemoryLimits(reserve_mib=0)
# For a window that is to fit beside other memory: what is allocated in whole pages.
_ROOM = 1.01


@dataclass(frozen=True)
class WindowRun:
    """
    One window, predicted and run.

    :param model: name of the variant.
    :param size: height and width [px].
    :param num_views: of the window.
    :param predicted_gib: peak.
    :param measured_gib: peak that torch's allocator handed out.
    :param held_gib: peak that it held.
    :param predicted_s: time.
    :param measured_s: time, of a first run.
    """

    model: str
    size: tuple[int, int]
    num_views: int
    predicted_gib: float
    measured_gib: float
    held_gib: float
    predicted_s: float
    measured_s: float

    @property
    def error(self) -> float:
        """Return by which share the prediction is above the measured peak."""
        return self.predicted_gib / self.measured_gib - 1.0


@dataclass(frozen=True)
class LimitRun:
    """
    The largest window within a limit.

    :param model: name of the variant.
    :param size: height and width [px].
    :param limit_gib: of torch's allocator.
    :param planned_views: that the whole limit allows; 0: not even one.
    :param window: that was run, with all of the limit or with what other memory left of it; None
        where nothing was.
    :param error: why nothing was run.
    """

    model: str
    size: tuple[int, int]
    limit_gib: float
    planned_views: int = 0
    window: WindowRun | None = None
    error: str = ''

    @property
    def is_whole(self) -> bool:
        """Return whether a window had the limit for itself."""
        return self.window is not None and self.window.num_views == self.planned_views


def make_guard(model: str, device: torch.device, cache: Path) -> MemoryGuard:
    """Put a network with random weights behind a guard that leaves nothing to others."""
    network = build_random(model, device)
    network.set_compute_dtype(choose_dtype(device))
    place(network, device, with_rays=False)

    def make_executor(options: ExecutorOptions) -> WindowExecutor:
        return WindowExecutor(network, options)

    torch.cuda.empty_cache()
    return MemoryGuard(
        network, make_executor, ExecutorOptions(small_window=0), _LIMITS,
        cache=CalibrationCache(cache),
    )


def make_images(num_views: int, size: tuple[int, int]) -> np.ndarray:
    """Make (N, H, W, 3) uint8 images."""
    rng = np.random.default_rng(num_views)
    some = rng.integers(0, 256, (min(num_views, _NUM_IMAGES), *size, 3), dtype=np.uint8)
    return some[np.arange(num_views) % len(some)]


def run_window(
    guard: MemoryGuard, model: str, size: tuple[int, int], num_views: int
) -> WindowRun:
    """Run one window and hold it against its prediction."""
    cost = guard.window_model(size)
    images = make_images(num_views, size)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    # What the process holds besides, such as workspaces that were there before the calibration;
    # the guard takes it off its budget.
    others = max(torch.cuda.memory_allocated() - cost.calibration.fixed_bytes, 0)
    start = time.perf_counter()
    guard.run(images, None)
    seconds = time.perf_counter() - start
    return WindowRun(
        model, size, num_views, (cost.peak_bytes(num_views) + others) / GIB,
        torch.cuda.max_memory_allocated() / GIB, torch.cuda.max_memory_reserved() / GIB,
        cost.seconds(num_views), seconds,
    )


def run_within(
    guard: MemoryGuard, model: str, size: tuple[int, int], limit_gib: float,
    device: torch.device, *, seconds: float, whole_seconds: float,
) -> LimitRun:
    """
    Run the largest window within a limit.

    Should that take too long, other memory first takes as much of the limit as makes the largest
    window one that does not.

    :param seconds: that a window takes which shares its limit.
    :param whole_seconds: that a window may take which has the limit for itself.
    """
    cost = guard.window_model(size)
    with limited(device, limit_gib * GIB):
        try:
            planned = guard.plan(size).num_views
        except MemoryBudgetError as error:
            return LimitRun(model, size, limit_gib, error=str(error))
        others = None
        if cost.seconds(planned) > max(seconds, whole_seconds):
            in_time = max(cost.max_views_within(seconds), 1)
            usable = usable_bytes(device, _LIMITS)
            others = take(device, usable - _ROOM * cost.peak_bytes(in_time))
        try:
            num_views = guard.plan(size).num_views
            window = run_window(guard, model, size, num_views)
            return LimitRun(model, size, limit_gib, planned, window)
        except Exception as error:
            return LimitRun(model, size, limit_gib, planned, error=repr(error))
        finally:
            del others


@contextmanager
def limited(device: torch.device, num_bytes: float) -> Iterator[None]:
    """Limit what torch's allocator may hold."""
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(num_bytes / total, device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
        torch.cuda.empty_cache()


def take(device: torch.device, num_bytes: float) -> Tensor:
    """Take memory, or as much of it as there is; it is free again when the result is deleted."""
    while num_bytes >= 1.0:
        try:
            return torch.empty(int(num_bytes), dtype=torch.uint8, device=device)
        except torch.cuda.OutOfMemoryError:
            num_bytes *= 0.7
    return torch.empty(0, device=device)
