# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What a view looks like, in a few hundred numbers: to find places that were seen before.

Shapes: V views, P patches, C channels.
"""

import torch
from torch import Tensor
import torch.nn.functional as F

POWER = 3.0
LEAST = 1e-6
"""It only keeps the root finite."""
EPS = 1e-5


def describe(patches: Tensor) -> Tensor:
    """
    Pool the patch tokens of single views.

    Generalised mean over the patches (Radenovic, Tolias, Chum: "Fine-tuning CNN image retrieval
    with no human annotation", PAMI 2019) of each normalised channel, above and below zero apart.

    :param patches: (V, P, C), before any view has seen another: the same in every window.
    :returns: (V, 2C) fp32.
    """
    normed = F.layer_norm(patches.float(), patches.shape[-1:], eps=EPS)
    sides = (normed.clamp(min=LEAST), (-normed).clamp_(min=LEAST))
    pooled = [side.pow_(POWER).mean(dim=1).pow_(1.0 / POWER) for side in sides]
    return torch.cat(pooled, dim=1)
