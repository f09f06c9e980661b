# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
The pyramid of the dense heads: levels of tokens in, one map of features out (Ranftl et al. 2021).

Shapes: V views, P = rows * columns patches, F backbone channels, H W pixels. Everything is fp32.
Submodules have the names of the published weights.
"""

from collections.abc import Sequence

from da3_ros.model.config import ModelConfig, PATCH_SIZE
from da3_ros.model.uv_embedding import uv_embedding, UvEmbedding
import torch
from torch import nn, Tensor
import torch.nn.functional as F

Size = tuple[int, int]


class ResidualUnit(nn.Module):
    """Two convolutions beside an identity."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = conv3(features, features)
        self.conv2 = conv3(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """Refine (V, features, h, w)."""
        result: Tensor = self.conv2(F.relu(self.conv1(F.relu(x)))) + x
        return result


class Fusion(nn.Module):
    """One step up the pyramid."""

    def __init__(self, features: int, *, has_lateral: bool) -> None:
        super().__init__()
        if has_lateral:
            self.resConfUnit1 = ResidualUnit(features)
        self.resConfUnit2 = ResidualUnit(features)
        self.out_conv = nn.Conv2d(features, features, kernel_size=1)

    def forward(self, x: Tensor, lateral: Tensor | None, size: Size) -> Tensor:
        """
        Add a level and resample to the size of the next one.

        :param x: (V, features, h, w) from the coarser level.
        :param lateral: (V, features, h, w) of this level, or None at the coarsest.
        :param size: height and width of the result.
        """
        if lateral is not None:
            x = x + self.resConfUnit1(lateral)
        result: Tensor = self.out_conv(resample(self.resConfUnit2(x), size))
        return result


class PyramidHead(nn.Module):
    """What both heads share: the levels' projection and their fusion from coarse to fine."""

    has_uv = False
    """Whether features get the image coordinates of their place added."""

    memory_format = torch.contiguous_format
    """Layout of the tokens' maps, upstream's: the last bits of a convolution depend on it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        widths, features = config.head_channels, config.head_features
        self.norm: nn.Module = nn.Identity()
        self.projects = nn.ModuleList(
            nn.Conv2d(config.feature_dim, width, kernel_size=1) for width in widths
        )
        self.resize_layers = nn.ModuleList([
            nn.ConvTranspose2d(widths[0], widths[0], kernel_size=4, stride=4),
            nn.ConvTranspose2d(widths[1], widths[1], kernel_size=2, stride=2),
            nn.Identity(),
            nn.Conv2d(widths[3], widths[3], kernel_size=3, stride=2, padding=1),
        ])
        self.scratch = nn.ModuleDict()
        for level, width in enumerate(widths, start=1):
            layer = nn.Conv2d(width, features, kernel_size=3, padding=1, bias=False)
            self.scratch[f'layer{level}_rn'] = layer
        self._add_branch(features)
        self.scratch['output_conv1'] = conv3(features, features // 2)
        self._uv_size: tuple[Size, torch.device] | None = None
        self._uv_cache: dict[tuple[int, int, int], UvEmbedding] = {}

    def project(self, level: int, tokens: Tensor, grid: Size) -> Tensor:
        """
        Norm the tokens of one level and narrow them to what the head keeps.

        :param level: 0 to 3.
        :param tokens: (V, P, F).
        :param grid: rows and columns of patches.
        :returns: (V, P, channels of that level).
        """
        return self.narrow(level, self.norm(tokens), grid)

    def narrow(self, level: int, normed: Tensor, grid: Size) -> Tensor:
        """
        Narrow the normed tokens of one level to what the head keeps.

        :param level: 0 to 3.
        :param normed: (V, P, F).
        :param grid: rows and columns of patches.
        :returns: (V, P, channels of that level).
        """
        maps = normed.transpose(1, 2).unflatten(2, grid)
        result: Tensor = self.projects[level](maps.contiguous(memory_format=self.memory_format))
        return result.flatten(2).transpose(1, 2)

    def laterals(self, projected: Sequence[Tensor], image_size: Size) -> list[Tensor]:
        """
        Bring the levels to their scales: 4, 2, 1 and 1/2 times the grid of patches.

        :param projected: four (V, P, channels of that level).
        :param image_size: height and width [px].
        :returns: four (V, features, h, w), finest first.
        """
        grid = (image_size[0] // PATCH_SIZE, image_size[1] // PATCH_SIZE)
        result = []
        for level, tokens in enumerate(projected):
            maps = tokens.transpose(1, 2).unflatten(2, grid)
            if self.has_uv:
                uv = self.uv(maps.shape, image_size, maps.device)
                maps = uv.add_(maps.clone())
            resized = self.resize_layers[level](maps)
            result.append(self.scratch[f'layer{level + 1}_rn'](resized))
        return result

    def fuse(self, laterals: Sequence[Tensor], branch: str = '') -> Tensor:
        """
        Run the pyramid from coarse to fine.

        :param laterals: as ``laterals`` gives them.
        :param branch: suffix of the branch's names.
        :returns: (V, features, 8 rows, 8 columns).
        """
        x = laterals[3]
        for level in (3, 2, 1, 0):
            rows, columns = laterals[max(level - 1, 0)].shape[-2:]
            size = (rows, columns) if level > 0 else (2 * rows, 2 * columns)
            fusion = self.scratch[f'refinenet{level + 1}{branch}']
            x = fusion(x, laterals[level] if level < 3 else None, size)
        return x

    def at_image_size(self, laterals: Sequence[Tensor], image_size: Size) -> Tensor:
        """
        Run the pyramid and resample its features to the image.

        :param laterals: as ``laterals`` gives them.
        :param image_size: height and width [px].
        :returns: (V, features / 2, H, W).
        """
        x = resample(self.scratch['output_conv1'](self.fuse(laterals)), image_size)
        return self.uv(x.shape, image_size, x.device).add_(x) if self.has_uv else x

    def uv(self, shape: Sequence[int], image_size: Size, device: torch.device) -> UvEmbedding:
        """
        Return the embedding for the places of a map; those of the last image size are kept.

        :param shape: (..., channels, h, w) of the map.
        :param image_size: height and width [px].
        :param device: of the map.
        """
        if self._uv_size != (image_size, device):
            self._uv_size = (image_size, device)
            self._uv_cache.clear()
        channels, rows, columns = shape[-3:]
        key = (channels, rows, columns)
        if key not in self._uv_cache:
            self._uv_cache[key] = uv_embedding(key, image_size, device)
        return self._uv_cache[key]

    @property
    def embeddings(self) -> tuple[UvEmbedding, ...]:
        """Return the embeddings that are kept for the last image size."""
        return tuple(self._uv_cache.values())

    def _add_branch(self, features: int, branch: str = '') -> None:
        for level in (1, 2, 3, 4):
            fusion = Fusion(features, has_lateral=level < 4)
            self.scratch[f'refinenet{level}{branch}'] = fusion


def conv3(inputs: int, outputs: int) -> nn.Conv2d:
    """Make a convolution over 3 x 3 places that keeps the size."""
    return nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)


def resample(x: Tensor, size: Size) -> Tensor:
    """
    Resample maps bilinearly, corner to corner.

    :param x: (V, C, h, w).
    :param size: height and width of the result.
    """
    return F.interpolate(x, size=size, mode='bilinear', align_corners=True)
