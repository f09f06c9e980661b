# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Windows within memory that is counted: refused before, caught after, and never lost."""

import logging
from unittest import mock
import weakref

from da3_ros.errors import MemoryBudgetError
from da3_ros.inference import InferenceEngine, memory_guard
from da3_ros.inference.executor import WindowExecutor
from da3_ros.mapping.config import KeyframeConfig, PipelineConfig, WindowConfig
from da3_ros.mapping.frame_stream import FrameStream
from da3_ros.mapping.keyframe import Frame
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.model.camera_head import Cameras
import numpy as np
import pytest
from reduced_networks import random_intrinsics, random_poses, random_window
from simulated_gpu import MIB, SimulatedGpu
import torch
import torch.nn.functional as F

SIZE = (42, 56)


def leave(gpu, guard, num_views, size=SIZE):
    """Take all memory but that for so many views in small pieces."""
    cost = guard._ways_for(size)[-1][1]
    usable = 0.97 * gpu.total_bytes - cost.peak_bytes(num_views)
    return gpu.take(gpu.device, usable)


def test_a_window_that_does_not_fit_is_refused_with_one_that_does(gpu, guard):
    others = leave(gpu, guard, 12)
    window = random_window(30)
    with pytest.raises(MemoryBudgetError, match='30 views need') as caught:
        guard.run(window, None)
    assert caught.value.max_views == 12
    assert guard.run(window[:12], None).depth.shape == (1, 12, *SIZE)
    assert gpu.num_failures == 0 and guard.num_shortages == 1
    assert others.num_bytes > 0


def test_where_large_pieces_do_not_fit_small_ones_give_the_same(gpu, guard, networks):
    window = random_window(12)
    expected = WindowExecutor(networks('da3-small')).run(window)
    others = leave(gpu, guard, 12)
    assert guard.window_model(SIZE).max_views(0.97 * gpu.total_bytes - others.num_bytes) < 12
    found = guard.run(window, None)
    assert (found.depth - expected.depth).abs().max() < 1e-6 * expected.depth.abs().max()


@pytest.mark.parametrize('call', [1, 7, 12])
def test_memory_that_runs_out_inside_is_caught_and_the_window_runs_again(
    guard, networks, monkeypatch, caplog, call
):
    window = random_window(6)
    expected = WindowExecutor(networks('da3-small')).run(window)
    attention, calls = F.scaled_dot_product_attention, []

    def fail_once(*args, **kwargs):
        calls.append(None)
        if len(calls) == call:
            raise torch.cuda.OutOfMemoryError('CUDA out of memory (injected)')
        return attention(*args, **kwargs)

    monkeypatch.setattr(F, 'scaled_dot_product_attention', fail_once)
    with caplog.at_level(logging.WARNING, 'da3_ros'):
        found = guard.run(window, None)
    assert 'out of GPU memory with 6 views' in caplog.text and guard.num_shortages == 1
    assert (found.depth - expected.depth).abs().max() < 1e-6 * expected.depth.abs().max()


@pytest.mark.parametrize('message', [
    'CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`',
    'cuDNN error: CUDNN_STATUS_ALLOC_FAILED', 'CUDA error: out of memory',
])
def test_other_words_for_it_are_memory_that_runs_out(guard, monkeypatch, message):
    attention, calls = F.scaled_dot_product_attention, []

    def fail_once(*args, **kwargs):
        calls.append(None)
        if len(calls) == 1:
            raise RuntimeError(message)
        return attention(*args, **kwargs)

    monkeypatch.setattr(F, 'scaled_dot_product_attention', fail_once)
    assert guard.run(random_window(2), None).depth.shape[1] == 2
    assert guard.num_shortages == 1


class FullUntilEmptied:
    """Memory that what the allocator holds keeps full."""

    def __init__(self, work):
        self._work = work
        self._is_full = True

    def __call__(self, *args, **kwargs):
        if self._is_full:
            raise torch.cuda.OutOfMemoryError('CUDA out of memory (held)')
        return self._work(*args, **kwargs)

    def empty(self):
        self._is_full = False


def test_what_the_allocator_holds_of_a_failed_run_is_freed_before_the_next(guard, monkeypatch):
    full = FullUntilEmptied(F.scaled_dot_product_attention)
    monkeypatch.setattr(F, 'scaled_dot_product_attention', full)
    monkeypatch.setattr(torch.cuda, 'empty_cache', full.empty)
    assert guard.run(random_window(2), None).depth.shape[1] == 2


def test_what_the_allocator_holds_of_a_failed_probe_is_freed_before_the_next(
    gpu, guard, monkeypatch
):
    full = FullUntilEmptied(lambda *_: gpu.calibration)
    monkeypatch.setattr(memory_guard, 'calibrate', full)
    monkeypatch.setattr(torch.cuda, 'empty_cache', full.empty)
    assert guard.run(random_window(2), None).depth.shape[1] == 2


def test_a_record_in_the_log_keeps_nothing_of_the_failed_run_alive(guard, monkeypatch, caplog):
    """Handlers may keep records, and an error holds all tensors of the functions it passed."""
    attention, held = F.scaled_dot_product_attention, []

    def fail_once(queries, *args, **kwargs):
        held.append(weakref.ref(queries))
        if len(held) == 1:
            raise torch.cuda.OutOfMemoryError('CUDA out of memory (injected)')
        assert held[0]() is None, 'the memory that was short is still taken'
        return attention(queries, *args, **kwargs)

    monkeypatch.setattr(F, 'scaled_dot_product_attention', fail_once)
    with caplog.at_level(logging.DEBUG, 'da3_ros'):
        guard.run(random_window(4), None)
    assert len(held) > 1
    assert 'CUDA out of memory (injected)' in caplog.text


