# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
What JPEG does to images (ITU T.81, the tables of its annex K, chroma at half size), on any device.

Shapes: V images, H W pixels, b blocks.
"""

import math

import torch
from torch import Tensor
import torch.nn.functional as F

_BLOCK = 8
_LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113,
    92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99)
_CHROMINANCE = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99, *(99,) * 32)
_YCC_OF_RGB = (
    (0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))


def through_jpeg(images: Tensor, quality: int) -> Tensor:
    """
    Code images and decode them.

    :param images: (V, 3, H, W) uint8 RGB.
    :param quality: 1 to 100, as libjpeg means it.
    :returns: the same shape, uint8.
    """
    height, width = images.shape[-2:]
    ycc_of_rgb = torch.tensor(_YCC_OF_RGB, device=images.device)
    sides = (0, -width % (2 * _BLOCK), 0, -height % (2 * _BLOCK))
    padded = F.pad(images.float(), sides, mode='replicate')
    planes = torch.einsum('ij,vjhw->vihw', ycc_of_rgb, padded)
    luminance = _quantised(planes[:, :1] - 128.0, _table(_LUMINANCE, quality, images.device))
    chroma = F.avg_pool2d(planes[:, 1:], 2)
    chroma = _quantised(chroma, _table(_CHROMINANCE, quality, images.device))
    chroma = F.interpolate(chroma, scale_factor=2, mode='bilinear', align_corners=False)
    decoded = torch.cat((luminance + 128.0, chroma), dim=1)
    rgb = torch.einsum('ij,vjhw->vihw', torch.linalg.inv(ycc_of_rgb), decoded)
    return rgb[..., :height, :width].round().clamp(0.0, 255.0).to(torch.uint8)


def _quantised(planes: Tensor, table: Tensor) -> Tensor:
    """Round the cosine transforms of all blocks of (V, c, H, W) to multiples of a table."""
    cosine = _cosines(planes.device)
    blocks = planes.unflatten(-1, (-1, _BLOCK)).unflatten(-3, (-1, _BLOCK)).transpose(-3, -2)
    transform = cosine @ blocks @ cosine.T
    rounded = (transform / table).round() * table
    back = (cosine.T @ rounded @ cosine).transpose(-3, -2)
    return back.flatten(-4, -3).flatten(-2, -1)


def _table(values: tuple[int, ...], quality: int, device: torch.device) -> Tensor:
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    scaled = (torch.tensor(values, device=device) * scale + 50) // 100
    return scaled.clamp(1, 255).float().view(_BLOCK, _BLOCK)


def _cosines(device: torch.device) -> Tensor:
    """Return the orthonormal transform of eight numbers: (8, 8)."""
    place = torch.arange(_BLOCK, device=device)
    waves = torch.cos(math.pi / _BLOCK * (place + 0.5) * place[:, None]) * math.sqrt(2 / _BLOCK)
    waves[0] /= math.sqrt(2.0)
    return waves
