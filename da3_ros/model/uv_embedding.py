# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Sines of image coordinates, added to the features of a dense head."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

_BASE = 100.0
_WEIGHT = 0.1


@dataclass(frozen=True, eq=False)
class UvEmbedding:
    """
    Image coordinates of the places of a feature map, embedded.

    The image's half diagonal has length 1; x fills the first half of the channels, y the second,
    so that sines are taken along each axis only.

    :param along_x: (channels / 2, 1, w).
    :param along_y: (channels / 2, h, 1).
    """

    along_x: Tensor
    along_y: Tensor

    @cached_property
    def by_place(self) -> tuple[Tensor, Tensor]:
        """Return both with the channels of a place together: (w, C / 2) and (h, C / 2)."""
        return self.along_x[:, 0].T.contiguous(), self.along_y[:, :, 0].T.contiguous()

    def add_(self, x: Tensor) -> Tensor:
        """
        Add the embedding in place, without ever spreading it over the whole map.

        :param x: (V, channels, h, w).
        """
        half = len(self.along_x)
        x[:, :half] += self.along_x
        x[:, half:] += self.along_y
        return x


def uv_embedding(
    shape: tuple[int, int, int], image_size: tuple[int, int], device: torch.device
) -> UvEmbedding:
    """
    Embed the places of a feature map.

    :param shape: channels, h, w.
    :param image_size: height and width [px].
    :param device: of the result.
    """
    channels, rows, columns = shape
    aspect = image_size[1] / image_size[0]
    diagonal = (aspect**2 + 1.0) ** 0.5
    along_x = _sine_embedding(columns, aspect / diagonal, channels // 2, device)
    along_y = _sine_embedding(rows, 1.0 / diagonal, channels // 2, device)
    return UvEmbedding(along_x[:, None, :] * _WEIGHT, along_y[:, :, None] * _WEIGHT)


def _sine_embedding(length: int, span: float, channels: int, device: torch.device) -> Tensor:
    """Return sines, then cosines, of places from -span to span: (channels, length)."""
    end = span * (length - 1) / length
    places = torch.linspace(-end, end, length, device=device)
    exponents = torch.arange(channels // 2, device=device) / (channels / 2)
    angles = places * (1.0 / _BASE**exponents)[:, None]
    return torch.cat((angles.sin(), angles.cos()))
