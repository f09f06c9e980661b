# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Names and shapes of weights, at full size, against upstream's."""

from da3_ros.model import build_network, MODELS
import pytest

PUBLISHED = [name for name in MODELS if MODELS[name].hub_id is not None]

# Millions of parameters, without the giant's Gaussian head.
MILLIONS = {
    'da3-tiny': 8.8,
    'da3-small': 34.3,
    'da3-base': 135.4,
    'da3-large': 410.9,
    'da3-giant': 1320.0,
    'da3metric-large': 334.2,
    'da3mono-large': 334.2,
    'da3nested-giant-large': 1654.2,
}


def shapes(network):
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


@pytest.mark.parametrize('name', PUBLISHED)
def test_names_and_shapes_are_the_published_ones(upstream, name):
    ours = shapes(build_network(name, device='meta'))
    assert ours == shapes(upstream.build_published(name))


@pytest.mark.parametrize('name', MODELS)
def test_number_of_parameters(name):
    network = build_network(name, device='meta')
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count / 1e6 == pytest.approx(MILLIONS[name], abs=0.05)


@pytest.mark.parametrize(
    ('name', 'branch'), [('da3-giant', ''), ('da3nested-giant-large', 'da3.')]
)
def test_skipped_keys_are_those_of_the_gaussian_head(upstream, name, branch):
    gaussian = {f'{branch}gs_head.{key}' for key in shapes(upstream.build_gaussian_head())}
    assert len(gaussian) > 60
    assert all(key.startswith(MODELS[name].skipped_keys) for key in gaussian)
    ours = shapes(build_network(name, device='meta'))
    assert not any(key.startswith(MODELS[name].skipped_keys) for key in ours)
