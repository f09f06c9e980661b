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
The dense heads: four levels of tokens in, maps at image size out (DPT, Ranftl et al. 2021).

Shapes: V views, P = rows * columns patches, F backbone channels, H W pixels. Everything is fp32.
Submodules have the names of the published weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from da3_ros.model.config import ModelConfig, PATCH_SIZE
from da3_ros.model.uv_embedding import uv_embedding, UvEmbedding
import torch
from torch import nn, Tensor
import torch.nn.functional as F

Size = tuple[int, int]

_OUTPUT_FEATURES = 32


@dataclass(frozen=True, eq=False)
class DenseMaps:
    """
    Maps at image size; None where the head has no such map.

    :param depth: (V, H, W), > 0.
    :param confidence: (V, H, W), > 1.
    :param sky: (V, H, W), 0 = none.
    """

    depth: Tensor
    confidence: Tensor | None = None
    sky: Tensor | None = None


@dataclass(frozen=True, eq=False)
class RayMaps:
    """
    Rays of every view on a grid of 8 x 8 points for every patch.

    :param rays: (V, 8 rows, 8 columns, 6), direction and origin in the window's frame.
    :param confidence: (V, 8 rows, 8 columns), > 1.
    """

    rays: Tensor
    confidence: Tensor


class ResidualUnit(nn.Module):
    """Two convolutions beside an identity."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = _conv3(features, features)
        self.conv2 = _conv3(features, features)

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
        result: Tensor = self.out_conv(_resample(self.resConfUnit2(x), size))
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
        self.scratch['output_conv1'] = _conv3(features, features // 2)
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
        maps = self.norm(tokens).transpose(1, 2).unflatten(2, grid)
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
                maps = self._uv(maps, image_size).add_(maps.clone())
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

    def _add_branch(self, features: int, branch: str = '') -> None:
        for level in (1, 2, 3, 4):
            fusion = Fusion(features, has_lateral=level < 4)
            self.scratch[f'refinenet{level}{branch}'] = fusion

    def _at_image_size(self, laterals: Sequence[Tensor], image_size: Size) -> Tensor:
        fused = self.scratch['output_conv1'](self.fuse(laterals))
        x = _resample(fused, image_size)
        return self._uv(x, image_size).add_(x) if self.has_uv else x

    def _uv(self, x: Tensor, image_size: Size) -> UvEmbedding:
        """Return the embedding for a map's places; those of the last image size are kept."""
        if self._uv_size != (image_size, x.device):
            self._uv_size = (image_size, x.device)
            self._uv_cache.clear()
        channels, rows, columns = x.shape[1:]
        shape = (channels, rows, columns)
        if shape not in self._uv_cache:
            self._uv_cache[shape] = uv_embedding(shape, image_size, x.device)
        return self._uv_cache[shape]


class Dpt(PyramidHead):
    """Depth and sky."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        neck = config.head_features // 2
        self.scratch['output_conv2'] = _output(neck, 1)
        self.scratch['sky_output_conv2'] = _output(neck, 1)

    def decode(self, laterals: Sequence[Tensor], image_size: Size) -> DenseMaps:
        """
        Predict the maps.

        :param laterals: as ``laterals`` gives them.
        :param image_size: height and width [px].
        """
        x = self._at_image_size(laterals, image_size)
        depth = self.scratch['output_conv2'](x)[:, 0].exp()
        return DenseMaps(depth, sky=self.scratch['sky_output_conv2'](x)[:, 0].relu())


class DualDpt(PyramidHead):
    """Depth with confidence, and rays with confidence by a second pyramid."""

    has_uv = True
    memory_format = torch.channels_last

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        features = config.head_features
        self.norm = nn.LayerNorm(config.feature_dim)
        self.scratch['output_conv2'] = _output(features // 2, 2)
        self._add_branch(features, '_aux')
        # The published weights hold outputs for all four levels; only the finest one is used.
        necks = (_ray_neck(features) for _ in range(4))
        outputs = (_ray_output(features // 2) for _ in range(4))
        self.scratch['output_conv1_aux'] = nn.ModuleList(necks)
        self.scratch['output_conv2_aux'] = nn.ModuleList(outputs)

    def decode(self, laterals: Sequence[Tensor], image_size: Size) -> DenseMaps:
        """
        Predict depth and its confidence.

        :param laterals: as ``laterals`` gives them.
        :param image_size: height and width [px].
        """
        output = self.scratch['output_conv2'](self._at_image_size(laterals, image_size))
        return DenseMaps(depth=output[:, 0].exp(), confidence=output[:, 1].exp() + 1.0)

    def decode_rays(self, laterals: Sequence[Tensor], image_size: Size) -> RayMaps:
        """
        Predict rays and their confidence.

        :param laterals: as ``laterals`` gives them.
        :param image_size: height and width [px].
        """
        x = self.scratch.get_submodule('output_conv1_aux.3')(self.fuse(laterals, '_aux'))
        x = self._uv(x, image_size).add_(x)
        output = self.scratch.get_submodule('output_conv2_aux.3')(x)
        output = output.permute(0, 2, 3, 1)
        return RayMaps(rays=output[..., :6], confidence=output[..., 6].exp() + 1.0)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (V, C, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        """Norm every place by itself."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _conv3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)


def _output(inputs: int, outputs: int) -> nn.Sequential:
    last = nn.Conv2d(_OUTPUT_FEATURES, outputs, kernel_size=1)
    return nn.Sequential(_conv3(inputs, _OUTPUT_FEATURES), nn.ReLU(), last)


def _ray_neck(features: int) -> nn.Sequential:
    widths = (features, features // 2, features, features // 2, features, features // 2)
    return nn.Sequential(*map(_conv3, widths[:-1], widths[1:]))


def _ray_output(inputs: int) -> nn.Sequential:
    output = nn.Sequential()
    # The published names leave gaps where upstream permutes axes.
    output.add_module('0', _conv3(inputs, _OUTPUT_FEATURES))
    output.add_module('2', ChannelNorm(_OUTPUT_FEATURES))
    output.add_module('4', nn.ReLU())
    output.add_module('5', nn.Conv2d(_OUTPUT_FEATURES, 7, kernel_size=1))
    return output


def _resample(x: Tensor, size: Size) -> Tensor:
    return F.interpolate(x, size=size, mode='bilinear', align_corners=True)
