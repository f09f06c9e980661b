# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The choice of model, resolution and window for a GPU, before the first image arrives."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from da3_ros.errors import MemoryBudgetError
from da3_ros.inference.memory_model import WindowModel
from da3_ros.model import MODELS

Trade = Literal['resolution', 'model']
Limit = Literal['demand', 'memory', 'latency', 'accuracy']

DEFAULT_MAX_LATENCY_S = 1.0
"""Longest inference of a window; docs/benchmarks.md says what longer ones would gain."""

BUSY_SHARE = 0.5
"""Most of the time that windows may take; the rest is for live depth, loops and surprises."""

_GIB = 2.0**30
_STRIDE_DIVISOR = 3
_BEST_FIRST = ('da3-giant', 'da3-large', 'da3-base', 'da3-small')


@dataclass(frozen=True)
class Demand:
    """
    What a window is asked to be.

    :param num_views: views wanted; 0: as many as allowed.
    :param min_views: fewer are worth a smaller model or resolution.
    :param max_latency_s: longest inference of a window, or None for any.
    :param floor_views: as many are taken even if they take longer.
    :param useful_views: more make nothing better; None: more always do.
    """

    num_views: int = 0
    min_views: int = 16
    max_latency_s: float | None = None
    floor_views: int = 0
    useful_views: int | None = None

    @property
    def least_views(self) -> int:
        """Return the views with which a plan is good enough."""
        return min(self.min_views, self.num_views or self.min_views)


@dataclass(frozen=True)
class Plan:
    """
    A window that fits.

    :param model: name of the variant.
    :param image_size: height and width [px].
    :param num_views: of the window.
    :param limited_by: what keeps it from being larger.
    :param peak_bytes: GPU memory at its peak, weights included.
    :param budget_bytes: GPU memory that was to be had.
    :param seconds: of a window.
    :param most_views: that it could have if it took no time.
    :param num_devices: that share its views; memory is that of each.
    """

    model: str
    image_size: tuple[int, int]
    num_views: int
    limited_by: Limit
    peak_bytes: int
    budget_bytes: float
    seconds: float
    most_views: int
    num_devices: int = 1

    @property
    def sustained_hz(self) -> float:
        """Return how many keyframes may come in a second, so that windows leave time to spare."""
        return BUSY_SHARE * automatic_stride(self.num_views) / self.seconds

    def __str__(self) -> str:
        height, width = self.image_size
        devices = f', each of {self.num_devices} devices' if self.num_devices > 1 else ''
        return (
            f'{self.model} at {width}x{height}: windows of {self.num_views} views, '
            f'{self.peak_bytes / _GIB:.2f} of {self.budget_bytes / _GIB:.2f} GiB{devices}, '
            f'{self.seconds:.2f} s each, limited by {self.limited_by}'
        )


def automatic_stride(num_instants: int) -> int:
    """
    Return after how many new instants a window runs, where nobody says so.

    A third of the window: each keyframe is in three windows, so that neighbours share two thirds.
    Sharing more costs inferences and gains nothing, sharing less loses accuracy: see the table
    of sizes and strides in docs/benchmarks.md.

    :param num_instants: that a window has room for.
    """
    return max(num_instants // _STRIDE_DIVISOR, 1)


def plan_window(model: WindowModel, demand: Demand, budget_bytes: float) -> Plan:
    """
    Make the largest window that one network at one resolution allows.

    :param model: cost of its windows.
    :param demand: what is asked for.
    :param budget_bytes: memory for everything that torch allocates.
    :raises MemoryBudgetError: if not even one view fits, or none is done in time.
    """
    limits: dict[Limit, int] = {'memory': model.max_views(budget_bytes)}
    if demand.max_latency_s is not None:
        in_time = model.max_views_within(demand.max_latency_s)
        limits['latency'] = max(in_time, demand.floor_views)
    if demand.useful_views is not None:
        limits['accuracy'] = demand.useful_views
    if demand.num_views > 0:
        limits['demand'] = demand.num_views
    most_views = min(views for limit, views in limits.items() if limit != 'latency')
    limited_by, num_views = min(limits.items(), key=lambda item: item[1])
    if num_views < 1:
        raise MemoryBudgetError(
            f'{model.config.name} at {model.image_size[1]}x{model.image_size[0]}: not one view, '
            f'because of {limited_by} ({model.peak_bytes(1) / _GIB:.2f} GiB needed, '
            f'{budget_bytes / _GIB:.2f} to be had; {model.seconds(1):.2f} s needed)'
        )
    return Plan(
        model.config.name,
        model.image_size,
        num_views,
        limited_by,
        model.peak_bytes(num_views),
        budget_bytes,
        model.seconds(num_views),
        most_views,
        model.num_devices,
    )


def choose_plan(models: Iterable[WindowModel], demand: Demand, budget_bytes: float) -> Plan:
    """
    Take the first network and resolution that allow a window of the least size.

    :param models: in order of preference; drawn one by one, as each may cost a probe.
    :param demand: what is asked for.
    :param budget_bytes: memory for everything that torch allocates.
    :returns: where none allows it, the plan with the most views, the fastest of several.
    :raises MemoryBudgetError: if not even one view fits anywhere.
    """
    best: Plan | None = None
    reasons = []
    for model in models:
        try:
            plan = plan_window(model, demand, budget_bytes)
        except MemoryBudgetError as error:
            reasons.append(str(error))
            continue
        if plan.num_views >= demand.least_views:
            return plan
        if best is None or _worth(plan) > _worth(best):
            best = plan
    if best is None:
        raise MemoryBudgetError('; '.join(reasons) or 'no model to choose from')
    return best


def _worth(plan: Plan) -> tuple[int, float]:
    return plan.num_views, -plan.seconds


def preferences(
    names: Sequence[str], sizes: Sequence[int], *, give_up_first: Trade = 'resolution'
) -> list[tuple[str, int]]:
    """
    Order variants and process resolutions, best first.

    :param names: variants, best first.
    :param sizes: process resolutions [px], best first.
    :param give_up_first: whether a smaller resolution or a smaller variant is tried first.
    """
    if give_up_first == 'resolution':
        return [(name, size) for name in names for size in sizes]
    return [(name, size) for size in sizes for name in names]


def automatic_models(*, allow_non_commercial: bool) -> tuple[str, ...]:
    """
    Return the variants that 'auto' chooses from, best first.

    :param allow_non_commercial: whether weights may exclude commercial use.
    """
    return tuple(
        name for name in _BEST_FIRST if allow_non_commercial or MODELS[name].is_commercial
    )