def test_the_share_of_the_gpu_that_this_process_may_take_is_kept_to(gpu, guard):
    window, total = random_window(2), gpu.total_bytes
    guard.run(window, None)
    torch.cuda.set_per_process_memory_fraction(0.01)
    with pytest.raises(MemoryBudgetError, match='2 views need'):
        guard.run(window, None)
    assert gpu.num_failures == 0
    assert gpu.total_bytes == total
    torch.cuda.set_per_process_memory_fraction(1.0)
    guard.run(window, None)


def test_other_errors_pass(guard, monkeypatch):
    def fail(*_args, **_kwargs):
        raise RuntimeError('something else')

    monkeypatch.setattr(F, 'scaled_dot_product_attention', fail)
    with pytest.raises(RuntimeError, match='something else'):
        guard.run(random_window(2), None)


def test_a_formula_that_promises_too_much_never_reaches_the_caller(
    monkeypatch, networks, tmp_path
):
    gpu = SimulatedGpu(256 * MIB, miss=4.0)
    gpu.install(monkeypatch)
    guard = gpu.make_guard(networks('da3-small'), tmp_path / 'calibration.json')
    others = leave(gpu, guard, 20)
    with pytest.raises(MemoryBudgetError, match='ran out of memory with 20 views'):
        guard.run(random_window(20), None)
    assert gpu.num_failures > 0
    del others
    assert guard.run(random_window(2), None).depth.shape[1] == 2


def test_memory_that_makes_windows_fast_is_given_back_where_it_is_short(gpu, guard):
    window = random_window(6)
    expected = guard.run(window)
    assert guard._fast.held_bytes > 0
    others = leave(gpu, guard, 8)
    found = guard.run(window)
    assert guard._fast.held_bytes == guard.num_shortages == 0
    assert torch.allclose(found.depth, expected.depth, rtol=1e-5)
    del others
    guard.run(window)
    assert guard._fast.held_bytes > 0


def test_a_fast_window_that_runs_out_of_memory_runs_plainly(monkeypatch, guard):
    window = random_window(6)
    expected = guard.run(window)

    def fail(*_, **__):
        raise torch.cuda.OutOfMemoryError('CUDA out of memory (injected)')

    monkeypatch.setattr(guard._fast, 'submit', fail)
    found = guard.run(window)
    assert guard._fast.held_bytes == 0 and guard.num_shortages == 1
    assert torch.allclose(found.depth, expected.depth, rtol=1e-5)


def test_refusals_keep_nothing_alive(gpu, guard):
    """A cycle through a traceback would hold the caller's tensors until the next collection."""
    def refused():
        held = gpu.take(gpu.device, 2 * gpu.total_bytes)
        for attempt in (lambda: guard.plan(SIZE), lambda: guard.run(random_window(2), None)):
            with pytest.raises(MemoryBudgetError):
                attempt()
        return weakref.ref(held)

    guard.plan(SIZE)
    assert refused()() is None


def test_the_camera_encoder_counts_with_the_first_poses(gpu, networks, tmp_path):
    network = networks('da3-small')
    guard = gpu.make_guard(network, tmp_path / 'calibration.json')
    window = random_window(12)
    poses, intrinsics = random_poses(12), random_intrinsics(12)
    cameras = Cameras(
        torch.from_numpy(np.linalg.inv(poses)[None, :, :3]).float(),
        torch.from_numpy(intrinsics[None]).float())
    others = leave(gpu, guard, 12)
    assert guard.run(window, cameras).depth.shape[1] == 12
    with mock.patch.object(memory_guard, 'missing_bytes', lambda *_: 50 * MIB):
        assert guard.run(window, None).depth.shape[1] == 12
        with pytest.raises(MemoryBudgetError, match='12 views need'):
            guard.run(window, cameras)
    assert others.num_bytes > 0


def test_a_stream_keeps_every_keyframe_while_memory_comes_and_goes(gpu, guard, networks):
    engine = InferenceEngine(networks('da3-small'), device='cpu', size=28)
    engine._runner.executor = guard
    config = PipelineConfig(
        keyframe=KeyframeConfig(mode='time', min_interval_s=0.0, min_sharpness=0.0),
        window=WindowConfig(size=12, stride=3, min_views=2),
    )
    pipeline, stream = DepthPipeline(engine, config), FrameStream(config)
    kept, posed, sizes, others = [], [], [], None
    for i, image in enumerate(random_window(84, 28, 28, seed=3)):
        if i == 30:
            others = leave(gpu, guard, 5, (28, 28))
        if i == 45:
            others = None
        (instant,) = stream.take(Frame(stamp_ns=i * 10**8, image=image)).instants
        kept += [keyframe.id for keyframe in instant.keyframes]
        update = pipeline.add(instant)
        assert not update.dropped
        posed += [result.id for result in update.keyframes]
        sizes += [(i, window.report.num_views) for window in update.windows]
    posed += [result.id for result in pipeline.flush().keyframes]
    assert others is None
    assert posed == kept and len(set(posed)) == len(posed)
    assert max(size for i, size in sizes if i < 30) == 12
    assert max(size for i, size in sizes if 30 <= i < 45) <= 5
    assert sizes[-1][1] > 5
    assert engine.num_shortages > 0
