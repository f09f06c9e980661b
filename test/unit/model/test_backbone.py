# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Embeddings and the features that the heads read."""

from dataclasses import replace

from da3_ros.model import MODELS
from da3_ros.model.backbone import Backbone, VisionTransformer
import pytest
from random_weights import randomize
import torch

CONFIG = replace(MODELS['da3-small'], embed_dim=32, num_heads=2)


@pytest.fixture(scope='module')
def backbone():
    backbone = Backbone(CONFIG)
    randomize(backbone)
    return backbone.requires_grad_(False)


def test_position_embedding_of_the_trained_size_is_as_learnt(backbone):
    vit = backbone.pretrained
    assert torch.equal(vit.position_embedding(37, 37), vit.pos_embed)


@pytest.mark.parametrize(('rows', 'columns'), [(1, 1), (11, 28), (20, 36), (37, 36), (74, 5)])
def test_position_embedding_is_resampled(rows, columns):
    """A plane stays one, first axis along the rows, though a little wider than the image."""
    vit = VisionTransformer(CONFIG).requires_grad_(False)
    place = (torch.arange(37) + 0.5) / 37
    vit.pos_embed[0, 1:, 0] = place.repeat_interleave(37)
    vit.pos_embed[0, 1:, 1] = place.repeat(37)
    vit.pos_embed[0, 0] = 7.0
    resampled = vit.position_embedding(rows, columns)
    assert resampled.shape == (1, rows * columns + 1, 32)
    assert torch.equal(resampled[0, 0], torch.full((32,), 7.0))
    grid = resampled[0, 1:].unflatten(0, (rows, columns))
    for axis, side in enumerate((rows, columns)):
        # As the published weights were trained: a tenth of a patch is added to the side.
        middle = (torch.arange(side) + 0.5) / (side + 0.1)
        found = grid[..., axis].mean(dim=1 - axis)
        # Bicubic weights bend the plane near the image's border.
        assert float((found - middle).abs().max()) < 0.01


def test_tokens_lie_row_by_row(backbone):
    """A change in one patch of the image changes one token."""
    images = torch.zeros(1, 3, 42, 56)
    changed = images.clone()
    changed[:, :, 14:28, 42:56] = 1.0
    position_embedding = backbone.pretrained.position_embedding(3, 4)
    difference = (
        backbone.pretrained.embed(images, position_embedding)
        - backbone.pretrained.embed(changed, position_embedding)
    )
    assert difference.abs().amax(dim=(0, 2)).nonzero().flatten().tolist() == [1 + 1 * 4 + 3]


def test_only_the_current_half_of_a_level_is_normed(backbone):
    local, x = 3.0 + torch.randn(2, 5, 32), 3.0 + torch.randn(2, 5, 32)
    level = backbone.level(local, x)
    assert torch.equal(level[..., :32], local)
    assert torch.equal(level[..., 32:], backbone.pretrained.norm(x))
    assert torch.equal(backbone.camera_feature(local, x), torch.cat((local, x), dim=-1))


def test_learnt_camera_tokens(backbone):
    class_tokens = torch.randn(2, 4, 32)
    tokens = backbone.learnt_camera_tokens(class_tokens, 'middle')
    reference, other = backbone.pretrained.camera_token[0]
    assert torch.equal(tokens[:, 2], reference.expand(2, 32))
    for view in (0, 1, 3):
        assert torch.equal(tokens[:, view], other.expand(2, 32))


def test_features_have_four_levels(backbone):
    features = backbone(torch.randn(2, 3, 3, 28, 42))
    assert [tuple(level.shape) for level in features.levels] == [(2, 3, 6, 64)] * 4
    assert features.camera.shape == (2, 3, 64)
