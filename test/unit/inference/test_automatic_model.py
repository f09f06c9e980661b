# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What 'auto' stands for: memory, licence and what can be had decide, in a stated order."""

import gc
import weakref

from da3_ros.errors import MemoryBudgetError, WeightsError
from da3_ros.inference import plan
from da3_ros.inference.automatic_model import choose_model, PlanConfig, resolutions
from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.calibration import CalibrationCache
from da3_ros.inference.memory_model import Calibration, WindowModel
from da3_ros.inference.memory_planner import Demand
from da3_ros.inference.preprocessing import plan_processing
from da3_ros.model import build_network, MODELS
import pytest
from simulated_gpu import SimulatedGpu
import torch

GIB = 2**30
MIB = 2**20
FIXED_MIB = {'da3-small': 96, 'da3-base': 270, 'da3-large': 780, 'da3-giant': 2400}
VIEW_S = {'da3-small': 1e-3, 'da3-base': 1.5e-3, 'da3-large': 2.4e-3, 'da3-giant': 8e-3}


class Machine:
    """A GPU and a hub."""

    def __init__(self, *, missing=(), too_large=()):
        """
        Set the obstacles.

        :param missing: variants whose weights cannot be had.
        :param too_large: variants of which not even a probe fits.
        """
        self.missing = missing
        self.too_large = too_large
        self.probed = []
        self.fetched = []

    def cost(self, name, size):
        """Give what windows cost."""
        self.probed.append((name, size))
        if name in self.too_large:
            raise MemoryBudgetError('a few views do not fit')
        area = (size / 504) ** 2
        calibration = Calibration(
            FIXED_MIB[name] * MIB, int(area * 60 * MIB), int(area * 100 * MIB),
            area * VIEW_S[name], area**2 * 4e-5)
        image_size = plan_processing(480, 640, size=size).size
        return WindowModel(
            MODELS[name], image_size, torch.bfloat16, ExecutorOptions(), calibration)

    def fetch(self, name):
        """Get weights."""
        self.fetched.append(name)
        if name in self.missing:
            raise WeightsError(f'{name}: not on the hub')

    def choose(self, gib, demand=None, **config):
        """Choose within some memory; None: without a GPU."""
        return choose_model(
            PlanConfig(**config), Demand() if demand is None else demand, 504, fetch=self.fetch,
            cost=self.cost, budget_bytes=(16.0 if gib is None else gib) * GIB,
            takes_smallest=gib is None)


@pytest.mark.parametrize(('gib', 'allow_non_commercial', 'expected'), [
    (24, True, 'da3-giant'), (2.5, True, 'da3-large'), (24, False, 'da3-base'),
    (0.3, False, 'da3-small'),
])
def test_the_best_that_fits_and_may_be_used(gib, allow_non_commercial, expected):
    machine = Machine()
    choice = machine.choose(gib, allow_non_commercial=allow_non_commercial, min_size=504)
    assert choice.model == expected and choice.size == 504 and not choice.is_fallback
    assert machine.fetched == [expected]
    # What is behind the choice costs no probe.
    assert machine.probed[-1] == (expected, 504)


def test_resolution_or_variant_is_given_up_first():
    """Giant at full resolution takes longer for 40 views than is allowed."""
    demand = Demand(min_views=40, max_latency_s=0.3)
    machine = Machine()
    order = {'allow_non_commercial': True, 'min_views': 40}
    assert machine.choose(24, demand, **order, give_up_first='model').model == 'da3-large'
    assert machine.probed == [('da3-giant', 504), ('da3-large', 504)]
    machine.probed.clear()
    choice = machine.choose(24, demand, **order, give_up_first='resolution')
    assert (choice.model, choice.size) == ('da3-giant', 378)
    assert machine.probed == [('da3-giant', 504), ('da3-giant', 378)]


def test_smaller_resolutions_stop_at_the_smallest():
    assert resolutions(504, 280) == (504, 378, 280)
    assert resolutions(504, 281) == (504, 378)
    assert resolutions(504, 504) == resolutions(504, 4096) == (504,)
    assert resolutions(28, 1) == (28, 14)
    assert all(size % 14 == 0 for size in resolutions(1000, 14)[1:])


