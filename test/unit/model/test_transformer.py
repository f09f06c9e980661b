# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Attention, rotary positions and blocks."""

from da3_ros.model.transformer import Attention, Block, Rotation, SwiGlu
import pytest
from random_weights import randomize
import torch
import torch.nn.functional as F

HEAD_DIM = 16


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_rotated_products_depend_on_the_distance_only():
    """For queries and keys anywhere, as long as the keys lie equally far from the queries."""
    queries, keys = normal(1, HEAD_DIM), normal(1, HEAD_DIM, seed=1)
    step = torch.tensor([[2, -1]])

    def product(place):
        at_query = Rotation.at(torch.tensor([place]), HEAD_DIM)
        at_key = Rotation.at(torch.tensor([place]) + step, HEAD_DIM)
        return float(at_query(queries) @ at_key(keys).mT)

    assert product([3, 5]) == pytest.approx(product([20, 31]), abs=1e-5)
    assert product([3, 5]) != pytest.approx(float(queries @ keys.mT), abs=1e-2)


def test_the_origin_is_not_rotated_and_lengths_stay():
    x = normal(3, HEAD_DIM)
    rotation = Rotation.at(torch.tensor([[0, 0], [4, 0], [0, 4]]), HEAD_DIM)
    rotated = rotation(x)
    assert torch.equal(rotated[0], x[0])
    torch.testing.assert_close(rotated.norm(dim=1), x.norm(dim=1))
    # y turns the first half of the channels, x the second.
    half = HEAD_DIM // 2
    assert torch.equal(rotated[1, half:], x[1, half:])
    assert torch.equal(rotated[2, :half], x[2, :half])
    assert not torch.allclose(rotated[1, :half], x[1, :half])


def test_rotation_of_some_tokens():
    x = normal(5, HEAD_DIM)
    rotation = Rotation.at(torch.cartesian_prod(torch.arange(5), torch.arange(1)), HEAD_DIM)
    assert torch.equal(rotation.of(slice(2, 4))(x[2:4]), rotation(x)[2:4])


@pytest.mark.parametrize('qk_norm', [False, True])
def test_attention_on_ranges_of_tokens_is_attention(qk_norm):
    """Queries in parts, keys and values of all: what an executor does."""
    attention = Attention(64, 4, qk_norm=qk_norm)
    randomize(attention)
    x = normal(2, 9, 64)
    rotation = None
    if qk_norm:
        rotation = Rotation.at(torch.randint(0, 9, (9, 2), generator=torch.Generator()), HEAD_DIM)
    with torch.no_grad():
        whole = attention(x, rotation)
        keys, values = attention.keys_values(x, rotation)
        for part in (slice(0, 4), slice(4, 9)):
            queries = attention.queries(x[:, part], rotation and rotation.of(part))
            merged = attention.merge(F.scaled_dot_product_attention(queries, keys, values))
            torch.testing.assert_close(merged, whole[:, part], rtol=1e-5, atol=1e-6)


def test_queries_and_keys_are_normed():
    attention = Attention(64, 4, qk_norm=True)
    with torch.no_grad():
        queries = attention.queries(100.0 * normal(1, 3, 64))
    torch.testing.assert_close(queries.square().mean(dim=-1), torch.ones(1, 4, 3))


def test_blocks_see_other_tokens_by_attention_only():
    block = Block(32, 2)
    randomize(block)
    x, changed = normal(1, 4, 32), normal(1, 4, 32)
    changed[:, 3] = normal(1, 32, seed=1)
    with torch.no_grad():
        assert float((block(x) - block(changed))[:, 0].abs().max()) > 1e-4
        assert torch.equal(block.feed_forward(x)[:, 0], block.feed_forward(changed)[:, 0])


def test_gated_width_is_a_multiple_of_eight():
    assert SwiGlu(1536, 4 * 1536).w3.in_features == 4096
    assert SwiGlu(32, 128).w3.in_features == 88
