# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Windows within the memory that is free: asked before, caught after.

Every window is held against the memory model and the GPU's free memory first. Should the memory
run out all the same, because another process was faster, everything is freed and the window runs
again in smaller pieces; only then does the caller hear of it, with its window untouched.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
import logging
import time

from da3_ros.errors import MemoryBudgetError
from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.calibration import (
    calibrate,
    CalibrationCache,
    CalibrationKey,
    probe_seconds,
)
from da3_ros.inference.chunks import Chunks
from da3_ros.inference.device import available_bytes, is_out_of_memory
from da3_ros.inference.executor import PendingWindow, WindowExecutor
from da3_ros.inference.memory_model import Calibration, slowest, WindowModel
from da3_ros.inference.memory_planner import Demand, Plan, plan_window
from da3_ros.inference.placement import has_encoder, main_branch, missing_bytes
from da3_ros.inference.sharing import Peers
from da3_ros.inference.way import holds, Way
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
# What did not fit is tried again when there is so much more memory.
_MORE_MEMORY = 1.25


@dataclass(frozen=True)
class MemoryLimits:
    """
    What windows may take.

    :param reserve_mib: left to others on the GPU.
    :param max_latency_s: longest inference of a window, or None for any.
    """

    reserve_mib: int = 256
    max_latency_s: float | None = None


