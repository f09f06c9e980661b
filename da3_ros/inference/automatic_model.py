# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The variant and resolution that ``model.name: auto`` stands for, on the machine it runs on."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from da3_ros.errors import MemoryBudgetError, WeightsError
from da3_ros.inference.memory_model import WindowModel
from da3_ros.inference.memory_planner import (
    automatic_models,
    choose_plan,
    Demand,
    preferences,
    Trade,
)
from da3_ros.model.config import PATCH_SIZE

AUTOMATIC = 'auto'

# It is in the package itself.
_FALLBACK = 'da3-tiny'
_SIZE_STEP = 0.75


@dataclass(frozen=True)
class PlanConfig:
    """
    What an automatic choice may give up for larger windows, and in which order.

    :param min_views: fewer are worth a smaller resolution or variant.
    :param give_up_first: whether a smaller 'resolution' or a smaller 'model' is tried first.
    :param min_size: smallest process resolution [px] to try.
    :param allow_non_commercial: whether the licence of weights may exclude commercial use.
    """

    min_views: int = 16
    give_up_first: Trade = 'resolution'
    min_size: int = 280
    allow_non_commercial: bool = False


@dataclass(frozen=True)
class Choice:
    """
    What was chosen.

    :param model: name of the variant.
    :param size: process resolution [px].
    :param reason: for the user.
    :param obstacles: why better ones were passed over, besides memory and time.
    :param is_fallback: whether nothing that is wanted can be had.
    """

    model: str
    size: int
    reason: str
    obstacles: tuple[str, ...] = ()
    is_fallback: bool = False


def choose_model(
    config: PlanConfig,
    demand: Demand,
    size: int,
    *,
    fetch: Callable[[str], object],
    cost: Callable[[str, int], WindowModel],
    budget_bytes: float,
    takes_smallest: bool = False,
) -> Choice:
    """
    Choose the best variant and resolution whose windows fit and whose weights can be had.

    :param config: what may be given up.
    :param demand: for a window.
    :param size: process resolution that is wanted [px].
    :param fetch: gets and loads a variant; called for what fits, until one can be.
    :param cost: gives the cost of windows of a variant at a process resolution.
    :param budget_bytes: memory for everything that torch allocates.
    :param takes_smallest: take the smallest variant that can be had, and choose its resolution
        alone: without a GPU, where to try larger ones takes longer than anybody waits.
    :returns: the variant in the package where no other fits or can be had.
    """
    names = list(automatic_models(allow_non_commercial=config.allow_non_commercial))
    obstacles: list[str] = []
    while names:
        try:
            if takes_smallest:
                name = names[-1]
                fetch(name)
                choice = _first_that_fits([name], config, demand, size, cost, budget_bytes)
                choice = replace(
                    choice, reason=f'the smallest published one, without a GPU; {choice.reason}')
            else:
                choice = _first_that_fits(names, config, demand, size, cost, budget_bytes)
                name = choice.model
                fetch(name)
            return replace(choice, obstacles=tuple(obstacles))
        except WeightsError as error:
            obstacles.append(str(error))
            names.remove(name)
        except MemoryBudgetError as error:
            obstacles.append(str(error))
            break
    reason = 'in the package; nothing published fits or can be had'
    return Choice(_FALLBACK, size, reason, tuple(obstacles), is_fallback=True)


def resolutions(size: int, min_size: int) -> tuple[int, ...]:
    """
    Return process resolutions to try, each about three quarters of the one before.

    :param size: the one that is wanted [px].
    :param min_size: the smallest one [px].
    """
    sizes = [size]
    while True:
        smaller = int(sizes[-1] * _SIZE_STEP) // PATCH_SIZE * PATCH_SIZE
        if smaller < max(min_size, PATCH_SIZE):
            return tuple(sizes)
        sizes.append(smaller)


def _first_that_fits(
    names: Sequence[str],
    config: PlanConfig,
    demand: Demand,
    size: int,
    cost: Callable[[str, int], WindowModel],
    budget_bytes: float,
) -> Choice:
    """Choose by memory and time alone."""
    sizes = resolutions(size, config.min_size)
    size_of: dict[tuple[int, int], int] = {}
    too_large = []

    def models() -> Iterator[WindowModel]:
        for name, tried in preferences(names, sizes, give_up_first=config.give_up_first):
            try:
                model = cost(name, tried)
            except MemoryBudgetError as error:
                too_large.append(f'{name}: {error}')
                continue
            size_of.setdefault(model.image_size, tried)
            yield model

    try:
        plan = choose_plan(models(), demand, budget_bytes)
    except MemoryBudgetError as error:
        raise MemoryBudgetError('; '.join([str(error), *too_large])) from None
    enough = plan.num_views >= demand.least_views
    reason = 'the best' if enough else 'the most views, as none is'
    return Choice(
        plan.model,
        size_of[plan.image_size],
        f'{reason} of {", ".join(names)} with windows of {demand.least_views} views',
    )
