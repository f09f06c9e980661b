# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""One window over two GPUs: as exact as on one, within its memory, and alive after faults."""

import gc

from da3_ros.inference import InferenceEngine
from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.chunks import Chunks
from da3_ros.inference.memory_guard import MemoryLimits
from da3_ros.inference.memory_planner import Demand
from da3_ros.model import build_network
import numpy as np
import pytest
from random_weights import randomize
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(torch.cuda.device_count() < 2, reason='needs two CUDA devices'),
]

_SIZE = 252
_LARGE = ExecutorOptions(chunks=Chunks(2, 3, 2, 1), small_window=0)
_HEADS = ExecutorOptions(chunks=Chunks(2, 3, 2, 1), small_window=0, head_groups=3)


@pytest.fixture(autouse=True)
def alone_and_exact(tmp_path, monkeypatch):
    """Calibrate anew, count no engine of an earlier test, and leave TF32 out everywhere."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    # The processes of the other devices see it, too.
    monkeypatch.setenv('NVIDIA_TF32_OVERRIDE', '0')
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    gc.collect()
    torch.cuda.empty_cache()


def build(name):
    network = build_network(name)
    randomize(network)
    return network


def infer(name, device, images, dtype=torch.float32, options=None, **known):
    engine = InferenceEngine(
        build(name), device=device, dtype=dtype, size=_SIZE, options=options,
        limits=MemoryLimits(reserve_mib=64),
        use_ray_pose=known.pop('use_ray_pose', False), expects_poses='poses' in known)
    return engine.infer(images, **known)


def random_images(num_views, seed=0):
    rng = np.random.default_rng(seed)
    return list(rng.integers(0, 256, (num_views, 140, 252, 3), dtype=np.uint8))


def distance(found, expected):
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def given(num_views):
    poses = np.tile(np.eye(4), (num_views, 1, 1))
    poses[:, 0, 3] = np.arange(num_views)
    intrinsics = np.tile(
        [[200.0, 0.0, 126.0], [0.0, 200.0, 70.0], [0.0, 0.0, 1.0]], (num_views, 1, 1))
    return {'poses': poses, 'intrinsics': intrinsics}


@pytest.mark.parametrize('options', [None, _LARGE, _HEADS])
@pytest.mark.parametrize('num_views', [1, 2, 3, 7, 32])
def test_equal_to_one_gpu_for_any_number_of_views(num_views, options):
    images = random_images(num_views)
    expected = infer('da3-small', 'cuda:0', images, options=options)
    found = infer('da3-small', 'cuda:0,1', images, options=options)
    assert distance(found.depth, expected.depth) < 1e-6
    assert distance(found.confidence, expected.confidence) < 1e-6
    assert distance(found.poses, expected.poses) < 1e-5


@pytest.mark.parametrize('name', [
    'da3-base', 'da3-large', 'da3-giant', 'da3nested-giant-large', 'da3metric-large',
    'da3mono-large'])
def test_every_variant_is_equal_to_one_gpu(name):
    images = random_images(5)
    expected, found = (infer(name, device, images) for device in ('cuda:0', 'cuda:0,1'))
    assert distance(found.depth, expected.depth) < (1e-5 if 'nested' in name else 1e-6)
    if expected.poses is not None:
        assert distance(found.poses, expected.poses) < 1e-5


@pytest.mark.parametrize('known', [
    given(5), {'wanted': [4, 1]}, {'wanted': [0]}, {'use_ray_pose': True}])
def test_whatever_is_known_or_wanted(known):
    images = random_images(5)
    expected, found = (
        infer('da3-base', device, images, **known) for device in ('cuda:0', 'cuda:0,1'))
    assert distance(found.depth, expected.depth) < 1e-6
    assert distance(found.poses, expected.poses) < (1e-3 if 'use_ray_pose' in known else 1e-5)


@pytest.mark.parametrize('name', ['da3-base', 'da3-giant'])
def test_half_precision_is_no_farther_off_than_on_one(name):
    images = random_images(8)
    exact = infer(name, 'cuda:0', images)
    one, two = (
        infer(name, device, images, torch.bfloat16) for device in ('cuda:0', 'cuda:0,1'))
    assert distance(two.depth, exact.depth) < 1.15 * distance(one.depth, exact.depth)


def test_a_stream_of_windows_keeps_its_views():
    views = random_images(20)
    one, two = (
        InferenceEngine(build('da3-base'), device=device, dtype=torch.float32, size=_SIZE)
        for device in ('cuda:0', 'cuda:0,1'))
    for start in range(0, 14, 2):
        window = views[start:start + 6]
        expected, found = (engine.infer(window, wanted=[3, 4, 5]) for engine in (one, two))
        assert distance(found.depth, expected.depth) < 1e-6


def test_a_window_that_one_gpu_cannot_hold_runs_whole_on_two():
    """The largest that is planned; the memory of both is limited by the reserve."""
    free, _ = torch.cuda.mem_get_info(0)
    reserve_mib = int(free / 2**20) - 8 * 2**10
    engines = [
        InferenceEngine(
            build_network('da3-base'), device=device, size=_SIZE,
            limits=MemoryLimits(reserve_mib=reserve_mib))
        for device in ('cuda:0', 'cuda:0,1')]
    demand = Demand(min_views=1)
    alone, together = (engine.plan(140, 252, demand).num_views for engine in engines)
    assert together > 1.5 * alone
    assert engines[1].infer(random_images(together)).num_views == together


def test_a_gpu_whose_process_is_killed_is_left_out_and_the_window_comes_out():
    images = random_images(6)
    engine = InferenceEngine(build('da3-small'), device='cuda:0,1', size=_SIZE)
    expected = engine.infer(images)
    engine._runner.processes.processes[1].kill()
    found = engine.infer(images)
    assert [str(device) for device in engine.devices] == ['cuda:0']
    assert distance(found.depth, expected.depth) < 1e-2


def test_a_gpu_is_used_once():
    with pytest.raises(ValueError, match='expected different ones of the'):
        InferenceEngine(build('da3-small'), device='cuda:0,0')
