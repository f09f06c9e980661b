# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Windows shrink when memory runs out and grow back slowly."""

from da3_ros.mapping.view_budget import ViewBudget


def run(budget, capacity, num_windows):
    """Run full windows against a machine that holds so many views; return how many failed."""
    failures = 0
    for _ in range(num_windows):
        while budget.limit > capacity:
            failures += 1
            assert budget.shrink(budget.limit)
        budget.note_success(budget.limit)
    return failures


def test_it_ends_at_what_fits_and_recovers_when_more_fits():
    budget = ViewBudget(16)
    run(budget, capacity=5, num_windows=1)
    assert 1 <= budget.limit <= 5
    run(budget, capacity=100, num_windows=200)
    assert budget.limit == 16


def test_it_does_not_keep_knocking_at_a_closed_door():
    budget = ViewBudget(16)
    run(budget, capacity=5, num_windows=100)
    assert run(budget, capacity=5, num_windows=400) <= 4


def test_one_view_is_the_end():
    budget = ViewBudget(2)
    assert budget.shrink(2)
    assert budget.limit == 1
    assert not budget.shrink(1)


def test_small_windows_do_not_prove_that_large_ones_fit():
    budget = ViewBudget(16)
    budget.shrink(16)
    limit = budget.limit
    for _ in range(100):
        budget.note_success(2)
    assert budget.limit == limit
