# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Networks by name."""

from da3_ros.model.config import ModelConfig, MODELS
from da3_ros.model.nested import NestedDepthAnything3
from da3_ros.model.network import DepthAnything3
import torch

Network = DepthAnything3 | NestedDepthAnything3


def build_network(name: str, *, device: torch.device | str = 'cpu') -> Network:
    """
    Build a network with random weights, in evaluation mode.

    Names of weights are the published ones without the leading ``model.``.

    :param name: a key of ``MODELS``.
    :param device: where the weights are made; 'meta' makes none, for ``load_weights`` to fill.
    :raises ValueError: if there is no such variant.
    """
    config = MODELS.get(name)
    if config is None:
        raise ValueError(f'name: got {name!r}, expected one of {", ".join(MODELS)}')
    return build(config, device=device)


def build(config: ModelConfig, *, device: torch.device | str = 'cpu') -> Network:
    """
    Build a network with random weights, in evaluation mode.

    :param config: of the network.
    :param device: as in ``build_network``.
    """
    network_type = DepthAnything3 if config.metric_branch is None else NestedDepthAnything3
    with torch.device(device):
        return network_type(config).eval()
