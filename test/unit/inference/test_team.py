# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Processes that run windows together, and what becomes of them: on the CPU, with gloo."""

import copy
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

from da3_ros.errors import DeviceLostError, MemoryBudgetError
from da3_ros.inference import InferenceEngine
from da3_ros.inference.device_runner import RunnerSettings
from da3_ros.inference.executor import WindowExecutor
from da3_ros.inference.memory_planner import Demand
from da3_ros.inference.team.team import Team
import numpy as np
import pytest
from reduced_networks import build_reduced, random_intrinsics, random_poses, random_window
from test_device import too_wide_for_half
from test_executor import assert_equal
import torch

CPUS = (torch.device('cpu'), torch.device('cpu'))
SETTINGS = RunnerSettings(torch.float32)
WINDOW = random_window(5, 28, 42)


@pytest.fixture(scope='module')
def alone():
    """Give what one device makes of the window."""
    return WindowExecutor(build_reduced('da3-small')).run(WINDOW)


@pytest.fixture(scope='module')
def faults(tmp_path_factory):
    """Give the folder by which faults are put into processes."""
    return tmp_path_factory.mktemp('faults')


@pytest.fixture(scope='module')
def start(faults):
    """Start processes that faults can be put into."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('FAULTS', str(faults))
        patch.setattr(sys, 'path', [str(Path(__file__).parent), *sys.path])
        yield lambda **settings: Team(
            build_reduced('da3-small'), CPUS, SETTINGS, module='faulty_member', **settings)


@pytest.fixture(scope='module')
def team(start):
    """Give two devices, for faults that they survive."""
    return start()


def is_running(process):
    return process.poll() is None


def is_gone(number):
    """Tell whether a process has ended, whether or not anybody has taken note of it."""
    try:
        state = Path(f'/proc/{number}/stat').read_text().rpartition(')')[2].split()[0]
    except OSError:
        return True
    return state == 'Z'


def processes(team):
    return [] if team.processes is None else list(team.processes.processes)


@pytest.mark.parametrize('kind', ['block', 'head'])
@pytest.mark.parametrize('rank', [0, 1])
def test_memory_that_is_short_on_one_device_makes_all_run_in_smaller_pieces(
    team, faults, alone, kind, rank
):
    before, num_before = processes(team), team.num_shortages
    (faults / f'{kind} {rank}').touch()
    assert_equal(team.submit(WINDOW, keys=range(5)).collect(), alone)
    assert not list(faults.iterdir())
    assert team.num_shortages == num_before + 1
    assert processes(team) == before and all(map(is_running, before))


@pytest.mark.parametrize('rank', [0, 1])
def test_the_device_with_the_least_memory_counts(team, faults, alone, rank):
    demand = Demand(num_views=40, min_views=1)
    assert team.plan((28, 42), demand).num_views == 40
    full = faults / f'full {rank}'
    full.touch()
    try:
        with pytest.raises(MemoryBudgetError, match='5 views need'):
            team.submit(WINDOW).collect()
        with pytest.raises(MemoryBudgetError, match='not one view, because of memory'):
            team.plan((28, 42), demand)
    finally:
        full.unlink()
    assert_equal(team.submit(WINDOW).collect(), alone)


def test_an_error_of_one_device_is_told_and_all_go_on(team, faults, alone):
    for rank in (0, 1):
        (faults / f'wrong {rank}').touch()
        with pytest.raises(KeyError, match='injected'):
            team.submit(WINDOW, keys=range(5)).collect()
        assert_equal(team.submit(WINDOW, keys=range(5)).collect(), alone)
    assert len(team.devices) == 2


def test_devices_that_fail_at_once_in_different_ways_stay_together(team, faults, alone):
    """The one would try again, the other not: neither must wait for the other."""
    for full, broken in ((0, 1), (1, 0)):
        (faults / f'head {full}').touch()
        (faults / f'broken head {broken}').touch()
        with pytest.raises(KeyError, match='injected'):
            team.submit(WINDOW, keys=range(5)).collect()
        assert not list(faults.iterdir())
        assert_equal(team.submit(WINDOW, keys=range(5)).collect(), alone)
    assert len(team.devices) == 2


def test_weights_that_do_not_fit_one_device_are_refused(start, faults):
    (faults / 'load 1').touch()
    with pytest.raises(MemoryBudgetError, match='the weights do not fit'):
        start()


def test_a_device_that_does_not_answer_is_gone_and_the_window_comes_out(start, faults, alone):
    """
    Also where it is not known which, and all may be sound.

    And where the last one is killed, there is an error that says so, and no wait.
    """
    team = start(patience_s=10.0)
    for rank in (0, 1):
        (faults / f'asleep {rank}').touch()
    assert_equal(team.submit(WINDOW).collect(), alone)
    assert len(team.devices) == 2
    before = processes(team)
    (faults / 'asleep 0').touch()
    assert_equal(team.submit(WINDOW).collect(), alone)
    assert not any(map(is_running, before))
    assert len(team.devices) == 1
    last = processes(team)
    last[0].kill()
    for _ in range(2):
        with pytest.raises(DeviceLostError, match='none is left'):
            team.submit(WINDOW).collect()


def test_a_device_that_is_killed_is_gone_and_the_window_comes_out(team, faults, alone, caplog):
    """Last, with the devices that have survived everything else."""
    before = processes(team)
    (faults / 'killed 1').touch()
    assert_equal(team.submit(WINDOW, keys=range(5)).collect(), alone)
    assert 'cpu is lost: its process has ended with status -9; going on with cpu' in caplog.text
    assert not any(map(is_running, before))
    assert len(team.devices) == 1
    assert_equal(team.submit(WINDOW, keys=range(5)).collect(), alone)


def test_nothing_is_left_of_a_program_that_is_ended():
    """Neither by kill nor by Ctrl-C, which a terminal sends to all that run in front."""
    folder = Path(__file__).parent
    programs = [
        subprocess.Popen(
            [sys.executable, '-c', ORPHANS, *map(str, (folder, folder.parents[1]))],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0)
        for _ in range(2)
    ]
    for program, sent in zip(programs, (signal.SIGKILL, signal.SIGINT), strict=True):
        numbers = [int(number) for number in program.stdout.readline().split()]
        assert len(numbers) == 1
        os.killpg(program.pid, sent)
        program.communicate(timeout=60)
        deadline_s = time.monotonic() + 60.0
        while not all(map(is_gone, numbers)):
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
        assert program.returncode != 0


ORPHANS = """
import sys, time
sys.path[:0] = sys.argv[1:]
from reduced_networks import build_reduced
from test_team import CPUS, SETTINGS, Team
team = Team(build_reduced('da3-small'), CPUS[:1], SETTINGS)
print(*(process.pid for process in team.processes.processes), flush=True)
# Not in one piece: Ctrl-C just before it would only be seen after it.
while True:
    time.sleep(0.1)
