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

"""Sines of image coordinates, added to the features of a dense head."""

import torch
from torch import Tensor

_BASE = 100.0
_WEIGHT = 0.1


def uv_embedding(x: Tensor, image_size: tuple[int, int]) -> Tensor:
    """
    Embed the image coordinates of a feature map's places.

    The image's half diagonal has length 1; x fills the first half of the channels, y the second,
    so that sines are taken along each axis only.

    :param x: (V, channels, h, w), of which only the shape counts.
    :param image_size: height and width [px].
    :returns: (channels, h, w) in the dtype of ``x``.
    """
    channels, rows, columns = x.shape[-3:]
    aspect = image_size[1] / image_size[0]
    diagonal = (aspect**2 + 1.0) ** 0.5
    along_x = _sine_embedding(columns, aspect / diagonal, channels // 2, x.device)
    along_y = _sine_embedding(rows, 1.0 / diagonal, channels // 2, x.device)
    embedding = torch.cat((
        along_x[:, None, :].expand(-1, rows, -1), along_y[:, :, None].expand(-1, -1, columns)
    ))
    return (embedding * _WEIGHT).to(x.dtype)


def _sine_embedding(length: int, span: float, channels: int, device: torch.device) -> Tensor:
    """Return sines, then cosines, of places from -span to span: (channels, length)."""
    end = span * (length - 1) / length
    places = torch.linspace(-end, end, length, device=device)
    exponents = torch.arange(channels // 2, device=device) / (channels / 2)
    angles = places * (1.0 / _BASE**exponents)[:, None]
    return torch.cat((angles.sin(), angles.cos()))
