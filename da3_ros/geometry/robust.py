# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Statistics that a large minority of wrong values does not move."""

from dataclasses import dataclass

from da3_ros.geometry.arrays import Array
import numpy as np

_MAD_TO_SIGMA = 1.4826
# Tukey's biweight at 95 % efficiency under normal noise.
_TUKEY_CUTOFF = 4.685
_MAX_SORTED = 4096
# Steps below this share of the spread are no progress.
_CONVERGED = 1e-4


@dataclass(frozen=True)
class Cluster:
    """
    Where most values lie.

    :param centre: their middle.
    :param spread: standard deviation of single values around it.
    """

    centre: float
    spread: float


def weighted_median(values: Array, weights: Array) -> float:
    """
    Return the value with half of the weight on each side.

    :param values: (N,), N at least 1.
    :param weights: (N,) not negative.
    """
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(cumulative, 0.5 * cumulative[-1])]])


def tukey_weights(residuals: Array, sigma: float) -> Array:
    """
    Return Tukey's biweight of each residual: 1 at zero, 0 beyond 4.685 sigma.

    :param residuals: (N,).
    :param sigma: standard deviation of the good residuals.
    """
    ratio = np.minimum(np.abs(residuals) / (_TUKEY_CUTOFF * sigma), 1.0)
    weights: Array = np.square(1.0 - np.square(ratio))
    return weights


def location(
    values: Array, weights: Array, *, min_sigma: float, num_iterations: int = 10
) -> Cluster:
    """
    Find the main cluster of the main cluster of weighted values.

    The median starts, a redescending estimator (Tukey's biweight) ends: wrong values that all
    lie on one side do not bias it.

    :param values: (N,), N at least 1.
    :param weights: (N,) not negative, not all zero.
    :param min_sigma: smallest spread to believe in.
    :param num_iterations: re-weightings.
    """
    # Medians start and scale the estimate: some thousand values are enough for them, and sorting
    # all of them would cost more than everything else.
    thin = np.s_[::values.size // _MAX_SORTED + 1]
    few, few_weights = values[thin], weights[thin]
    if not few_weights.sum() > 0.0:
        few, few_weights = values, weights
    centre = weighted_median(few, few_weights)
    spread = max(_spread_around(centre, few, few_weights), min_sigma)
    for _ in range(num_iterations):
        kept = weights * tukey_weights(values - centre, spread)
        last, centre = centre, float(np.sum(kept * values) / kept.sum())
        near = np.abs(few - centre) < _TUKEY_CUTOFF * spread
        if not few_weights[near].any():
            break
        spread = max(_spread_around(centre, few[near], few_weights[near]), min_sigma)
        if abs(centre - last) < _CONVERGED * spread:
            break
    return Cluster(centre, spread)


def _spread_around(centre: float, values: Array, weights: Array) -> float:
    return _MAD_TO_SIGMA * weighted_median(np.abs(values - centre), weights)
