# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Fused kernels over whole views, beside the modules that they stand for."""

from da3_ros.inference.arithmetic import Arithmetic
from da3_ros.inference.fused_arithmetic import choose_arithmetic, FusedArithmetic
from da3_ros.model import build_network
import pytest
import torch
from torch import nn

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device'),
]

_DEVICE = torch.device('cuda')


@pytest.fixture(autouse=True)
def no_tf32(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)


@pytest.fixture(scope='module', params=['da3-tiny', 'da3-large', 'da3metric-large'])
def network(request):
    torch.manual_seed(0)
    network = build_network(request.param, device=_DEVICE)
    for norm in network.modules():
        if isinstance(norm, nn.LayerNorm):
            nn.init.uniform_(norm.weight, 0.5, 2.0)
            nn.init.normal_(norm.bias)
    return network


@pytest.fixture
def both():
    fused = choose_arithmetic(_DEVICE)
    assert isinstance(fused, FusedArithmetic)
    return fused, Arithmetic()


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator(_DEVICE).manual_seed(1), device=_DEVICE)


@torch.no_grad()
def test_patches_are_embedded(network, both):
    vit = network.backbone.pretrained
    pixels = torch.randint(0, 256, (3, 42, 70, 3), dtype=torch.uint8, device=_DEVICE)
    positions = vit.position_embedding(3, 5)
    one, other = (arithmetic.embed(vit, pixels, positions) for arithmetic in both)
    assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)
    vit.patch_embed.to(torch.bfloat16)
    rounded = both[0].embed(vit, pixels, positions)
    vit.patch_embed.to(torch.float32)
    assert 0.0 < (rounded - other).norm() / other.norm() < 1e-2


@torch.no_grad()
@pytest.mark.parametrize('num_tokens', [2, 17, 100])
def test_views_are_described(both, num_tokens):
    x = draw(3, num_tokens, 192) * 3 + 1
    x[:, 0] = 1e6
    one, other = (arithmetic.describe(x) for arithmetic in both)
    assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_levels_are_normed(network, both):
    dim = network.config.embed_dim
    local, x = draw(2, 16, dim) * 2 + 1, draw(2, 16, dim).roll(1, 0) * 3 - 1
    one, other = (
        arithmetic.level(network.backbone, network.head, local, x) for arithmetic in both)
    assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_maps_are_made(network, both):
    x = draw(2, network.config.head_features // 2, 28, 42)
    one, other = (arithmetic.maps(network.head, x) for arithmetic in both)
    for name in ('depth', 'confidence', 'sky'):
        found, expected = getattr(one, name), getattr(other, name)
        assert (found is None) == (expected is None)
        assert found is None or torch.allclose(found, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_what_is_no_number_is_seen(network, both):
    """An overflow must not be hidden from who checks for it."""
    fused, _ = both
    x = torch.zeros(1, network.config.head_features // 2, 14, 14, device=_DEVICE)
    x[0, :, 7, 7] = torch.nan
    assert fused.maps(network.head, x).depth[0, 6:9, 6:9].isnan().all()
    tokens = torch.zeros(1, 5, 192, device=_DEVICE)
    tokens[0, 2, 3] = torch.nan
    assert fused.describe(tokens).isnan().any()
