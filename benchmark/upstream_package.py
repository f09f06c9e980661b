# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Upstream's own network beside ours, from the same random weights."""

import importlib

from da3_ros.model import build_network, Network
import torch
from torch import nn, Tensor

_GAUSSIAN_PARTS = ('gs_head', 'gs_adapter')


def build_random(name: str, device: torch.device, *, seed: int = 0) -> Network:
    """
    Build our network with random weights in which every part has its say.

    :param name: of the variant.
    :param device: where the weights are made.
    :param seed: of the weights.
    """
    torch.manual_seed(seed)
    network = build_network(name, device=device)
    generator = torch.Generator(device).manual_seed(seed)
    with torch.no_grad():
        for key, weight in network.named_parameters():
            if key.endswith('gamma'):
                weight.uniform_(0.1, 0.4, generator=generator)
            elif key.endswith(('token', 'pos_embed')):
                weight.normal_(0.0, 0.2, generator=generator)
            elif weight.ndim == 1 and 'norm' not in key:
                weight.normal_(0.0, 0.02, generator=generator)
    return network


def build_upstream(name: str, device: torch.device) -> nn.Module:
    """
    Build upstream's network as its configuration says, without the Gaussian parts.

    :param name: of the variant.
    :param device: where the weights are made.
    :raises ImportError: if upstream's package is not installed.
    """
    cfg = importlib.import_module('depth_anything_3.cfg')
    registry = importlib.import_module('depth_anything_3.registry')
    config = cfg.load_config(registry.MODEL_REGISTRY[name])
    for part in _GAUSSIAN_PARTS:
        (config.anyview if 'anyview' in config else config).pop(part, None)
    with torch.device(device):
        network: nn.Module = cfg.create_object(config)
    return network.eval()


def copy_weights(source: Network, target: nn.Module) -> None:
    """
    Give upstream's network our weights.

    :param source: ours.
    :param target: upstream's, of the same variant.
    """
    target.load_state_dict(source.state_dict())


@torch.inference_mode()
def run_upstream(network: nn.Module, images: Tensor, *, dtype: torch.dtype) -> Tensor:
    """
    Predict as upstream's interface does: everything on the device at once.

    :param network: upstream's.
    :param images: (N, 3, H, W) normalised, on the host.
    :param dtype: of its autocast; float32 turns it off.
    :returns: depth (N, H, W) on the host.
    """
    device = next(network.parameters()).device
    is_reduced = dtype != torch.float32
    with torch.autocast(device.type, dtype=dtype if is_reduced else None, enabled=is_reduced):
        output = network(images.to(device)[None])
    depth: Tensor = output['depth'][0].cpu()
    return depth
