# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
DualDPT in the form that trains fast: the same function of the same parameters.

Convolutions run in one dtype; bilinear resampling is two matrix products, whose backward is two
as well instead of atomic additions; 1x1 convolutions come before resampling, not after.

Shapes: M views, P patches, C channels, H W pixels.
"""

from dataclasses import dataclass

from da3_ros.model.config import PATCH_SIZE
from da3_ros.model.depth_head import DualDpt
from da3_ros.model.uv_embedding import uv_embedding
import torch
from torch import nn, Tensor
import torch.nn.functional as F


@dataclass(frozen=True, eq=False)
class DenseMaps:
    """
    What the depth head gives, before the exponentials.

    :param log_depth: (M, H, W).
    :param log_confidence: (M, H, W), logarithm of confidence - 1.
    :param rays: (M, 8 rows, 8 columns, 6).
    :param log_ray_confidence: (M, 8 rows, 8 columns).
    """

    log_depth: Tensor
    log_confidence: Tensor
    rays: Tensor
    log_ray_confidence: Tensor


class DenseHead:
    """
    DualDPT on some of the views.

    :param head: its parameters.
    :param norm: the backbone's final norm.
    :param size: height and width [px].
    :param dtype: dtype of the convolutions.
    """

    def __init__(
        self, head: DualDpt, norm: nn.LayerNorm, size: tuple[int, int], dtype: torch.dtype
    ) -> None:
        self._head = head
        self._norm = norm
        self._size = size
        self._dtype = dtype
        rows, columns = size[0] // PATCH_SIZE, size[1] // PATCH_SIZE
        self._grids = [(4 * rows, 4 * columns), (2 * rows, 2 * columns), (rows, columns),
                       ((rows + 1) // 2, (columns + 1) // 2)]
        self.ray_grid = (8 * rows, 8 * columns)
        device = norm.weight.device
        sides = {*self._grids, self.ray_grid, size}
        self._matrices = {
            (source, target): resampling_matrix(source, target, device).to(dtype)
            for source in {side for grid in sides for side in grid}
            for target in {side for grid in sides for side in grid}
            if source <= target
        }
        self._uv = {
            (channels, grid): uv_embedding((channels, *grid), size, device).add_(
                torch.zeros(1, channels, *grid, device=device)
            )
            for channels, grid in [
                *((p.out_channels, (rows, columns)) for p in head.projects),
                (head.scratch.output_conv1.out_channels, size),
                (head.scratch.output_conv1.out_channels, self.ray_grid),
            ]
        }

    def __call__(self, local: tuple[Tensor, ...], mixed: tuple[Tensor, ...]) -> DenseMaps:
        """
        Run both branches.

        :param local: four (M, P, C).
        :param mixed: four (M, P, C).
        """
        laterals = [
            self._lateral(level, *pair)
            for level, pair in enumerate(zip(local, mixed, strict=True))
        ]
        scratch = self._head.scratch
        x = _conv(scratch.output_conv1, self._fuse(laterals, ''))
        x = self._with_uv(self._resample(x, self._size))
        x = _conv(scratch.output_conv2[2], F.relu(_conv(scratch.output_conv2[0], x))).float()
        rays = self._fuse(laterals, '_aux')
        for convolution in scratch.output_conv1_aux[-1]:
            rays = _conv(convolution, rays)
        output = scratch.output_conv2_aux[-1]
        rays = _conv(output[0], self._with_uv(rays)).permute(0, 2, 3, 1)
        norm = output[1]
        rays = F.relu(F.layer_norm(rays.float(), norm.normalized_shape, norm.weight, norm.bias))
        rays = F.linear(rays.to(self._dtype), output[3].weight.flatten(1).to(self._dtype))
        rays = rays.float() + output[3].bias
        return DenseMaps(x[:, 0], x[:, 1], rays[..., :6], rays[..., 6])

    def _lateral(self, level: int, local: Tensor, mixed: Tensor) -> Tensor:
        head = self._head
        tokens = torch.cat((local, self._norm(mixed)), dim=-1)
        projection = head.projects[level]
        x = F.linear(
            head.norm(tokens).to(self._dtype),
            projection.weight.flatten(1).to(self._dtype),
            projection.bias.to(self._dtype),
        )
        rows, columns = self._grids[2]
        x = self._with_uv(x.unflatten(1, (rows, columns)).permute(0, 3, 1, 2))
        layer = head.resize_layers[level]
        if isinstance(layer, nn.ConvTranspose2d):
            x = _spread(layer, x)
        elif isinstance(layer, nn.Conv2d):
            x = _conv(layer, x)
        return _conv(head.scratch.get_submodule(f'layer{level + 1}_rn'), x)

    def _fuse(self, laterals: list[Tensor], branch: str) -> Tensor:
        x = laterals[3]
        for level in (3, 2, 1, 0):
            fusion = self._head.scratch.get_submodule(f'refinenet{level + 1}{branch}')
            if level < 3:
                x = x + _residual(fusion.resConfUnit1, laterals[level])
            # A 1x1 convolution and a resampling commute; before it, it has fewer places.
            x = _conv(fusion.out_conv, _residual(fusion.resConfUnit2, x))
            x = self._resample(x, self._grids[level - 1] if level else self.ray_grid)
        return x

    def _resample(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        views, channels, rows, columns = x.shape
        vertical = self._matrices[rows, size[0]]
        horizontal = self._matrices[columns, size[1]]
        places = x.permute(0, 2, 3, 1).reshape(views * rows, columns, channels)
        # The axis with the many small products first, while there are fewer rows.
        wide = torch.bmm(horizontal.expand(len(places), -1, -1), places)
        wide = wide.view(views, rows, size[1] * channels)
        tall = torch.bmm(vertical.expand(views, -1, -1), wide)
        return tall.view(views, *size, channels).permute(0, 3, 1, 2)

    def _with_uv(self, x: Tensor) -> Tensor:
        embedding = self._uv[x.shape[1], (x.shape[2], x.shape[3])]
        return (x + embedding).to(self._dtype)


def resampling_matrix(source: int, target: int, device: torch.device) -> Tensor:
    """
    Build bilinear resampling with aligned corners along one axis.

    :returns: (target, source).
    """
    places = torch.linspace(0, source - 1, target, device=device, dtype=torch.float64)
    left = places.floor().clamp(max=max(source - 2, 0))
    nodes = torch.arange(source, device=device, dtype=torch.float64)
    weights = (1.0 - (places[:, None] - nodes).abs()).clamp_min(0.0)
    assert left.min() >= 0
    return weights.float()


def _conv(layer: nn.Conv2d, x: Tensor) -> Tensor:
    bias = None if layer.bias is None else layer.bias.to(x.dtype)
    weight = layer.weight.to(x.dtype, memory_format=torch.channels_last)
    return F.conv2d(x, weight, bias, layer.stride, layer.padding)


def _spread(layer: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """Apply a transposed convolution whose kernel is its stride: one product a place."""
    side = layer.stride[0]
    inputs, outputs = layer.weight.shape[:2]
    weight = layer.weight.permute(0, 2, 3, 1).reshape(inputs, -1).to(x.dtype)
    places = (x.permute(0, 2, 3, 1) @ weight).unflatten(-1, (side, side, outputs))
    places = places.permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(1, 2)
    assert layer.bias is not None
    return (places + layer.bias.to(x.dtype)).permute(0, 3, 1, 2)


def _residual(unit: nn.Module, x: Tensor) -> Tensor:
    return x + _conv(unit.conv2, F.relu(_conv(unit.conv1, F.relu(x))))
