# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The script that tests the planner on a GPU, on a counted one: its own logic and its verdicts."""

import json
import re

from da3_ros.inference.branch import ExecutorOptions
from da3_ros.model import build_network
import limit_trials
import limits
import memory_stress
import pytest
from simulated_gpu import SimulatedGpu
import torch

GIB = 2**30


@pytest.fixture
def run_limits(monkeypatch, tmp_path, capsys):
    """Run the script on a GPU of 8 GiB; give its lines and its records."""
    def run(*arguments, miss=1.0):
        gpu = SimulatedGpu(8 * GIB, miss=miss)
        gpu.install(monkeypatch)
        monkeypatch.setattr(limits, 'choose_device', lambda: gpu.device)
        monkeypatch.setattr(limits, 'reduce_fragmentation', lambda: None)
        monkeypatch.setattr(limits, 'make_guard', lambda name, _, cache: gpu.make_guard(
            build_network(name, device='meta'), cache, options=ExecutorOptions(small_window=0)))
        for module in (limit_trials, memory_stress):
            monkeypatch.setattr(module, 'take', gpu.take)
        limits.main([*arguments, '--out', str(tmp_path)])
        records = [json.loads(line) for line in (tmp_path / 'limits.jsonl').open()]
        return capsys.readouterr().out, records

    return run


def kinds(records):
    return [record['kind'] for record in records]


def test_everything_asked_for_is_run_and_counted(run_limits):
    out, records = run_limits(
        '--models', 'da3-small', 'da3metric-large', '--limits', '0.5', '1', '0.045',
        '--draws', '3', '--stress', '40')
    assert kinds(records).count('WindowRun') == 6
    assert kinds(records).count('LimitRun') == 2 * 3 * 3
    assert kinds(records).count('StressRun') == 40
    assert '6 from -2% to +5%' in out
    assert '18 limits: 6 without one view, 12 windows ran (' in out and ', 0 failed' in out
    assert '40 draws under stress, 0 raised' in out
    assert {record['moment'] for record in records if record['kind'] == 'StressRun'} == set(
        memory_stress.MOMENTS)
    assert torch.cuda.get_per_process_memory_fraction(None) == 1.0


def test_windows_fill_their_limit_with_or_without_other_memory(run_limits):
    out, records = run_limits('--models', 'da3-small', '--limits', '0.5', '4', '--stress', '0')
    runs = [record for record in records if record['kind'] == 'LimitRun']
    assert len(runs) == 6
    for run in runs:
        assert 0.9 < run['window']['held_gib'] / run['limit_gib'] <= 1.0
    whole = [run['window']['num_views'] == run['planned_views'] for run in runs]
    assert 0 < sum(whole) < len(whole)
    assert re.search(r'\*\*\d+\*\*', out)


def test_memory_comes_and_windows_become_smaller(run_limits):
    _, records = run_limits(
        '--models', 'da3-small', '--limits', '1', '--draws', '0', '--stress', '300')
    stress = [record for record in records if record['kind'] == 'StressRun']
    assert len(stress) == 300
    smaller = [run for run in stress if 0 < run['num_views'] < run['wanted_views']]
    assert len(smaller) > 30
    assert any(run['num_views'] == 0 for run in stress)
    # What is taken is given back: where nothing is, every window runs.
    inside = [run for run in stress if run['moment'] == memory_stress.MOMENTS[2]]
    assert all(run['num_views'] == run['wanted_views'] for run in inside)


def test_a_planner_that_promises_too_much_is_found_out(run_limits):
    out, records = run_limits(
        '--models', 'da3-small', '--limits', '2', '--draws', '5', '--stress', '150', miss=1.2)
    assert '0 from -2% to +5%' in out
    assert ' 0 failed' not in out and '!' in out
    assert sum(record.get('num_caught', 0) for record in records) > 0


def test_it_ends_when_it_is_told_to(run_limits):
    out, records = run_limits('--models', 'da3-small', '--seconds', '0')
    assert records == []
    assert 'no draws' in out and 'no limits' in out and 'no stress' in out
