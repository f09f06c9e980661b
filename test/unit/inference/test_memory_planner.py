# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The choice of model, resolution and window."""

from da3_ros.errors import MemoryBudgetError
from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.memory_model import Calibration, WindowModel
from da3_ros.inference.memory_planner import (
    automatic_models,
    choose_plan,
    Demand,
    plan_window,
    preferences,
)
from da3_ros.model import MODELS
import pytest
import torch

_MIB = 2**20
_GIB = 2**30
_CALIBRATION = Calibration(780 * _MIB, 70 * _MIB, 130 * _MIB, 2.4e-3, 4.3e-5)


def window_model(name='da3-large', size=(280, 504), calibration=_CALIBRATION):
    return WindowModel(MODELS[name], size, torch.bfloat16, ExecutorOptions(), calibration)


@pytest.mark.parametrize(('demand', 'limited_by'), [
    (Demand(), 'memory'),
    (Demand(max_latency_s=0.7), 'latency'),
    (Demand(num_views=24), 'demand'),
    (Demand(num_views=24, max_latency_s=0.01), 'latency'),
    (Demand(num_views=10**6), 'memory'),
])
def test_a_plan_names_what_limits_it_and_keeps_within(demand, limited_by):
    plan = plan_window(window_model(), demand, 6 * _GIB)
    assert plan.limited_by == limited_by
    assert plan.peak_bytes <= 6 * _GIB
    assert plan.seconds <= (demand.max_latency_s or float('inf'))
    assert plan.num_views <= (demand.num_views or float('inf'))
    assert limited_by in str(plan) and '504x280' in str(plan)


def test_nothing_fits_is_an_error_with_its_reason():
    with pytest.raises(MemoryBudgetError, match='memory'):
        plan_window(window_model(), Demand(), 0.5 * _GIB)
    with pytest.raises(MemoryBudgetError, match='latency'):
        plan_window(window_model(), Demand(max_latency_s=1e-4), 6 * _GIB)


def test_the_first_that_allows_a_window_is_taken():
    slow = Calibration(2400 * _MIB, 70 * _MIB, 130 * _MIB, 8e-3, 1.2e-4)
    giant = window_model('da3-giant', calibration=slow)
    models = [giant, window_model(), window_model('da3-base')]
    demand = Demand(min_views=32, max_latency_s=0.25)
    assert choose_plan(models, demand, 8 * _GIB).model == 'da3-large'
    assert choose_plan(models, Demand(), 8 * _GIB).model == 'da3-giant'


def test_models_behind_the_choice_are_not_probed():
    def models():
        yield window_model()
        raise AssertionError('probed without need')

    assert choose_plan(models(), Demand(), 8 * _GIB).model == 'da3-large'


def test_where_no_window_is_large_enough_the_largest_is_taken():
    models = [window_model(), window_model(size=(154, 504))]
    plan = choose_plan(models, Demand(min_views=10**5), 4 * _GIB)
    assert plan.image_size == (154, 504)
    with pytest.raises(MemoryBudgetError):
        choose_plan(models, Demand(), 0.1 * _GIB)


def test_resolution_or_model_is_given_up_first():
    names, sizes = ('da3-large', 'da3-base'), (504, 378)
    assert preferences(names, sizes)[1] == ('da3-large', 378)
    assert preferences(names, sizes, give_up_first='model')[1] == ('da3-base', 504)
    assert sorted(preferences(names, sizes)) == sorted(
        preferences(names, sizes, give_up_first='model')
    )


def test_automatic_models_keep_to_the_licence():
    assert all(MODELS[name].is_commercial for name in automatic_models(allow_non_commercial=False))
    assert automatic_models(allow_non_commercial=True)[0] == 'da3-giant'
