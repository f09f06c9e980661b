# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The table of variants."""

from dataclasses import FrozenInstanceError

from da3_ros.model import build_network, MODELS
from published import published_shapes
import pytest

GLOBAL_BLOCKS = {
    'da3-tiny': [5, 7, 9, 11],
    'da3-small': [5, 7, 9, 11],
    'da3-base': [5, 7, 9, 11],
    'da3-large': [9, 11, 13, 15, 17, 19, 21, 23],
    'da3-giant': list(range(13, 40, 2)),
    'da3metric-large': [],
    'da3mono-large': [],
    'da3nested-giant-large': list(range(13, 40, 2)),
}


@pytest.mark.parametrize('name', MODELS)
def test_weights_have_the_published_names_and_shapes(name):
    state = build_network(name, device='meta').state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == published_shapes(name)


@pytest.mark.parametrize('name', MODELS)
def test_global_blocks(name):
    config = MODELS[name]
    assert [i for i in range(config.depth) if config.is_global(i)] == GLOBAL_BLOCKS[name]
    if config.has_cameras:
        assert all(config.is_global(i) for i in config.out_layers)
        assert config.embed_dim == 64 * config.num_heads


def test_only_the_metric_variant_is_metric_by_itself():
    metric = [name for name, config in MODELS.items() if config.canonical_focal_px is not None]
    assert metric == ['da3metric-large']
    assert MODELS['da3nested-giant-large'].metric_branch == MODELS['da3metric-large']


def test_licences():
    """As upstream's README states them."""
    commercial = {name for name, config in MODELS.items() if config.is_commercial}
    assert commercial == {
        'da3-tiny', 'da3-small', 'da3-base', 'da3metric-large', 'da3mono-large'
    }


def test_nothing_can_be_changed():
    with pytest.raises(FrozenInstanceError):
        MODELS['da3-small'].depth = 1
    with pytest.raises(TypeError):
        MODELS['other'] = MODELS['da3-small']


def test_unknown_variant():
    with pytest.raises(ValueError, match=r"name: got 'da3-huge', expected one of da3-tiny"):
        build_network('da3-huge')


def test_networks_are_built_for_inference():
    assert not build_network('da3-tiny').training
