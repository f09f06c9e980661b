# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Small windows on a GPU: recorded, kept, given back."""

from dataclasses import replace
import gc

from da3_ros.inference import InferenceEngine
from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.executor import WindowExecutor
from da3_ros.inference.launching import GraphLauncher
from da3_ros.inference.memory_guard import MemoryLimits
from da3_ros.inference.placement import place
from da3_ros.model import build_network
from da3_ros.model.camera_head import Cameras
import numpy as np
import pytest
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device'),
]

_DEVICE = torch.device('cuda')
_NUM_TO_RECORD = 3


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    """Calibrate anew, and count no engine of an earlier test."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    gc.collect()
    torch.cuda.empty_cache()


def random_window(num_views, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (num_views, 140, 252, 3), dtype=np.uint8)


def half_network(name):
    torch.manual_seed(0)
    network = build_network(name, device=_DEVICE)
    network.set_compute_dtype(torch.bfloat16)
    place(network, _DEVICE, with_rays=False)
    return network


def cameras(num_views):
    extrinsics = torch.eye(4).repeat(num_views, 1, 1)
    extrinsics[:, 0, 3] = torch.arange(num_views)
    intrinsics = torch.tensor([[200.0, 0.0, 126.0], [0.0, 200.0, 70.0], [0.0, 0.0, 1.0]])
    return Cameras(extrinsics[None], intrinsics.repeat(1, num_views, 1, 1))


def fast_model(guard):
    return replace(guard._ways[0].model, options=guard._fast.options)


def assert_same(found, expected):
    for name in ('depth', 'confidence', 'extrinsics', 'intrinsics', 'sky', 'appearance'):
        one, other = getattr(found, name), getattr(expected, name)
        assert (one is None) == (other is None)
        assert one is None or torch.equal(one, other), name


@pytest.mark.parametrize('name', ['da3-small', 'da3-giant', 'da3metric-large'])
@pytest.mark.parametrize('given', [None, cameras(5)])
def test_recorded_windows_are_equal_to_the_last_bit(name, given):
    if name == 'da3metric-large' and given is not None:
        return
    network = half_network(name)
    executor = WindowExecutor(network)
    window = random_window(5)
    first = executor.run(window, given)
    for _ in range(_NUM_TO_RECORD):
        executor.run(random_window(5, seed=1), given)
    launcher = executor._small._launcher
    assert isinstance(launcher, GraphLauncher)
    assert launcher.num_graphs > 0
    assert_same(executor.run(window, given), first)


def test_a_stream_is_equal_to_windows_that_know_nothing():
    network = half_network('da3-base')
    executor = WindowExecutor(network)
    anew = WindowExecutor(network, ExecutorOptions(small_window=0))
    views = random_window(30)
    for start in range(0, 24, 2):
        window, keys = views[start:start + 6], range(start, start + 6)
        found = executor.run(window, keys=keys, wanted=[3, 4, 5])
        expected = anew.run(window, wanted=[3, 4, 5])
        error = (found.depth - expected.depth).norm() / expected.depth.norm()
        # In half precision, and of other shapes.
        assert error < 1e-2


def test_windows_may_be_submitted_before_others_are_collected():
    executor = WindowExecutor(half_network('da3-small'))
    windows = [random_window(4, seed) for seed in range(6)]
    expected = [executor.run(window) for window in windows]
    pending = [executor.submit(window) for window in windows]
    for found, output in zip(pending, expected, strict=True):
        assert_same(found.collect(), output)


def test_what_is_held_is_given_back():
    network = half_network('da3-small')
    executor = WindowExecutor(network)
    WindowExecutor(network, ExecutorOptions(small_window=0)).run(random_window(8))
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    for _ in range(_NUM_TO_RECORD):
        executor.run(random_window(8))
    assert executor.held_bytes > 0
    executor.release()
    gc.collect()
    torch.cuda.empty_cache()
    assert executor.held_bytes == 0
    # The workspaces of the executor's own stream stay.
    assert torch.cuda.memory_reserved() - before < 80 * 2**20


def test_recorded_windows_stay_within_their_prediction():
    torch.manual_seed(0)
    engine = InferenceEngine(
        build_network('da3-base'), size=252, limits=MemoryLimits(reserve_mib=0))
    images = list(random_window(24))
    engine.infer(images[:2])
    guard = engine._runner.executor
    gc.collect()
    torch.cuda.empty_cache()
    for num_views in (6, 12, 24, 12):
        for _ in range(_NUM_TO_RECORD + 1):
            torch.cuda.reset_peak_memory_stats()
            engine.infer(images[:num_views])
    model = fast_model(guard)
    predicted = model.peak_bytes(24) + model.held_bytes(24)
    assert torch.cuda.max_memory_reserved() < 1.03 * predicted + 80 * 2**20


def test_out_of_memory_gives_back_what_is_held_and_the_window_comes_out():
    torch.manual_seed(0)
    engine = InferenceEngine(
        build_network('da3-small'), size=252, limits=MemoryLimits(reserve_mib=0))
    images = list(random_window(24))
    expected = None
    for _ in range(_NUM_TO_RECORD):
        expected = engine.infer(images)
    guard = engine._runner.executor
    assert guard._fast.held_bytes > 0
    total = torch.cuda.get_device_properties(0).total_memory
    model = fast_model(guard)
    own = guard._fast.held_bytes + model.calibration.fixed_bytes
    limit = model.peak_bytes(24) + model.held_bytes(24) / 2
    limit += max(torch.cuda.memory_allocated() - own, 0)
    try:
        torch.cuda.set_per_process_memory_fraction(limit / 0.97 / total)
        found = engine.infer(images)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert guard._fast.held_bytes == 0
    assert np.allclose(found.depth, expected.depth, rtol=2e-2)
