# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The executor on a GPU: its kernels, its precision, its memory."""

from da3_ros.inference.arithmetic import Arithmetic
from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.chunks import Chunks
from da3_ros.inference.device import choose_dtype
from da3_ros.inference.executor import WindowExecutor
from da3_ros.inference.fused_arithmetic import choose_arithmetic, FusedArithmetic
from da3_ros.inference.placement import place
from da3_ros.inference.preprocessing import normalize
from da3_ros.model import build_network
from da3_ros.model.sky import fill_sky, SKY_THRESHOLD, VALUES_AT_ONCE
from da3_ros.model.transformer import LayerScale, Rotation
from da3_ros.model.uv_embedding import uv_embedding
import numpy as np
import pytest
import torch
from torch import nn

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


def test_fused_kernels_are_used_here_and_agree_with_the_modules():
    """A GPU test machine has a compiler."""
    fused = choose_arithmetic(_DEVICE)
    assert isinstance(fused, FusedArithmetic)
    generator = torch.Generator(_DEVICE).manual_seed(1)
    for channels, heads in ((384, 6), (1024, 16), (1536, 24)):
        x = torch.randn(3, 50, channels, generator=generator, device=_DEVICE) * 4 + 1
        norm = nn.LayerNorm(channels, eps=1e-6, device=_DEVICE)
        small = nn.LayerNorm(64, device=_DEVICE)
        for part in (norm, small):
            nn.init.uniform_(part.weight, 0.5, 2.0)
            nn.init.normal_(part.bias)
        rotation = Rotation.at(torch.rand(50, 2, device=_DEVICE) * 30, 64)
        qkv = torch.randn(3, 50, 3, heads, 64, generator=generator, device=_DEVICE).bfloat16()
        for exact, found in (
            (Arithmetic().norm(norm, x, torch.float32), fused.norm(norm, x, torch.bfloat16)),
            (
                Arithmetic().finish(qkv[:, :, 1].float(), small, rotation),
                fused.finish(qkv[:, :, 1], small, rotation),
            ),
        ):
            # One rounding to bfloat16, which has 8 bits.
            assert torch.allclose(found.float(), exact, rtol=2**-8, atol=1e-5)


@pytest.mark.parametrize('channels', [24, 96, 256])
def test_fused_kernels_around_tokens_agree_with_the_modules(channels):
    fused, plain_ = choose_arithmetic(_DEVICE), Arithmetic()
    assert isinstance(fused, FusedArithmetic)
    generator = torch.Generator(_DEVICE).manual_seed(2)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, device=_DEVICE)

    both = draw(3, 7, 2 * channels)
    assert torch.allclose(fused.gate(both), plain_.gate(both), rtol=1e-5, atol=1e-6)
    x, branch, scale = draw(3, 7, channels), draw(3, 7, channels).bfloat16(), LayerScale(channels)
    scale = scale.to(_DEVICE)
    nn.init.uniform_(scale.gamma, 0.1, 1.0)
    norm = nn.LayerNorm(channels, device=_DEVICE)
    sums = [x.clone(), x.clone()]
    normed = [
        one.add_and_norm_(total, branch, scale, norm)
        for one, total in zip((fused, plain_), sums, strict=True)
    ]
    assert torch.allclose(*sums, rtol=1e-6, atol=1e-6)
    assert torch.allclose(*(one.float() for one in normed), rtol=2**-7, atol=1e-5)


@pytest.mark.parametrize('channels', [24, 96, 256])
@pytest.mark.parametrize('size', [(1, 1), (5, 9), (37, 21)])
@pytest.mark.usefixtures('no_tf32')
def test_fused_kernels_around_convolutions_agree_with_the_modules(channels, size):
    fused, plain_ = choose_arithmetic(_DEVICE), Arithmetic()
    generator = torch.Generator(_DEVICE).manual_seed(3)
    maps = torch.randn(2, channels, *size, generator=generator, device=_DEVICE)
    layer = nn.Conv2d(channels, channels, 3, padding=1, device=_DEVICE)
    for added in ((), (maps,), (maps, 2 * maps)):
        for relu in (False, True):
            one, other = (
                arithmetic.conv(layer, maps, added=added, relu=relu)
                for arithmetic in (fused, plain_)
            )
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)
    larger = (2 * size[0], 2 * size[1] - 1)
    for uv in (None, uv_embedding((channels, *larger), larger, _DEVICE)):
        one, other = (arithmetic.resample(maps, larger, uv) for arithmetic in (fused, plain_))
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5)


def test_fused_kernels_do_not_hide_what_is_no_number():
    """An overflow must be seen by who checks for it."""
    maps = torch.zeros(1, 24, 3, 5, device=_DEVICE)
    maps[0, :, 1, 2] = torch.nan
    layer = nn.Conv2d(24, 24, 1, device=_DEVICE)
    finished = choose_arithmetic(_DEVICE).conv(layer, maps, relu=True)
    assert torch.equal(finished.isnan(), maps.isnan())


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
