# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Robust statistics against contamination."""

from da3_ros.geometry import robust
import numpy as np
import pytest


def test_weighted_median_counts_weights_not_values():
    values = np.array([3.0, 1.0, 2.0, 100.0])
    assert robust.weighted_median(values, np.array([1.0, 1.0, 1.0, 10.0])) == 100.0
    assert robust.weighted_median(values, np.array([1.0, 1.0, 1.0, 0.0])) == 2.0


@pytest.mark.parametrize('share', [0.0, 0.2, 0.36])
def test_one_sided_outliers_do_not_bias_the_centre(share):
    random = np.random.default_rng(0)
    values = 0.3 + 0.01 * random.standard_normal(20_000)
    wrong = random.random(values.size) < share
    values[wrong] += random.uniform(0.2, 1.0, int(wrong.sum()))
    cluster = robust.location(values, np.ones(values.size), min_sigma=1e-6)
    standard_error = 0.01 / np.sqrt(values.size)
    assert abs(cluster.centre - 0.3) < 4.0 * standard_error
    assert cluster.spread == pytest.approx(0.01, rel=0.1)


def test_location_of_equal_values_is_that_value():
    cluster = robust.location(np.full(9, 0.7), np.ones(9), min_sigma=1e-4)
    assert cluster.centre == pytest.approx(0.7)
    assert cluster.spread == 1e-4


def test_location_moves_and_scales_with_the_values():
    random = np.random.default_rng(3)
    values, weights = random.standard_t(2, 500), random.random(500)
    cluster = robust.location(values, weights, min_sigma=1e-6)
    moved = robust.location(3.0 * values + 2.0, weights, min_sigma=1e-6)
    assert moved.centre == pytest.approx(3.0 * cluster.centre + 2.0)
    assert moved.spread == pytest.approx(3.0 * cluster.spread)
