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
Sky in depth maps: no depth can be right there, so a far one is filled in.

Shapes: B windows, N views, H W pixels.
"""

import torch
from torch import Tensor

SKY_THRESHOLD = 0.3
FAR_QUANTILE = 0.99

_MIN_PIXELS = 10


def fill_sky(depth: Tensor, sky: Tensor) -> Tensor:
    """
    Give sky the depth of the window's farthest other pixels.

    :param depth: (B, N, H, W).
    :param sky: (B, N, H, W), 0 = none.
    :returns: (B, N, H, W); windows with hardly any sky, or hardly anything else, as they were.
    """
    filled = []
    for window, is_sky in zip(depth, sky >= SKY_THRESHOLD, strict=True):
        num_sky = int(is_sky.sum())
        if _MIN_PIXELS < num_sky < is_sky.numel() - _MIN_PIXELS:
            far = quantile(window[~is_sky], FAR_QUANTILE)
            filled.append(torch.where(is_sky, far, window))
        else:
            filled.append(window)
    return torch.stack(filled)


def quantile(values: Tensor, fraction: float) -> Tensor:
    """
    Return a quantile of all values, interpolated linearly.

    ``torch.quantile`` does not take as many values as a window has pixels.

    :param values: any shape, at least one value.
    :param fraction: 0 to 1.
    :returns: scalar tensor.
    """
    flat = values.flatten()
    rank = fraction * (flat.numel() - 1)
    below = int(rank)
    low = flat.kthvalue(below + 1).values
    high = flat.kthvalue(min(below + 2, flat.numel())).values
    return torch.lerp(low, high, rank - below)
