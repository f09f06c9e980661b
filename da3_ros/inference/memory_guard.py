# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Windows within the memory that is free: asked before, caught after.

Every window is held against the memory model and the GPU's free memory first. Should the memory
run out all the same, because another process was faster, everything is freed and the window runs
again in smaller pieces; only then does the caller hear of it, with its window untouched.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
import logging

from da3_ros.errors import MemoryBudgetError
from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.calibration import calibrate, CalibrationCache, CalibrationKey
from da3_ros.inference.chunks import Chunks
from da3_ros.inference.device import available_bytes, is_out_of_memory
from da3_ros.inference.executor import WindowExecutor
from da3_ros.inference.memory_model import Calibration, WindowModel
from da3_ros.inference.memory_planner import Demand, Plan, plan_window
from da3_ros.inference.placement import main_branch
from da3_ros.model.build import Network
from da3_ros.model.camera_head import Cameras
from da3_ros.model.network import NetworkOutput
import numpy as np
from numpy.typing import NDArray
import torch

_logger = logging.getLogger(__name__)

_MIB = 2**20
# What the formula may miss, and pages that are only partly free.
_USABLE_SHARE = 0.97


@dataclass(frozen=True)
class MemoryLimits:
    """
    What windows may take.

    :param reserve_mib: left to others on the GPU.
    :param max_latency_s: longest inference of a window, or None for any.
    """

    reserve_mib: int = 256
    max_latency_s: float | None = None


@dataclass(frozen=True, eq=False)
class _Way:
    """One way to run windows, and what it costs."""

    executor: WindowExecutor
    model: WindowModel


