# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Random weights under which every part of a network matters: no constant, no dead output."""

import torch
from torch import nn


def randomize(network: nn.Module, *, seed: int = 0) -> None:
    """
    Fill a network's parameters, each by its name.

    :param network: with the published names of weights.
    :param seed: equal seeds and structures give equal weights.
    """
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(network.named_parameters()):
            noise = torch.randn(parameter.shape, generator=random)
            if parameter.ndim == 1:
                parameter.copy_(_centre(name, parameter) + 0.1 * noise)
            elif name.endswith(('cls_token', 'pos_embed', 'camera_token')):
                parameter.copy_(0.5 * noise)
            else:
                parameter.copy_(_gain(name) * noise * parameter[0].numel() ** -0.5)


def _gain(name: str) -> float:
    # Depth is an exponential of this layer: a large one would enlarge rounding, too.
    return 0.1 if name.endswith('.output_conv2.2.weight') else 1.0


def _centre(name: str, vector: torch.Tensor) -> torch.Tensor:
    if name.endswith('fc_qvec.bias'):
        return vector.new_tensor((0.0, 0.0, 0.0, 1.0))
    if name.endswith('.gamma'):
        return torch.full_like(vector, 0.5)
    if name.endswith('sky_output_conv2.2.bias'):
        return torch.full_like(vector, 0.3)
    is_norm_or_fov = name.endswith(('.weight', 'fc_fov.0.bias'))
    return torch.full_like(vector, 1.0 if is_norm_or_fov else 0.0)
