# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What a machine without a GPU can hold and finish."""

from dataclasses import replace
import sys
import time

from da3_ros.errors import MemoryBudgetError, PredictionError
from da3_ros.inference import device_runner, InferenceEngine, plan
from da3_ros.inference.branch import Branch, ExecutorOptions
from da3_ros.inference.chunks import Chunks
from da3_ros.inference.counted_memory import CountedMemory
from da3_ros.inference.executor import WindowExecutor
from da3_ros.inference.host_plan import calibrate_on_host, usable_ram_bytes
from da3_ros.inference.memory_model import Calibration, WindowModel
from da3_ros.inference.memory_planner import Demand
from da3_ros.model import build_network
import pytest
from reduced_networks import random_window
import torch

SIZE = (112, 140)
GIB = 2**30


def write(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


MEMINFO = 'MemTotal:       16303428 kB\nMemFree:          912340 kB\nMemAvailable:    8388608 kB\n'
V2 = 'sys/fs/cgroup/memory.'
V1 = 'sys/fs/cgroup/memory/memory.'


@pytest.mark.parametrize(('files', 'gib'), [
    ({}, 8.0),
    ({f'{V2}max': 'max\n', f'{V2}current': '1048576\n'}, 8.0),
    ({f'{V2}max': f'{3 * GIB}\n', f'{V2}current': f'{GIB}\n'}, 2.0),
    ({f'{V2}max': f'{GIB}\n', f'{V2}current': f'{2 * GIB}\n'}, 0.0),
    ({f'{V1}limit_in_bytes': f'{5 * GIB}\n', f'{V1}usage_in_bytes': f'{GIB}\n'}, 4.0),
    ({f'{V1}limit_in_bytes': '9223372036854771712\n', f'{V1}usage_in_bytes': '1\n'}, 8.0),
])
def test_half_of_the_free_ram_is_for_windows(tmp_path, files, gib):
    write(tmp_path, 'proc/meminfo', MEMINFO)
    for name, text in files.items():
        write(tmp_path, name, text)
    assert usable_ram_bytes(tmp_path) == 0.5 * gib * GIB


def test_the_kernel_of_this_machine_is_understood(tmp_path):
    assert 0 < usable_ram_bytes() < 2**50
    # Where the kernel has no such files, torch's own way would not be less.
    assert usable_ram_bytes(tmp_path) > 0


def test_tensors_are_counted_once_and_while_they_live():
    before = torch.zeros(10, 1000)
    with torch.inference_mode(), CountedMemory() as memory:
        before[3].add_(1)
        assert memory.peak_bytes == 0
        first = torch.ones(1000)
        second = (first * 2).view(10, 100).mul_(3)
        assert memory.held_bytes == memory.peak_bytes == 8000
        del first
        assert (memory.held_bytes, memory.peak_bytes) == (4000, 8000)
        memory.forget_peak()
        assert memory.peak_bytes == 4000
        del second
    assert memory.held_bytes == 0


def test_counting_does_not_bring_in_the_compiler(monkeypatch):
    """It takes seconds and a hundred MiB of what is counted here."""
    monkeypatch.setitem(sys.modules, 'torch._dynamo', None)

    class Counted(CountedMemory):
        """Has what torch makes of a class of this kind made anew."""

        def __torch_dispatch__(self, *arguments):
            """Pass it on."""
            return super().__torch_dispatch__(*arguments)

    with Counted() as memory:
        kept = torch.zeros(1000)
        assert memory.held_bytes == kept.nbytes


def test_the_probe_predicts_what_a_window_holds():
    """Weights were there before; all that a larger window makes is counted."""
    torch.manual_seed(0)
    network = build_network('da3-tiny')
    executor = WindowExecutor(network)
    cost = calibrate_on_host(network, executor, SIZE)
    assert cost.calibration.fixed_bytes == sum(weight.nbytes for weight in network.parameters())
    for num_views in (3, 8):
        with CountedMemory() as memory:
            executor.run(random_window(num_views, *SIZE))
        predicted = cost.peak_bytes(num_views) - cost.calibration.fixed_bytes
        assert 0.8 < predicted / memory.peak_bytes < 1.5


def test_times_grow_with_the_views_and_with_their_pairs(monkeypatch):
    """By a clock that the network itself moves: 3 ms for a view, 1 ms for a pair."""
    network = build_network('da3-tiny')
    executor = WindowExecutor(network)
    now = [0.0]
    sizes = []

    def cost(num_views):
        return num_views * (3e-3 + num_views * 1e-3)

    def run(pixels):
        now[0] += cost(len(pixels))
        sizes.append(len(pixels))
        raise PredictionError('black images may be all sky')

    executor.run = run
    monkeypatch.setattr('da3_ros.inference.host_plan.pair_seconds', lambda *_, **__: 1e-3)
    monkeypatch.setattr(time, 'perf_counter', lambda: now[0])
    found = calibrate_on_host(network, executor, SIZE)
    assert found.seconds(12) == pytest.approx(cost(12))
    # The node waits for it: nothing but what was counted warms it up.
    assert sizes == [1]


@pytest.mark.parametrize(('chunk', 'num_views'), [(20, 20), (5, 20), (5, 40)])
def test_a_backbone_without_fused_kernels_is_predicted(chunk, num_views):
    """As on a GPU without Triton, whose tensors are the same."""
    network = build_network('da3-small').eval()
    network.set_compute_dtype(torch.bfloat16)
    options = ExecutorOptions(chunks=Chunks(chunk, chunk, head=1))
    branch = Branch(network, options)
    pixels = torch.zeros(num_views, 70, 126, 3, dtype=torch.uint8)
    with torch.inference_mode():
        branch.features(pixels[:1], None)
        with CountedMemory() as memory:
            branch.features(pixels, None)
    model = WindowModel(
        network.config, (70, 126), torch.bfloat16, options, Calibration(0, 0, 0, 0.0, 0.0),
        is_fused=False)
    # In one piece, keys and values are counted twice: small windows are safe.
    most = 1.1 if chunk < num_views else 1.25
    assert 1.0 < model.peak_bytes(num_views) / memory.peak_bytes < most
    assert replace(model, is_fused=True).peak_bytes(num_views) < memory.peak_bytes


@pytest.fixture
def engine():
    torch.manual_seed(0)
    return InferenceEngine(build_network('da3-tiny'), device='cpu', size=140)


def test_a_window_is_planned_by_time_and_ram(engine, monkeypatch):
    plan_of_time = engine.plan(112, 140, Demand(max_latency_s=0.5))
    assert plan_of_time.limited_by == 'latency' and plan_of_time.num_views >= 2
    assert plan_of_time.seconds <= 0.5 and plan_of_time.image_size == SIZE
    monkeypatch.setattr(device_runner, 'usable_ram_bytes', lambda: 40 * 2**20)
    plan_of_ram = engine.plan(112, 140)
    assert plan_of_ram.limited_by == 'memory'
    monkeypatch.setattr(device_runner, 'usable_ram_bytes', lambda: 0.0)
    with pytest.raises(MemoryBudgetError, match='not one view, because of memory'):
        engine.plan(112, 140)


@pytest.mark.parametrize(('height', 'width'), [(0, 0), (0, 140), (-112, 140), (1, 140)])
def test_a_plan_for_no_image_is_a_mistake_that_is_named(engine, height, width):
    with pytest.raises(ValueError, match=f'got .*{width}x{height}'):
        engine.plan(height, width)


@pytest.mark.parametrize('size', ['0x0', '100x56', '56x-42', '56', 'large', '13x14'])
def test_the_command_names_a_size_that_is_none(capsys, size):
    with pytest.raises(SystemExit):
        plan.main(['--sizes', size])
    assert f"got '{size}', expected WIDTHxHEIGHT in multiples of 14" in capsys.readouterr().err


def test_the_command_says_what_a_processor_does(capsys):
    arguments = ['--models', 'da3-tiny', '--sizes', '56x42', '--device', 'cpu']
    rows = []
    for latency_s in ('0.01', '600', '0'):
        assert plan.main([*arguments, '--max-latency-s', latency_s]) == 0
        header, titles, _, row = capsys.readouterr().out.splitlines()
        assert 'threads' in header and 'torch.float32' in header and 'keyframes/s' in titles
        rows.append([cell.strip() for cell in row.split('|')[1:-1]])
    assert rows[0][-1] in ('latency', 'accuracy') or 'because of latency' in rows[0][-1]
    # More views than this were not more accurate.
    assert [row[3] for row in rows[1:]] == ['12', '12'] and rows[1][-1] == 'accuracy'
    _, size, _, _, _, seconds, rate, _ = rows[1]
    # Half of the time, four new keyframes in a window; both are rounded.
    assert size == '56x42' and (
        float(rate) + 0.05 >= 0.5 * 4 / (float(seconds) + 0.005))
    assert plan.main([*arguments, '--views', '30', '--max-latency-s', '0']) == 0
    assert '| 1 | 30 |' in capsys.readouterr().out
    assert plan.main([*arguments[:-1], 'cpu,cpu', '--views', '30', '--max-latency-s', '0']) == 0
    assert '| 2 | 30 |' in capsys.readouterr().out