class MemoryGuard:
    """
    Runs windows of a network on a GPU without running out of its memory.

    :param network: on its GPU and in its compute dtype.
    :param make_executor: makes an executor of the network with given options.
    :param options: of the executor.
    :param limits: what windows may take.
    :param cache: of calibrations; None: the user's.
    """

    def __init__(
        self,
        network: Network,
        make_executor: Callable[[ExecutorOptions], WindowExecutor],
        options: ExecutorOptions,
        limits: MemoryLimits,
        *,
        cache: CalibrationCache | None = None,
    ) -> None:
        self._network = network
        self._device = main_branch(network).backbone.pretrained.pos_embed.device
        self._make_executor = make_executor
        self._options = options
        self._limits = limits
        self._cache = CalibrationCache() if cache is None else cache
        self._ways: tuple[_Way, ...] = ()
        self._num_shortages = 0

    @property
    def num_shortages(self) -> int:
        """Return how often a window was refused or ran out of memory."""
        return self._num_shortages

    def run(
        self, images: NDArray[np.uint8], cameras: Cameras | None,
        focal_px: NDArray[np.float64] | None = None,
    ) -> NetworkOutput:
        """
        Predict one window, see ``WindowExecutor.run``.

        :raises MemoryBudgetError: if it does not fit; nothing has changed then.
        """
        num_views = len(images)
        ways = self._ways_for((images.shape[1], images.shape[2]))
        budget = self._budget_bytes(ways[0].model)
        fitting = [way for way in ways if way.model.peak_bytes(num_views) <= budget]
        if not fitting:
            self._num_shortages += 1
            fits = max(way.model.max_views(budget) for way in ways)
            needed = min(way.model.peak_bytes(num_views) for way in ways)
            raise MemoryBudgetError(
                f'{num_views} views need {needed / _MIB:.0f} MiB of GPU memory, '
                f'{budget / _MIB:.0f} MiB are to be had: {fits} views fit',
                max_views=fits,
            )
        for way in fitting:
            try:
                return way.executor.run(images, cameras, focal_px)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                self._num_shortages += 1
                # The error itself would keep the failed run's tensors as long as the record lives.
                _logger.warning('out of GPU memory with %d views: %s', num_views, str(error))
            # Not in the handler: its traceback holds the tensors of the failed run.
            torch.cuda.empty_cache()
        raise MemoryBudgetError(f'the GPU ran out of memory with {num_views} views')

    def plan(self, image_size: tuple[int, int], num_views: int = 0) -> Plan:
        """
        Return the window that can be had at the moment, with its reason.

        :param image_size: height and width [px].
        :param num_views: views wanted; 0: as many as allowed.
        :raises MemoryBudgetError: if not even one view fits, or none is done in time.
        """
        models = [way.model for way in self._ways_for(image_size)]
        budget = self._budget_bytes(models[0])
        demand = Demand(num_views, 1, self._limits.max_latency_s)
        plans, reason = [], ''
        for model in models:
            try:
                plans.append(plan_window(model, demand, budget))
            except MemoryBudgetError as error:
                # Not the error itself: its traceback would keep what the callers hold.
                reason = str(error)
        if not plans:
            raise MemoryBudgetError(reason)
        return max(plans, key=lambda plan: plan.num_views)

    def window_model(self, image_size: tuple[int, int]) -> WindowModel:
        """
        Return the cost of windows that run in large pieces.

        :param image_size: height and width [px].
        """
        return self._ways_for(image_size)[0].model

    def _budget_bytes(self, model: WindowModel) -> float:
        """Return the memory for windows and weights, less what torch holds for others."""
        device = self._device
        others = torch.cuda.memory_allocated(device) - model.calibration.fixed_bytes
        return usable_bytes(device, self._limits) - max(others, 0)

    def _ways_for(self, image_size: tuple[int, int]) -> tuple[_Way, ...]:
        """Return the ways to run, fastest first; those of the last image size are kept."""
        if not self._ways or self._ways[0].model.image_size != image_size:
            frugal = frugal_options(self._options, image_size)
            executors = [self._make_executor(options) for options in (self._options, frugal)]
            self._ways = self._calibrated(executors, image_size)
        return self._ways

    def _calibrated(
        self, executors: Sequence[WindowExecutor], image_size: tuple[int, int]
    ) -> tuple[_Way, ...]:
        dtype = main_branch(self._network).backbone.compute_dtype
        name = self._network.config.name
        rays = executors[0].with_rays
        key = CalibrationKey.of(
            self._device, name, image_size, dtype, self._options, with_rays=rays
        )

        def probe() -> Calibration:
            return calibrate_where_it_fits(self._network, executors, image_size)

        calibration = self._cache.get(key, probe)
        return tuple(
            _Way(executor, WindowModel(
                self._network.config, image_size, dtype, executor.options, calibration, rays
            ))
            for executor in executors
        )


def calibrate_where_it_fits(
    network: Network, executors: Iterable[WindowExecutor], image_size: tuple[int, int]
) -> Calibration:
    """
    Probe a network on a GPU, in smaller pieces where larger ones do not fit.

    :param network: on its device.
    :param executors: of that network, in order of preference.
    :param image_size: height and width [px].
    :raises MemoryBudgetError: if a few views do not fit.
    """
    for executor in executors:
        try:
            return calibrate(network, executor, image_size)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        torch.cuda.empty_cache()
    raise MemoryBudgetError("a few views do not fit the GPU's free memory")


def usable_bytes(device: torch.device, limits: MemoryLimits) -> float:
    """
    Return how much torch may allocate on a GPU at the moment, what it has already included.

    :param device: a CUDA device.
    :param limits: what windows may take.
    """
    return _USABLE_SHARE * (available_bytes(device) - limits.reserve_mib * _MIB)


def frugal_options(options: ExecutorOptions, image_size: tuple[int, int]) -> ExecutorOptions:
    """
    Return options for the same result in smaller pieces.

    :param options: in large pieces.
    :param image_size: height and width [px].
    """
    chunks = options.chunks_for(image_size)
    smaller = Chunks(max(1, chunks.views // 4), max(1, chunks.queries // 4), head=1)
    return replace(options, chunks=smaller)
