# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Fused kernels in the place of chains of small ones, where a GPU and its software allow it.

Shapes: V views, T tokens of a view, C channels, h heads, d channels of a head.
"""

from collections.abc import Iterator
from dataclasses import replace
import logging
from typing import cast

from da3_ros.inference.appearance import EPS, LEAST, POWER
from da3_ros.inference.arithmetic import Arithmetic
from da3_ros.inference.preprocessing import statistics_on
from da3_ros.model.backbone import Backbone, VisionTransformer
from da3_ros.model.config import MODELS
from da3_ros.model.depth_head import DenseMaps, Dpt, DualDpt
from da3_ros.model.pyramid import PyramidHead, Size
from da3_ros.model.transformer import LayerScale, Rotation
from da3_ros.model.uv_embedding import uv_embedding, UvEmbedding
import torch
from torch import nn, Tensor
import torch.nn.functional as F

_logger = logging.getLogger(__name__)

# Both round to the same format, so most values agree and the rest are neighbours.
_TOLERANCE = 2e-2


class FusedArithmetic(Arithmetic):
    """Kernels that read and write once; parameters are those of ``Arithmetic``."""

    def __init__(self) -> None:
        # Triton is not everywhere, and imports slowly.
        from da3_ros.inference.kernels import maps, tokens, views

        self._maps = maps
        self._tokens = tokens
        self._views = views

    def embed(
        self, network: VisionTransformer, pixels: Tensor, position_embedding: Tensor
    ) -> Tensor:
        """Turn pixels into the residual stream before the first block."""
        proj = network.patch_embed.proj
        weight = proj.weight.flatten(1)
        # Matrix units want rows of whole 16 bytes.
        width = -(-weight.shape[1] // 8) * 8
        statistics = statistics_on(pixels.device)
        patches = self._views.patches(pixels.contiguous(), *statistics, width, weight.dtype)
        weight = F.pad(weight, (0, width - weight.shape[1]))
        embedded = F.linear(patches, weight, proj.bias)
        x = position_embedding.repeat(len(pixels), 1, 1)
        x[:, 1:] += embedded
        x[:, :1] += network.cls_token
        return x

    def describe(self, x: Tensor) -> Tensor:
        """Pool what views look like."""
        sums = self._views.pool_cubes(x, EPS, LEAST)
        return sums.div_(x.shape[1] - 1).pow_(1.0 / POWER)

    def level(self, backbone: Backbone, head: PyramidHead, local: Tensor, x: Tensor) -> Tensor:
        """Form what a depth head reads of patches, and norm it."""
        norm = backbone.pretrained.norm
        if not isinstance(head.norm, nn.LayerNorm):
            return super().level(backbone, head, local, x)
        return self._views.level(
            local, x, norm.weight, norm.bias, norm.eps,
            head.norm.weight, head.norm.bias, head.norm.eps)

    def maps(self, head: Dpt | DualDpt, x: Tensor) -> DenseMaps:
        """Predict maps."""
        if isinstance(head, DualDpt):
            depth, confidence = self._output(head, 'output_conv2', x, exponential=True)
            return DenseMaps(depth, confidence=confidence.add_(1.0))
        (depth,) = self._output(head, 'output_conv2', x, exponential=True)
        (sky,) = self._output(head, 'sky_output_conv2', x, exponential=False)
        return DenseMaps(depth, sky=sky)

    def _output(self, head: PyramidHead, name: str, x: Tensor, *, exponential: bool) -> Tensor:
        """Run an output of a head: (maps, V, H, W)."""
        first, _, last = cast(nn.Sequential, head.scratch[name])
        assert isinstance(first, nn.Conv2d) and isinstance(last, nn.Conv2d)
        assert first.bias is not None and last.bias is not None
        hidden = F.conv2d(x, first.weight, None, first.stride, first.padding)
        return self._maps.narrow(
            _by_place(hidden), first.bias, last.weight, last.bias, exponential=exponential)

    def norm(self, norm: nn.LayerNorm, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Norm tokens and round them."""
        return self._tokens.norm(x, norm.weight, norm.bias, norm.eps, dtype)

    def add_(self, x: Tensor, branch: Tensor, scale: LayerScale) -> None:
        """Add a residual branch in place."""
        self._tokens.add_(x, branch, scale.gamma)

    def add_and_norm_(
        self, x: Tensor, branch: Tensor, scale: LayerScale, norm: nn.LayerNorm
    ) -> Tensor:
        """Add a residual branch in place, then norm tokens and round them."""
        return self._tokens.add_and_norm_(
            x, branch, scale.gamma, norm.weight, norm.bias, norm.eps
        )

    def finish(
        self, heads: Tensor, norm: nn.LayerNorm | None, rotation: Rotation | None
    ) -> Tensor:
        """Norm and rotate queries or keys."""
        if norm is None or rotation is None:
            return super().finish(heads, norm, rotation)
        return self._tokens.norm_and_rotate(
            heads, norm.weight, norm.bias, norm.eps, rotation.cos, rotation.sin
        )

    def gate(self, both: Tensor) -> Tensor:
        """Let one half of the channels gate the other one."""
        return self._tokens.gate(both)

    def conv(
        self, layer: nn.Conv2d, x: Tensor, *, added: tuple[Tensor, ...] = (), relu: bool = False
    ) -> Tensor:
        """Run a convolution and what follows it."""
        if layer.bias is None:
            return super().conv(layer, x, added=added, relu=relu)
        result = F.conv2d(x, layer.weight, None, layer.stride, layer.padding)
        summands = [_by_place(summand) for summand in added]
        return self._maps.finish_(_by_place(result), layer.bias, summands, relu=relu)

    def resample(self, x: Tensor, size: Size, uv: UvEmbedding | None = None) -> Tensor:
        """Resample maps bilinearly and add the embedding of their places."""
        return self._maps.resample(_by_place(x), size, None if uv is None else uv.by_place)