def test_a_smaller_resolution_makes_the_window():
    """Memory for some large views is memory for more small ones."""
    gib = Machine().cost('da3-base', 504).peak_bytes(80) / GIB
    assert Machine().choose(gib, Demand(min_views=70)).size == 504
    choice = Machine().choose(gib, Demand(min_views=120))
    assert (choice.model, choice.size) == ('da3-base', 378)
    assert Machine().choose(gib, Demand(min_views=120), min_size=504).model == 'da3-small'


def test_a_window_that_is_asked_for_need_not_be_larger():
    gib = Machine().cost('da3-base', 504).peak_bytes(12) / GIB
    choice = Machine().choose(gib, Demand(num_views=12, min_views=40))
    assert (choice.model, choice.size) == ('da3-base', 504)
    assert '12 views' in choice.reason


def test_weights_that_cannot_be_had_are_passed_over():
    machine = Machine(missing=('da3-giant', 'da3-base'))
    choice = machine.choose(24, allow_non_commercial=True)
    assert choice.model == 'da3-large' and not choice.is_fallback
    assert len(choice.obstacles) == 1 and 'da3-giant' in choice.obstacles[0]
    assert machine.choose(24).model == 'da3-small'


def test_variants_of_which_no_probe_fits_are_passed_over():
    assert Machine(too_large=('da3-base',)).choose(24).model == 'da3-small'


@pytest.mark.parametrize(('machine', 'gib', 'word'), [
    (Machine(missing=tuple(MODELS)), 24, 'not on the hub'),
    (Machine(missing=tuple(MODELS)), None, 'not on the hub'),
    (Machine(), 0.05, 'memory'),
    (Machine(too_large=tuple(MODELS)), 24, 'a few views do not fit'),
])
def test_what_is_in_the_package_runs_where_nothing_else_can(machine, gib, word):
    choice = machine.choose(gib)
    assert choice.model == 'da3-tiny' and choice.is_fallback
    assert word in ' '.join(choice.obstacles)


@pytest.mark.parametrize('place', ['weights', 'views'])
def test_a_probe_that_does_not_fit_leaves_nothing_behind(monkeypatch, tmp_path, place):
    """What is left of one variant would be missing for the next."""
    networks = []

    def run_out(*_args, **_kwargs):
        raise torch.cuda.OutOfMemoryError('CUDA out of memory (injected)')

    def build(name, device):
        networks.append(weakref.ref(network := build_network(name, device=device)))
        return network

    SimulatedGpu(GIB).install(monkeypatch)
    monkeypatch.setattr(plan, 'build_network', build)
    if place == 'weights':
        monkeypatch.setattr(plan, 'place', run_out)
    else:
        monkeypatch.setattr(plan, 'calibrate', run_out)
    gc.disable()
    try:
        with pytest.raises(MemoryBudgetError, match='do not fit'):
            plan.probe_model(
                'da3-tiny', (28, 28), torch.device('cpu'), cache=CalibrationCache(tmp_path / 'c'))
        assert networks[0]() is None
    finally:
        gc.enable()


def test_without_a_gpu_the_smallest_published_one_is_taken():
    choice = Machine().choose(None)
    assert choice.model == 'da3-small' and 'without a GPU' in choice.reason
    # The next best is better than what is in the package.
    machine = Machine(missing=('da3-small',))
    assert machine.choose(None).model == 'da3-base'
    # What cannot be had costs no probe.
    assert machine.probed == [('da3-base', 504)]


def test_without_a_gpu_the_resolution_is_planned():
    demand = Demand(min_views=40, max_latency_s=0.06)
    choice = Machine().choose(None, demand)
    assert (choice.model, choice.size) == ('da3-small', 378)
    assert Machine(too_large=('da3-small',)).choose(None).is_fallback
    # One view at any resolution, since none is in time: the fastest.
    late = Demand(min_views=40, max_latency_s=1e-6, floor_views=1)
    assert Machine().choose(None, late).size == 280
