# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The executor on a GPU: its kernels, its precision, its memory."""

from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.chunks import Chunks
from da3_ros.inference.device import choose_dtype
from da3_ros.inference.executor import WindowExecutor
from da3_ros.inference.fused_arithmetic import choose_arithmetic, FusedArithmetic
from da3_ros.inference.placement import place
from da3_ros.inference.preprocessing import normalize
from da3_ros.model import build_network
from da3_ros.model.sky import fill_sky, SKY_THRESHOLD, VALUES_AT_ONCE
import numpy as np
import pytest
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device'),
]

_DEVICE = torch.device('cuda')


@pytest.fixture
def no_tf32(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)


def random_window(num_views=5):
    rng = np.random.default_rng(num_views)
    return rng.integers(0, 256, (num_views, 140, 252, 3), dtype=np.uint8)


def lively_network(name):
    torch.manual_seed(0)
    network = build_network(name, device=_DEVICE)
    with torch.no_grad():
        for key, weight in network.named_parameters():
            if key.endswith('gamma'):
                weight.uniform_(0.2, 0.6)
            elif key.endswith(('token', 'pos_embed')):
                weight.normal_(0.0, 0.3)
    return network


def plain(network, window):
    with torch.inference_mode():
        return network(normalize(torch.from_numpy(window).to(_DEVICE))[None])


def distance(found, expected):
    found, expected = found.double().cpu(), expected.double().cpu()
    return float((found - expected).norm() / expected.norm())


def test_fused_kernels_are_used_here():
    """A GPU test machine has a compiler; ``test_fused_kernels.py`` tests what they compute."""
    assert isinstance(choose_arithmetic(_DEVICE), FusedArithmetic)


@pytest.mark.parametrize('name', ['da3-small', 'da3metric-large'])
@pytest.mark.parametrize('chunks', [None, Chunks(2, 2, 1)])
@pytest.mark.usefixtures('no_tf32')
def test_equal_to_the_plain_forward_in_full_precision(name, chunks):
    network, window = lively_network(name), random_window()
    expected = plain(network, window)
    found = WindowExecutor(network, ExecutorOptions(chunks=chunks)).run(window)
    assert distance(found.depth, expected.depth) < 1e-6
    if expected.extrinsics is not None:
        assert distance(found.extrinsics, expected.extrinsics) < 1e-5


@pytest.mark.usefixtures('no_tf32')
def test_half_precision_is_no_farther_off_than_the_plain_forwards():
    network, window = lively_network('da3-base'), random_window(8)
    exact = plain(network, window)
    network.set_compute_dtype(torch.bfloat16)
    rounded = plain(network, window)
    found = WindowExecutor(network).run(window)
    assert distance(found.depth, exact.depth) < 1.25 * distance(rounded.depth, exact.depth)


@pytest.mark.parametrize('name', ['da3-small', 'da3-base'])
def test_half_precision_is_no_farther_off_than_upstreams(name):
    """Both round; over several sets of weights neither is the luckier one."""
    pytest.importorskip('depth_anything_3', reason="needs upstream's package to compare with")
    from precision import compare

    rows = compare(
        name, _DEVICE, choose_dtype(_DEVICE), num_seeds=8, num_windows=2, num_views=5,
        size=(140, 252))
    assert [row.output for row in rows] == ['depth', 'extrinsics']
    for row in rows:
        # Of one set of weights, either may be a quarter nearer.
        assert row.ours < 1.15 * row.upstream, row
        assert row.ours > 10 * row.ours_fp32, row


@pytest.mark.parametrize('placement', ['device', 'host'])
def test_memory_grows_by_no_more_than_what_is_kept_of_a_view(placement):
    network = build_network('da3-small', device=_DEVICE)
    network.set_compute_dtype(torch.bfloat16)
    place(network, _DEVICE, with_rays=False)
    options = ExecutorOptions(chunks=Chunks(4, 4, 1), features=placement)
    executor = WindowExecutor(network, options)
    peaks = []
    for num_views in (100, 100, 200):
        torch.cuda.reset_peak_memory_stats()
        executor.run(random_window(num_views))
        peaks.append(torch.cuda.max_memory_allocated())
    dim, tokens = 384, 10 * 18 + 1
    levels = 4 * (48 + 96 + 192) * (tokens - 1) if placement == 'device' else 0
    kept = 4 * dim * tokens + 2 * 2 * dim * tokens + levels
    assert (peaks[2] - peaks[1]) / 100 < 1.03 * kept


def test_sky_is_filled_in_with_one_copy_and_one_mask():
    """The memory model counts on it: five bytes for a pixel, and what is counted at once."""
    generator = torch.Generator(_DEVICE).manual_seed(4)
    depth, sky = torch.rand(2, 1, 200, 504, 504, generator=generator, device=_DEVICE)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    filled = fill_sky(depth, sky)
    taken = torch.cuda.max_memory_allocated() - before
    assert filled[sky >= SKY_THRESHOLD].unique().numel() == 1
    assert taken <= 5 * depth.numel() + 11 * VALUES_AT_ONCE + 8 * 2**20
