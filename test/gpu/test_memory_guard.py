# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Windows on a real GPU whose memory runs out, by itself or by force."""

import gc
import subprocess
import sys

from da3_ros.errors import MemoryBudgetError
from da3_ros.inference import InferenceEngine
from da3_ros.inference.head_pass import HeadPass
from da3_ros.inference.memory_guard import MemoryLimits
from da3_ros.mapping.config import KeyframeConfig, PipelineConfig, WindowConfig
from da3_ros.mapping.frame_stream import FrameStream
from da3_ros.mapping.keyframe import Frame
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.model import build_network
import numpy as np
import pytest
import torch
import torch.nn.functional as F

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device'),
]

_GIB = 2**30
_HOG = """
import sys, torch
free, _ = torch.cuda.mem_get_info()
block = torch.empty(max(free - int(sys.argv[1]), 0), dtype=torch.uint8, device='cuda')
print('taken', flush=True)
sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    """Calibrate anew, and give all memory back."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    # Engines of earlier tests.
    gc.collect()
    torch.cuda.empty_cache()
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


@pytest.fixture
def engine():
    torch.manual_seed(0)
    network = build_network('da3-small')
    return InferenceEngine(network, size=252, limits=MemoryLimits(reserve_mib=64))


def random_images(num_views, seed=0):
    rng = np.random.default_rng(seed)
    return list(rng.integers(0, 256, (num_views, 140, 252, 3), dtype=np.uint8))


def limit_to(num_bytes):
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(num_bytes / total)


def limit_for(engine, num_views):
    """Limit memory so that about so many views fit, in small pieces."""
    cost = engine._runner.executor._ways_for((140, 252))[-1][1]
    # What the way does not count as its own, such as workspaces that were there before it.
    others = max(torch.cuda.memory_allocated() - cost.calibration.fixed_bytes, 0)
    limit_to((cost.peak_bytes(num_views) + others) / 0.97 + 64 * 2**20)


def fail_once_in(function, call):
    """Wrap a function so that one of its calls finds no memory."""
    state = {'calls': 0}

    def failing(*args, **kwargs):
        state['calls'] += 1
        if state['calls'] == call:
            raise torch.cuda.OutOfMemoryError('CUDA out of memory (injected)')
        return function(*args, **kwargs)

    return failing


@pytest.mark.parametrize('place', ['global block', 'head'])
def test_out_of_memory_inside_a_window_is_survived(engine, monkeypatch, place):
    images = random_images(12)
    expected = engine.infer(images)
    if place == 'head':
        run = HeadPass._to_image_size
        monkeypatch.setattr(HeadPass, '_to_image_size', fail_once_in(run, 1))
    else:
        attention = fail_once_in(F.scaled_dot_product_attention, 7)
        monkeypatch.setattr(F, 'scaled_dot_product_attention', attention)
    survived = engine.infer(images)
    assert np.allclose(survived.depth, expected.depth, rtol=2e-2)


def test_out_of_memory_again_and_again_is_an_error_and_passes(engine, monkeypatch):
    images = random_images(6)
    expected = engine.infer(images)
    with monkeypatch.context() as patch:
        patch.setattr(HeadPass, '_to_image_size', _always_full)
        with pytest.raises(MemoryBudgetError):
            engine.infer(images)
    assert np.array_equal(engine.infer(images).depth, expected.depth)


def _always_full(*_):
    raise torch.cuda.OutOfMemoryError('CUDA out of memory (injected)')


def test_weights_that_do_not_fit_are_an_error_and_can_be_loaded_later():
    network = build_network('da3-base')
    limit_to(64 * 2**20)
    with pytest.raises(MemoryBudgetError, match='weights'):
        InferenceEngine(network, size=252)
    torch.cuda.set_per_process_memory_fraction(1.0)
    assert InferenceEngine(network, size=252).infer(random_images(2)).num_views == 2


def test_the_largest_window_fits_and_a_larger_one_is_refused(engine):
    engine.infer(random_images(2))
    limit_for(engine, 150)
    most = engine.plan(140, 252).num_views
    assert 140 <= most <= 150
    assert engine.infer(random_images(most)).num_views == most
    with pytest.raises(MemoryBudgetError) as caught:
        engine.infer(random_images(2 * most))
    assert caught.value.max_views == most


def test_another_process_takes_memory_and_gives_it_back(engine):
    wide = engine.plan(140, 252).num_views
    with subprocess.Popen(
        [sys.executable, '-c', _HOG, str(2 * _GIB)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as hog:
        assert hog.stdout.readline().strip() == 'taken'
        narrow = engine.plan(140, 252).num_views
        assert narrow < wide
        assert engine.infer(random_images(min(narrow, 300))).num_views == min(narrow, 300)
        hog.stdin.write('\n')
        hog.stdin.flush()
        hog.wait()
    assert engine.plan(140, 252).num_views > 0.9 * wide


def test_a_stream_keeps_every_keyframe_while_memory_comes_and_goes(engine):
    """Shrink and grow back: every keyframe comes out exactly once."""
    config = PipelineConfig(
        keyframe=KeyframeConfig(mode='time', min_interval_s=0.0, min_sharpness=0.0),
        window=WindowConfig(size=48, stride=8, min_views=2),
    )
    pipeline, stream = DepthPipeline(engine, config), FrameStream(config)
    kept, posed, sizes = [], [], []
    for i, image in enumerate(random_images(400, seed=3)):
        if i == 64:
            limit_for(engine, 20)
        if i == 96:
            torch.cuda.set_per_process_memory_fraction(1.0)
        (instant,) = stream.take(Frame(stamp_ns=i * 10**8, image=image)).instants
        kept += [keyframe.id for keyframe in instant.keyframes]
        update = pipeline.add(instant)
        posed += [result.id for result in update.keyframes]
        assert not update.dropped
        sizes += [window.report.num_views for window in update.windows]
    posed += [result.id for result in pipeline.flush().keyframes]
    assert posed == kept and len(set(posed)) == len(posed)
    assert max(sizes[:8]) == 48
    assert min(sizes[8:]) < 36
    assert sizes[-1] > min(sizes[8:])
