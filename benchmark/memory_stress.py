# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Windows of one network while other memory comes, before them and in the middle of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import logging
import time
from unittest import mock

from da3_ros.errors import MemoryBudgetError
from da3_ros.inference.memory_guard import MemoryGuard, MemoryLimits, usable_bytes
from da3_ros.inference.memory_planner import Demand
from limit_trials import GIB, limited, make_images, take
import numpy as np
import torch
from torch import Tensor
import torch.nn.functional as F

MOMENTS = ('before planning', 'before the window', 'within the window')

# Memory for the largest window, as a multiple of what it needs.
_LEFT = 1.3


@dataclass(frozen=True)
class StressRun:
    """
    A window while other memory comes.

    :param model: name of the variant.
    :param size: height and width [px].
    :param limit_gib: of torch's allocator.
    :param moment: when the other memory was taken.
    :param wanted_views: asked for.
    :param num_views: of the window that ran in the end; 0 if not even one view fitted.
    :param num_refused: windows that were refused, each before a smaller one.
    :param num_caught: times that the GPU's memory ran out unseen by the caller.
    :param error: what reached the caller and should not have.
    """

    model: str
    size: tuple[int, int]
    limit_gib: float
    moment: str
    wanted_views: int
    num_views: int
    num_refused: int
    num_caught: int
    error: str = ''


class Stress:
    """
    Windows of one network at one image size within one limit.

    :param guard: of the network.
    :param model: name of the variant.
    :param size: height and width [px].
    :param max_seconds: that the largest window takes.
    :param max_limit_gib: the limit is drawn between what the largest window needs and this.
    :param device: the GPU.
    :param rng: draws.
    """

    def __init__(
        self, guard: MemoryGuard, model: str, size: tuple[int, int], *, max_seconds: float,
        max_limit_gib: float, device: torch.device, rng: np.random.Generator,
    ) -> None:
        self._guard = guard
        self._model = model
        self._size = size
        self._device = device
        self._rng = rng
        self._cost = guard.window_model(size)
        self._most = max(2, self._cost.max_views_within(max_seconds))
        self._images = make_images(self._most, size)
        least_gib = 1.5 * self._cost.peak_bytes(self._most) / GIB
        exponents = np.log([least_gib, max(max_limit_gib, least_gib)])
        self._limit_gib = float(np.exp(rng.uniform(*exponents)))
        self._caught = _CaughtErrors()

    def run(self, count: int, until: float) -> Iterator[StressRun]:
        """
        Draw windows.

        :param count: of them.
        :param until: when to stop [s] of the monotonic clock.
        """
        with limited(self._device, self._limit_gib * GIB), self._caught.counting():
            usable = usable_bytes(self._device, MemoryLimits(reserve_mib=0))
            base = take(self._device, usable - _LEFT * self._cost.peak_bytes(self._most))
            left = usable - base.numel() - self._cost.calibration.fixed_bytes
            for _ in range(count):
                if time.monotonic() > until:
                    break
                yield self._draw(left)
            del base

    def _draw(self, left_bytes: float) -> StressRun:
        """Draw one window; so much memory is left for it at most."""
        rng, cost = self._rng, self._cost
        wanted = min(int(np.exp(rng.uniform(0.0, np.log(self._most + 1)))), self._most)
        moment = str(rng.choice(MOMENTS))
        # From far too little to more than enough.
        needed = cost.peak_bytes(wanted) - cost.calibration.fixed_bytes
        others_bytes = left_bytes - rng.uniform(0.2, 1.4) * needed
        before, num_views, num_refused, error = self._caught.count, 0, 0, ''
        try:
            num_views, num_refused = self._survive(
                self._images[:wanted], moment, others_bytes
            )
        except Exception as reached:
            error = repr(reached)
        return StressRun(
            self._model, self._size, self._limit_gib, moment, wanted, num_views, num_refused,
            self._caught.count - before, error,
        )

    def _survive(
        self, images: np.ndarray, moment: str, others_bytes: float
    ) -> tuple[int, int]:
        """Take memory at a moment: views of the window that ran, and windows refused."""
        others = None
        if moment == MOMENTS[2]:
            call = int(self._rng.integers(1, self._cost.config.depth + 1))
            with self._taken_within(call, self._rng.uniform(0.6, 1.0)):
                return self._run(images)
        if moment == MOMENTS[0]:
            others = take(self._device, others_bytes)
        try:
            planned = self._guard.plan(self._size, Demand(len(images), 1)).num_views
        except MemoryBudgetError:
            return 0, 1
        if moment == MOMENTS[1]:
            others = take(self._device, others_bytes)
        result = self._run(images[:planned])
        del others
        return result

    def _run(self, images: np.ndarray) -> tuple[int, int]:
        """Run a window, a smaller one each time that it is refused."""
        num_views, num_refused = len(images), 0
        while num_views > 0:
            try:
                self._guard.run(images[:num_views], None)
                break
            except MemoryBudgetError as error:
                num_refused += 1
                fewer = num_views * 3 // 4 if error.max_views is None else error.max_views
                num_views = min(fewer, num_views - 1)
        return num_views, num_refused

    @contextmanager
    def _taken_within(self, call: int, share: float) -> Iterator[None]:
        """Take a share of what is free when attention is called for the n-th time."""
        attention, taken, num_calls = F.scaled_dot_product_attention, [], 0

        def take_first(*args: Tensor, **kwargs: object) -> Tensor:
            nonlocal num_calls
            num_calls += 1
            if num_calls == call:
                free = self._limit_gib * GIB - torch.cuda.memory_allocated(self._device)
                taken.append(take(self._device, share * free))
            return attention(*args, **kwargs)

        with mock.patch.object(F, 'scaled_dot_product_attention', take_first):
            yield


class _CaughtErrors(logging.Handler):
    """Counts what the guard catches, and keeps it out of the table."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count for a while."""
        logger = logging.getLogger('da3_ros.inference.memory_guard')
        logger.addHandler(self)
        logger.propagate = False
        try:
            yield
        finally:
            logger.removeHandler(self)
            logger.propagate = True

    def emit(self, record: logging.LogRecord) -> None:
        """Count a warning."""
        self.count += record.levelno >= logging.WARNING
