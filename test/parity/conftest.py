# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Pairs of networks, this package's and upstream's, that share their weights."""

from dataclasses import dataclass
from types import ModuleType

from da3_ros.model import build_network, MODELS, Network
from narrow_networks import build_narrow, narrow
import pytest
from random_weights import randomize
import torch
from torch import nn


@dataclass(frozen=True, eq=False)
class Pair:
    """Two networks on the same tensors."""

    ours: Network
    theirs: nn.Module


def share_weights(ours: Network, theirs: nn.Module) -> Pair:
    """Fill ours at random, and put the same tensors into theirs; both come on the meta device."""
    ours.to_empty(device='cpu')
    randomize(ours)
    theirs.load_state_dict(ours.state_dict(), strict=True, assign=True)
    return Pair(ours, theirs)


@pytest.fixture(scope='session')
def upstream() -> ModuleType:
    """Give what builds upstream's networks."""
    reason = "needs upstream's package depth-anything-3 to compare with"
    return pytest.importorskip('upstream', reason=reason)


@pytest.fixture(scope='module')
def full_size(request, upstream) -> Pair:
    """Give the variant that a test names, at its full size."""
    config = MODELS[request.param]
    is_published = config.hub_id is not None
    return share_weights(
        build_network(config.name, device='meta'),
        upstream.build_published(config.name) if is_published else upstream.build(config),
    )


@pytest.fixture(scope='module')
def narrowed(request, upstream) -> Pair:
    """Give the variant that a test names, with its own pattern of blocks, but narrow."""
    config = narrow(MODELS[request.param], head_features=32, head_channels=(16, 24, 32, 48))
    with torch.device('meta'):
        ours = build_narrow(config)
    return share_weights(ours, upstream.build(config))