def choose_arithmetic(device: torch.device) -> Arithmetic:
    """
    Choose the fused kernels if they work on the device.

    They are compiled when first used, which needs a compiler on the machine; here on small
    problems, whose results must agree with the modules'.

    :param device: where the network runs.
    """
    plain = Arithmetic()
    if device.type != 'cuda':
        return plain
    try:
        fused = FusedArithmetic()
        agree = all(
            torch.allclose(one.float(), other.float(), atol=_TOLERANCE)
            for one, other in zip(_samples(fused, device), _samples(plain, device), strict=True)
        )
    except Exception as error:
        _logger.info('no fused kernels: %s', str(error))
        return plain
    if not agree:
        _logger.warning("no fused kernels: their results differ from the modules' here")
        return plain
    return fused


@torch.no_grad()
def _samples(arithmetic: Arithmetic, device: torch.device) -> Iterator[Tensor]:
    """Run everything on small problems with the shapes of a network."""
    generator = torch.Generator(device).manual_seed(0)
    tokens = torch.randn(2, 5, 192, generator=generator, device=device)
    branch = torch.randn(2, 5, 192, generator=generator, device=device).to(torch.float16)
    wide, narrow = nn.LayerNorm(192, device=device), nn.LayerNorm(64, device=device)
    scale = LayerScale(192).to(device)
    positions = torch.arange(10, device=device).view(5, 2)
    yield arithmetic.norm(wide, tokens, torch.float16)
    yield arithmetic.finish(branch.view(2, 5, 3, 64), narrow, Rotation.at(positions, 64))
    yield arithmetic.gate(branch)
    yield arithmetic.add_and_norm_(tokens, branch, scale, wide)
    arithmetic.add_(tokens, branch, scale)
    yield tokens
    maps = tokens.view(2, 2, 5, 96).permute(0, 3, 1, 2)
    layer = nn.Conv2d(96, 96, 1, device='meta').to_empty(device=device)
    for i, weight in enumerate(layer.parameters()):
        nn.init.constant_(weight, 0.01 + i)
    yield arithmetic.conv(layer, maps, added=(maps, maps), relu=True)
    yield arithmetic.resample(maps, (4, 11), uv_embedding((96, 4, 11), (4, 11), device))
    yield from _samples_of_views(arithmetic, generator, device)


def _samples_of_views(
    arithmetic: Arithmetic, generator: torch.Generator, device: torch.device
) -> Iterator[Tensor]:
    """Run what is made of whole views."""
    config = replace(MODELS['da3-tiny'], depth=1)
    with torch.device('meta'):
        backbone, head = Backbone(config), DualDpt(config)
    for part in (backbone, head):
        for i, weight in enumerate(part.to_empty(device=device).parameters()):
            nn.init.constant_(weight, 0.001 * (1 + i % 5))
    pixels = torch.arange(3 * 14 * 28, device=device).remainder(256).to(torch.uint8)
    tokens = torch.randn(2, 3, config.embed_dim, generator=generator, device=device)
    positions = tokens[:1].clone()
    yield arithmetic.embed(backbone.pretrained, pixels.view(1, 14, 28, 3), positions)
    yield arithmetic.describe(tokens)
    yield arithmetic.level(backbone, head, tokens, tokens.flip(0))
    shape = (1, config.head_features // 2, 14, 14)
    dense = arithmetic.maps(head, torch.randn(shape, generator=generator, device=device))
    assert dense.confidence is not None
    yield from (dense.depth, dense.confidence)


def _by_place(maps: Tensor) -> Tensor:
    """Lay the channels of a place together, and places one after the other, if they are not."""
    return maps.contiguous(memory_format=torch.channels_last)