class MemoryGuard:
    """
    Runs windows of a network on a GPU without running out of its memory.

    :param network: on its GPU and in its compute dtype.
    :param make_executor: makes an executor of the network with given options.
    :param options: of the executor.
    :param limits: what windows may take.
    :param cache: of calibrations; None: the user's.
    :param probed: makes an executor of windows that no other device shares, to be calibrated;
        None: as ``make_executor``.
    :param peers: devices that share windows; None: there are no others.
    """

    def __init__(
        self,
        network: Network,
        make_executor: Callable[[ExecutorOptions], WindowExecutor],
        options: ExecutorOptions,
        limits: MemoryLimits,
        *,
        cache: CalibrationCache | None = None,
        probed: Callable[[ExecutorOptions], WindowExecutor] | None = None,
        peers: Peers | None = None,
    ) -> None:
        self._network = network
        self._device = main_branch(network).backbone.pretrained.pos_embed.device
        self._make_executor = make_executor
        self._probed = probed
        self._options = options
        self._limits = limits
        self._cache = CalibrationCache() if cache is None else cache
        self._image_size: tuple[int, int] | None = None
        self._ways: tuple[Way, ...] = ()
        # Runs small windows where there is memory for speed; costs what the first way does, and
        # what it holds.
        self._fast = None if options.small_window == 0 else make_executor(options)
        # Whatever is decided is decided by all devices that share windows, in the same way.
        self._peers = Peers() if peers is None else peers
        self._num_shortages = 0

    @property
    def num_shortages(self) -> int:
        """Return how often a window was refused or ran out of memory."""
        return self._num_shortages

    def run(
        self,
        images: NDArray[np.uint8],
        cameras: Cameras | None = None,
        focal_px: NDArray[np.float64] | None = None,
        *,
        keys: Sequence[Hashable] | None = None,
        wanted: Sequence[int] | None = None,
    ) -> NetworkOutput:
        """
        Predict one window, see ``WindowExecutor.run``.

        :raises MemoryBudgetError: if it does not fit; nothing has changed then.
        """
        return self.submit(images, cameras, focal_px, keys=keys, wanted=wanted).collect()

    def submit(
        self,
        images: NDArray[np.uint8],
        cameras: Cameras | None = None,
        focal_px: NDArray[np.float64] | None = None,
        *,
        keys: Sequence[Hashable] | None = None,
        wanted: Sequence[int] | None = None,
    ) -> PendingWindow:
        """
        Begin to predict one window, see ``WindowExecutor.submit``.

        :raises MemoryBudgetError: if it does not fit; nothing has changed then.
        """
        num_views = len(images)
        ways = self._ways_for((images.shape[1], images.shape[2]))
        # With the first poses that are given, the camera encoder comes to the GPU.
        coming = 0 if cameras is None else missing_bytes(self._network, self._device)

        def submit(executor: WindowExecutor) -> PendingWindow | None:
            return self._try(
                num_views,
                lambda: executor.submit(images, cameras, focal_px, keys=keys, wanted=wanted))

        started_s = time.perf_counter()
        if self._fast is not None and self._leave_room(self._fast, ways[0][1], num_views, coming):
            pending = submit(self._fast)
            if pending is not None:
                return self._timed(pending, *ways[0], num_views, started_s)
            self._release(self._fast)
        for way, model in self._fitting(ways, num_views, coming):
            started_s = time.perf_counter()
            pending = submit(way.executor)
            if pending is not None:
                return self._timed(pending, way, model, num_views, started_s)
        raise MemoryBudgetError(f'the GPU ran out of memory with {num_views} views')

    def _try(
        self, num_views: int, submit: Callable[[], PendingWindow]
    ) -> PendingWindow | None:
        """Begin a window, or free everything and return None if the memory does not suffice."""
        try:
            return submit()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            self._num_shortages += 1
            # The error itself would keep the failed run's tensors as long as the record lives.
            _logger.warning('out of GPU memory with %d views: %s', num_views, str(error))
        # Not in the handler: its traceback holds the tensors of the failed run.
        torch.cuda.empty_cache()
        return None

    def _leave_room(
        self, fast: WindowExecutor, plain: WindowModel, num_views: int, coming: int
    ) -> bool:
        """
        Return whether a window may take memory for speed; give that back if it must not.

        :param coming: bytes that come to the GPU before it runs.
        """
        model = replace(plain, options=fast.options)
        budget = self._budget_bytes(plain, fast.held_bytes - coming)
        fits = model.peak_bytes(num_views) + model.held_bytes(num_views) <= budget
        if not fits and fast.held_bytes:
            self._release(fast)
        return fits and num_views <= fast.options.small_window

    def _release(self, fast: WindowExecutor) -> None:
        fast.release()
        torch.cuda.empty_cache()

    def _fitting(
        self, ways: list[tuple[Way, WindowModel]], num_views: int, coming: int
    ) -> list[tuple[Way, WindowModel]]:
        """
        Return the ways in which a window fits.

        :param coming: bytes that come to the GPU before it runs.
        :raises MemoryBudgetError: if there is none.
        """
        fitting, fits, shortage = [], 0, ''
        for way, model in ways:
            budget, needed = self._budget_bytes(model, -coming), model.peak_bytes(num_views)
            if needed <= budget:
                fitting.append((way, model))
                continue
            fits = max(fits, model.max_views(budget))
            shortage = (f'{num_views} views need {needed / _MIB:.0f} MiB of GPU memory, '
                        f'{budget / _MIB:.0f} MiB are to be had')
        if not fitting:
            self._num_shortages += 1
            raise MemoryBudgetError(f'{shortage}: {fits} views fit', max_views=fits)
        return fitting

    def _timed(
        self, pending: PendingWindow, way: Way, model: WindowModel, num_views: int,
        started_s: float,
    ) -> PendingWindow:
        """Take note of a window's time when it ends."""
        return replace(pending, note_end=lambda: self._note_time(
            way, model, num_views, time.perf_counter() - started_s))

    def plan(self, image_size: tuple[int, int], demand: Demand | None = None) -> Plan:
        """
        Return the window that can be had at the moment, with its reason.

        :param image_size: height and width [px].
        :param demand: what is wanted; None: as many views as memory and latency allow.
        :raises MemoryBudgetError: if not even one view fits, or none is done in time.
        """
        if demand is None:
            demand = Demand(min_views=1, max_latency_s=self._limits.max_latency_s)
        plans, reason = [], ''
        # What is held for speed is given back to a window that needs it.
        held = 0 if self._fast is None else self._fast.held_bytes
        for _, model in self._ways_for(image_size):
            try:
                plans.append(plan_window(model, demand, self._budget_bytes(model, held)))
            except MemoryBudgetError as error:
                # Not the error itself: its traceback would keep what the callers hold.
                reason = str(error)
        if not plans:
            raise MemoryBudgetError(reason)
        return max(plans, key=lambda plan: plan.num_views)

    def window_model(self, image_size: tuple[int, int]) -> WindowModel:
        """
        Return the cost of windows that run in pieces as large as the memory allows.

        :param image_size: height and width [px].
        :raises MemoryBudgetError: if not even a few views fit.
        """
        return self._ways_for(image_size)[0][1]

    def _budget_bytes(self, model: WindowModel, more: float) -> float:
        """
        Return the memory for windows and weights, less what torch holds for others.

        :param more: bytes that come to it here; the device that has least counts.
        """
        device = self._device
        others = torch.cuda.memory_allocated(device) - model.calibration.fixed_bytes
        return self._peers.smallest(usable_bytes(device, self._limits) - max(others, 0) + more)

    def _ways_for(self, image_size: tuple[int, int]) -> list[tuple[Way, WindowModel]]:
        """Return the ways to run, fastest first; those of the last image size are kept."""
        if self._image_size != image_size:
            plain = replace(self._options, small_window=0)
            self._ways = tuple(
                self._make_way(options, image_size)
                for options in (plain, frugal_options(
                    plain, image_size, self._peers.frugal_head_groups))
            )
            self._image_size = image_size
        for way in self._ways:
            if way.model is None:
                self._calibrate(way, image_size)
        known = [(way, way.model) for way in self._ways if way.model is not None]
        if not known:
            raise MemoryBudgetError("a few views do not fit the GPU's free memory")
        return known

    def _make_way(self, options: ExecutorOptions, image_size: tuple[int, int]) -> Way:
        executor = self._make_executor(options)
        return Way(executor, CalibrationKey.of(
            self._device, self._network.config.name, image_size, self._dtype, options,
            with_rays=executor.with_rays, with_encoder=has_encoder(self._network, self._device),
        ))

    def _calibrate(self, way: Way, image_size: tuple[int, int]) -> None:
        """Find out what a way costs, unless not even a probe of it fits."""
        free = available_bytes(self._device) - torch.cuda.memory_allocated(self._device)
        is_hopeless = way.tried_bytes is not None and free <= _MORE_MEMORY * way.tried_bytes
        if self._peers.largest(float(is_hopeless)) > 0.0:
            return

        def model(calibration: Calibration) -> WindowModel:
            return WindowModel(
                self._network.config, image_size, self._dtype, way.executor.options, calibration,
                way.executor.with_rays, way.key.is_fused,
            )

        def still_holds(calibration: Calibration) -> bool:
            return holds(
                model(calibration), *probe_seconds(probed, image_size, self._device))

        # One device alone, as all do at the same time: what they exchange is counted, not probed.
        probed, calibration = way.executor, None
        if self._probed is not None:
            probed = self._probed(probed.options)
        try:
            calibration = self._cache.get(
                way.key, lambda: calibrate(self._network, probed, image_size), holds=still_holds)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        calibration = slowest(calibration, self._peers)
        if calibration is None:
            way.tried_bytes = free
            torch.cuda.empty_cache()
            return
        way.model = replace(
            model(calibration), num_devices=self._peers.num_devices,
            exchanged_bytes_per_s=self._peers.bytes_per_s)

    def _note_time(self, way: Way, model: WindowModel, num_views: int, seconds: float) -> None:
        """Correct a calibration that windows contradict; the slowest device counts."""
        if way.corrects(model, num_views, self._peers.largest(seconds)):
            self._cache.forget(way.key)

    @property
    def _dtype(self) -> torch.dtype:
        return main_branch(self._network).backbone.compute_dtype


def usable_bytes(device: torch.device, limits: MemoryLimits) -> float:
    """
    Return how much torch may allocate on a GPU at the moment, what it has already included.

    :param device: a CUDA device.
    :param limits: what windows may take.
    """
    return _USABLE_SHARE * (available_bytes(device) - limits.reserve_mib * _MIB)


def frugal_options(
    options: ExecutorOptions, image_size: tuple[int, int], head_groups: int = 1
) -> ExecutorOptions:
    """
    Return options for the same result in smaller pieces.

    :param options: in large pieces.
    :param image_size: height and width [px].
    :param head_groups: of keys and values.
    """
    chunks = options.chunks_for(image_size)
    smaller = Chunks(max(1, chunks.views // 4), max(1, chunks.queries // 4), head=1)
    return replace(options, chunks=smaller, head_groups=head_groups)
