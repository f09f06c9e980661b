# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
The dense heads: four levels of tokens in, maps at image size out (DPT, Ranftl et al. 2021).

Shapes: V views, H W pixels. Everything is fp32. Submodules have the names of the published
weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from da3_ros.model.config import ModelConfig
from da3_ros.model.pyramid import conv3, PyramidHead, Size
import torch
from torch import nn, Tensor

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


class Dpt(PyramidHead):
    """Depth and sky."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        neck = config.head_features // 2
        self.scratch['output_conv2'] = _output(neck, 1)
        self.scratch['sky_output_conv2'] = _output(neck, 1)

    def maps(self, x: Tensor) -> DenseMaps:
        """
        Predict the maps from what ``at_image_size`` gives.

        :param x: (V, features / 2, H, W).
        """
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

    def maps(self, x: Tensor) -> DenseMaps:
        """
        Predict depth and its confidence from what ``at_image_size`` gives.

        :param x: (V, features / 2, H, W).
        """
        output = self.scratch['output_conv2'](x)
        return DenseMaps(depth=output[:, 0].exp(), confidence=output[:, 1].exp() + 1.0)

    def decode_rays(self, laterals: Sequence[Tensor], image_size: Size) -> RayMaps:
        """
        Predict rays and their confidence.

        :param laterals: as ``laterals`` gives them.
        :param image_size: height and width [px].
        """
        x = self.scratch.get_submodule('output_conv1_aux.3')(self.fuse(laterals, '_aux'))
        x = self.uv(x.shape, image_size, x.device).add_(x)
        output = self.scratch.get_submodule('output_conv2_aux.3')(x)
        output = output.permute(0, 2, 3, 1)
        return RayMaps(rays=output[..., :6], confidence=output[..., 6].exp() + 1.0)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (V, C, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        """Norm every place by itself."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _output(inputs: int, outputs: int) -> nn.Sequential:
    last = nn.Conv2d(_OUTPUT_FEATURES, outputs, kernel_size=1)
    return nn.Sequential(conv3(inputs, _OUTPUT_FEATURES), nn.ReLU(), last)


def _ray_neck(features: int) -> nn.Sequential:
    widths = (features, features // 2, features, features // 2, features, features // 2)
    return nn.Sequential(*map(conv3, widths[:-1], widths[1:]))


def _ray_output(inputs: int) -> nn.Sequential:
    output = nn.Sequential()
    # The published names leave gaps where upstream permutes axes.
    output.add_module('0', conv3(inputs, _OUTPUT_FEATURES))
    output.add_module('2', ChannelNorm(_OUTPUT_FEATURES))
    output.add_module('4', nn.ReLU())
    output.add_module('5', nn.Conv2d(_OUTPUT_FEATURES, 7, kernel_size=1))
    return output
