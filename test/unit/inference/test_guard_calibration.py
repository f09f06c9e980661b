# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What windows cost is measured for each way to run, and again when it no longer holds."""

import json
import logging

from da3_ros.errors import MemoryBudgetError
from da3_ros.inference.executor import PendingWindow
from da3_ros.inference.memory_planner import Demand
import pytest
from reduced_networks import random_window
from simulated_gpu import MIB

SIZE = (42, 56)


def view_seconds(guard):
    """Return what a view costs in each way that is known, the fastest first."""
    return [model.calibration.view_s for _, model in guard._ways_for(SIZE)]


def test_a_start_on_a_busy_gpu_does_not_poison_later_ones(gpu, networks, tmp_path):
    def start():
        return gpu.make_guard(networks('da3-small'), tmp_path / 'calibration.json')

    others = gpu.take(gpu.device, gpu.total_bytes - gpu.calibration.fixed_bytes - 60 * MIB)
    busy = start()
    assert view_seconds(busy) == [pytest.approx(9e-3)]
    assert busy.run(random_window(2), None).depth.shape[1] == 2
    others.num_bytes = 0
    # The same start, once there is room, and the next one.
    assert view_seconds(busy) == pytest.approx([1e-3, 9e-3])
    assert view_seconds(start()) == pytest.approx([1e-3, 9e-3])
    assert gpu.num_probes == 2


def test_a_probe_that_did_not_fit_is_not_tried_for_every_window(gpu, networks, tmp_path):
    others = gpu.take(gpu.device, gpu.total_bytes - gpu.calibration.fixed_bytes)
    guard = gpu.make_guard(networks('da3-small'), tmp_path / 'calibration.json')
    for _ in range(3):
        with pytest.raises(MemoryBudgetError, match='a few views do not fit'):
            guard.plan(SIZE)
    assert gpu.num_tries == 2 and gpu.num_probes == 0
    others.num_bytes = 0
    guard.plan(SIZE)
    assert gpu.num_probes == 2


def test_a_start_beside_other_work_is_measured_again_at_the_next(gpu, networks, tmp_path):
    gpu.slowness = 9.0
    path = tmp_path / 'calibration.json'
    first = gpu.make_guard(networks('da3-small'), path)
    assert view_seconds(first) == pytest.approx([9e-3, 81e-3])
    gpu.slowness = 1.0
    assert view_seconds(gpu.make_guard(networks('da3-small'), path)) == pytest.approx([1e-3, 9e-3])
    gpu.slowness = 1.4
    assert view_seconds(gpu.make_guard(networks('da3-small'), path)) == pytest.approx([1e-3, 9e-3])


@pytest.mark.parametrize('slowness', [3.0, 0.25])
def test_a_calibration_that_windows_contradict_is_made_anew(
    gpu, guard, networks, tmp_path, caplog, slowness
):
    window, path = random_window(2), tmp_path / 'calibration.json'
    guard.run(window, None)
    assert len(json.loads(path.read_text())) == 2
    gpu.slowness = slowness
    with caplog.at_level(logging.INFO, 'da3_ros'):
        for _ in range(7):
            guard.run(window, None)
        assert view_seconds(guard)[0] == pytest.approx(1e-3)
        for _ in range(2):
            guard.run(window, None)
    assert view_seconds(guard)[0] == pytest.approx(slowness * 1e-3)
    assert guard.plan(SIZE, Demand(2, 1)).seconds == pytest.approx(
        slowness * 2 * (1e-3 + 2 * 1e-5))
    assert f'windows take {slowness:.2f} times as long' in caplog.text
    # Of the way that ran; the next start measures it again.
    assert len(json.loads(path.read_text())) == 1
    num_probes, later = gpu.num_probes, gpu.make_guard(networks('da3-small'), path)
    assert view_seconds(later)[0] == pytest.approx(slowness * 1e-3)
    assert gpu.num_probes == num_probes + 2


def test_a_few_slow_windows_contradict_nothing(gpu, guard):
    window = random_window(2)
    for i in range(24):
        gpu.slowness = 1.0 if i % 4 == 0 else 30.0
        guard.run(window, None)
    assert view_seconds(guard)[0] == pytest.approx(1e-3)


@pytest.mark.parametrize('was_over', [False, True])
def test_a_window_that_was_over_before_it_was_asked_for_says_nothing_of_its_time(was_over):
    """Messages are made meanwhile, which take as long as they take."""
    class Done:
        """What a device has passed, or not."""

        def query(self):
            return was_over

        def synchronize(self):
            noted.append('waited')

    noted = []
    pending = PendingWindow(Done(), lambda: noted.append('read'), lambda: noted.append('noted'))
    pending.collect()
    assert noted == (['waited', 'read'] if was_over else ['waited', 'noted', 'read'])
