# Copyright 2026 The da3_ros authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""
What a view looks like, in a few hundred numbers: to find places that were seen before.

Shapes: V views, P patches, C channels.
"""

import torch
from torch import Tensor
import torch.nn.functional as F

_POWER = 3.0


def describe(patches: Tensor) -> Tensor:
    """
    Pool the patch tokens of single views.

    Generalised mean over the patches (Radenovic, Tolias, Chum: "Fine-tuning CNN image retrieval
    with no human annotation", PAMI 2019) of each normalised channel, above and below zero apart.

    :param patches: (V, P, C), before any view has seen another: the same in every window.
    :returns: (V, 2C) fp32.
    """
    normed = F.layer_norm(patches.float(), patches.shape[-1:])
    # The smallest value only keeps the root finite.
    sides = (normed.clamp(min=1e-6), (-normed).clamp_(min=1e-6))
    pooled = [side.pow_(_POWER).mean(dim=1).pow_(1.0 / _POWER) for side in sides]
    return torch.cat(pooled, dim=1)
