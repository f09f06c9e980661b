# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
The fused kernels beside the network's own modules.

On a GPU, or on a CPU where Triton interprets them: ``test_interpreted_kernels.py`` runs this file
so, in a process of its own.
"""

import os

from da3_ros.inference.arithmetic import Arithmetic
from da3_ros.inference.fused_arithmetic import FusedArithmetic
from da3_ros.model.transformer import LayerScale, Rotation
from da3_ros.model.uv_embedding import uv_embedding
import pytest
import torch
from torch import nn

ON_GPU = torch.cuda.is_available()
DEVICE = torch.device('cuda' if ON_GPU else 'cpu')
# The interpreter cuts bfloat16 off instead of rounding to it.
HALF = torch.bfloat16 if ON_GPU else torch.float16
# What it interprets takes milliseconds for every program.
SIZES = [(1, 1), (5, 9), (37, 21)] if ON_GPU else [(1, 1), (3, 9)]
CHANNELS = [24, 96, 256] if ON_GPU else [24]

pytestmark = pytest.mark.skipif(
    not ON_GPU and os.environ.get('TRITON_INTERPRET') != '1',
    reason='needs a CUDA device, or TRITON_INTERPRET=1',
)


@pytest.fixture
def fused():
    return FusedArithmetic()


@pytest.fixture
def draw():
    generator = torch.Generator(DEVICE).manual_seed(1)
    return lambda *shape: torch.randn(*shape, generator=generator, device=DEVICE)


@pytest.fixture
def no_tf32(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)


def lively(layer):
    """Give a norm weights that matter."""
    nn.init.uniform_(layer.weight, 0.5, 2.0)
    nn.init.normal_(layer.bias)
    return layer


@pytest.mark.parametrize(('channels', 'heads'), [(384, 6), (1024, 16), (1536, 24)])
@torch.no_grad()
def test_norms_and_rotations(fused, draw, channels, heads):
    x = draw(2, 5, channels) * 4 + 1
    norm = lively(nn.LayerNorm(channels, eps=1e-6, device=DEVICE))
    small = lively(nn.LayerNorm(64, device=DEVICE))
    rotation = Rotation.at(torch.arange(10.0, device=DEVICE).view(5, 2) * 3, 64)
    qkv = draw(2, 5, 3, heads, 64).to(HALF)
    for exact, found in (
        (Arithmetic().norm(norm, x, torch.float32), fused.norm(norm, x, HALF)),
        (
            Arithmetic().finish(qkv[:, :, 1].float(), small, rotation),
            fused.finish(qkv[:, :, 1], small, rotation),
        ),
    ):
        # One rounding to half precision.
        assert found.dtype is HALF
        assert torch.allclose(found.float(), exact, rtol=2**-8, atol=1e-5)


@pytest.mark.parametrize('channels', [24, 96, 256])
@torch.no_grad()
def test_around_tokens(fused, draw, channels):
    plain, both = Arithmetic(), draw(3, 7, 2 * channels)
    assert torch.allclose(fused.gate(both), plain.gate(both), rtol=1e-5, atol=1e-6)
    x, branch = draw(3, 7, channels), draw(3, 7, channels).to(HALF)
    scale = LayerScale(channels).to(DEVICE)
    nn.init.uniform_(scale.gamma, 0.1, 1.0)
    norm = lively(nn.LayerNorm(channels, device=DEVICE))
    sums = [x.clone(), x.clone()]
    normed = [
        one.add_and_norm_(total, branch, scale, norm)
        for one, total in zip((fused, plain), sums, strict=True)
    ]
    assert torch.allclose(*sums, rtol=1e-6, atol=1e-6)
    assert torch.allclose(*(one.float() for one in normed), rtol=2**-7, atol=1e-5)
    sums = [x.clone(), x.clone()]
    for one, total in zip((fused, plain), sums, strict=True):
        one.add_(total, branch, scale)
    assert torch.allclose(*sums, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('channels', CHANNELS)
@pytest.mark.parametrize('size', SIZES)
@pytest.mark.usefixtures('no_tf32')
@torch.no_grad()
def test_around_convolutions(fused, draw, channels, size):
    plain, maps = Arithmetic(), draw(2, channels, *size)
    layer = nn.Conv2d(channels, channels, 3, padding=1, device=DEVICE)
    for added in ((), (maps,), (maps, 2 * maps)):
        for relu in (False, True):
            one, other = (
                arithmetic.conv(layer, maps, added=added, relu=relu)
                for arithmetic in (fused, plain)
            )
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)
    larger = (2 * size[0], 2 * size[1] - 1)
    for uv in (None, uv_embedding((channels, *larger), larger, DEVICE)):
        one, other = (arithmetic.resample(maps, larger, uv) for arithmetic in (fused, plain))
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_what_is_no_number_is_not_hidden(fused):
    """An overflow must be seen by who checks for it."""
    maps = torch.zeros(1, 24, 3, 5, device=DEVICE)
    maps[0, :, 1, 2] = torch.nan
    layer = nn.Conv2d(24, 24, 1, device=DEVICE)
    finished = fused.conv(layer, maps, relu=True)
    assert torch.equal(finished.isnan(), maps.isnan())
