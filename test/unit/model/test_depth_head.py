# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The dense heads."""

from dataclasses import replace

from da3_ros.model import MODELS
from da3_ros.model.depth_head import Dpt, DualDpt
from da3_ros.model.uv_embedding import uv_embedding
import pytest
from random_weights import randomize
import torch

SIZE = (42, 56)
GRID = (3, 4)
WIDTHS = (8, 12, 16, 20)


def build(name):
    config = replace(
        MODELS[name], embed_dim=32, num_heads=2, head_features=16, head_channels=WIDTHS
    )
    head = (DualDpt if config.head == 'dual_dpt' else Dpt)(config)
    randomize(head)
    return head.requires_grad_(False)


def laterals_of(head, levels):
    projected = [head.project(i, tokens, GRID) for i, tokens in enumerate(levels)]
    assert [tuple(tokens.shape[1:]) for tokens in projected] == [(12, width) for width in WIDTHS]
    return head.laterals(projected, SIZE)


def decode(head, laterals):
    return head.maps(head.at_image_size(laterals, SIZE))


def levels_of(head, num_views, seed=0):
    random = torch.Generator().manual_seed(seed)
    inputs = head.projects[0].in_channels
    return [torch.randn(num_views, 12, inputs, generator=random) for _ in range(4)]


@pytest.mark.parametrize('name', ['da3-small', 'da3mono-large'])
def test_views_are_decoded_alone(name):
    """In any number at a time: this is what lets an executor decode a few views at once."""
    head = build(name)
    levels = levels_of(head, 3)
    together = decode(head, laterals_of(head, levels))
    for view in range(3):
        part = [tokens[view:view + 1] for tokens in levels]
        alone = decode(head, laterals_of(head, part))
        for field in ('depth', 'confidence', 'sky'):
            whole = getattr(together, field)
            assert (whole is None) == (getattr(alone, field) is None)
            if whole is not None:
                assert whole.shape == (3, *SIZE)
                torch.testing.assert_close(
                    whole[view:view + 1], getattr(alone, field), rtol=1e-4, atol=1e-5
                )


def test_scales_of_the_pyramid():
    head = build('da3-small')
    laterals = laterals_of(head, levels_of(head, 1))
    assert [tuple(x.shape) for x in laterals] == [
        (1, 16, 12, 16), (1, 16, 6, 8), (1, 16, 3, 4), (1, 16, 2, 2)
    ]
    assert head.fuse(laterals).shape == (1, 16, 24, 32)


def test_rays_come_from_a_branch_of_their_own():
    head = build('da3-small')
    laterals = laterals_of(head, levels_of(head, 2))
    rays = head.decode_rays(laterals, SIZE)
    assert rays.rays.shape == (2, 24, 32, 6)
    assert rays.confidence.shape == (2, 24, 32)
    assert float(rays.confidence.min()) > 1.0
    depth = decode(head, laterals).depth
    for name, parameter in head.named_parameters():
        if '_aux' in name:
            parameter.zero_()
    assert torch.equal(decode(head, laterals).depth, depth)
    assert not torch.equal(head.decode_rays(laterals, SIZE).rays, rays.rays)


def embed(rows, columns):
    embedding = uv_embedding((16, rows, columns), SIZE, torch.device('cpu'))
    return embedding.add_(torch.zeros(1, 16, rows, columns))[0]


def test_uv_embedding_depends_on_place_and_aspect_only():
    embedding = embed(6, 8)
    assert float(embedding.abs().max()) <= 0.1
    # x in the first half of the channels, y in the second.
    assert torch.equal(embedding[:8], embedding[:8, :1].expand(8, 6, 8))
    assert torch.equal(embedding[8:], embedding[8:, :, :1].expand(8, 6, 8))
    # The fastest sine is that of the place itself: odd about the middle, half a diagonal long.
    x = torch.arcsin(10.0 * embedding[0, 0])
    torch.testing.assert_close(x, -x.flip(0), rtol=0.0, atol=1e-6)
    assert float(x[-1]) == pytest.approx(0.8 * 7 / 8, abs=1e-5)
    finer = torch.arcsin(10.0 * embed(12, 16)[0, 0])
    assert float(finer[-1]) == pytest.approx(0.8 * 15 / 16, abs=1e-5)


def test_image_sizes_may_alternate():
    """What is kept of one image size is not used for another one of equal grids."""
    head = build('da3-small')
    fresh = build('da3-small')
    levels = levels_of(head, 1)
    head.laterals([head.project(i, tokens, GRID) for i, tokens in enumerate(levels)], SIZE)
    turned = [head.project(i, tokens, (4, 3)) for i, tokens in enumerate(levels)]
    size = (SIZE[1], SIZE[0])
    for found, expected in zip(
        head.laterals(turned, size), fresh.laterals(turned, size), strict=True
    ):
        assert torch.equal(found, expected)