"""


@pytest.fixture(scope='module')
def engines():
    """Give an engine on two devices, and the same on one."""
    shared, alone = (
        InferenceEngine(build_reduced('da3-small'), device=device, size=56)
        for device in ('cpu,cpu', 'cpu'))
    yield shared, alone
    del shared


def test_an_engine_on_several_devices_answers_as_on_one(engines):
    shared, alone = engines
    assert [str(device) for device in shared.devices] == ['cpu', 'cpu']
    assert shared.works_apart and not alone.works_apart
    images = list(random_window(6, 42, 56))
    posed = {'poses': random_poses(6), 'intrinsics': random_intrinsics(6)}
    answers = []
    for known in ({}, {'wanted': [5, 0]}, {'wanted': [1]}, posed):
        found, expected = shared.infer(images, **known), alone.infer(images, **known)
        for name in ('depth', 'confidence', 'poses', 'intrinsics', 'appearance'):
            value = getattr(found, name)
            assert np.allclose(value, getattr(expected, name), rtol=1e-5, atol=1e-5), name
        answers.append((found, expected))
    # What came out earlier stays as it was.
    for found, expected in answers:
        assert np.allclose(found.depth, expected.depth, rtol=1e-5)


def test_maps_that_are_kept_hold_no_files_open(engines):
    """A session may keep as many as it likes."""
    shared, _ = engines
    images = list(random_window(3, 42, 56))
    num_before = len(list(Path('/proc/self/fd').iterdir()))
    kept = [shared.infer(images).depth for _ in range(30)]
    assert len(list(Path('/proc/self/fd').iterdir())) <= num_before + 8
    assert all(np.array_equal(depth, kept[0]) for depth in kept)
    assert len({depth.ctypes.data for depth in kept}) == 30
    del kept
    shared.infer(images)
    assert len(shared._runner._maps) <= 3


def test_a_window_that_nobody_collects_is_no_obstacle(engines):
    """And comes out all the same where somebody does, later."""
    shared, alone = engines
    images = list(random_window(4, 42, 56))
    shared.submit(images)
    pending = shared.submit(images)
    found = shared.infer(images[:3])
    assert np.allclose(found.depth, alone.infer(images[:3]).depth, rtol=1e-5)
    assert np.allclose(pending.collect().depth, alone.infer(images).depth, rtol=1e-5)


def test_wrong_arguments_are_told_as_on_one_device(engines):
    for engine in engines:
        with pytest.raises(ValueError, match='wanted: got'):
            engine.infer(list(random_window(2, 42, 56)), wanted=[2])
    assert engines[0].infer(list(random_window(2, 42, 56))).num_views == 2


def test_devices_plan_together(engines):
    plan = engines[0].plan(42, 56, Demand(num_views=7, min_views=1))
    assert (plan.num_views, plan.limited_by) == (7, 'demand')


def test_float16_that_is_too_narrow_widens_everywhere():
    """So it does in processes that take the place of others."""
    network = too_wide_for_half()
    window = list(random_window(3, 42, 56))
    expected = InferenceEngine(copy.deepcopy(network), device='cpu', size=56).infer(window)
    engine = InferenceEngine(network, device='cpu,cpu', dtype=torch.float16, size=56)
    found = engine.infer(window)
    assert engine.dtype == torch.float32
    assert np.allclose(found.depth, expected.depth, rtol=2e-2)
    before = processes(engine._runner)
    before[0].kill()
    assert np.allclose(engine.infer(window).depth, found.depth, rtol=1e-5)
    last = processes(engine._runner)
    assert all(map(is_running, last))
    # They end with the engine.
    del engine
    assert not any(map(is_running, [*before, *last]))
