# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
What surrounds the matrix products and convolutions of a network: norms, sums, rotations.

This one calls the network's own modules; ``FusedArithmetic`` runs the same in fewer kernels.

Shapes: V views, T tokens of a view, C channels, h heads, d channels of a head.
"""

from da3_ros.inference.appearance import describe
from da3_ros.inference.preprocessing import normalize
from da3_ros.model.backbone import Backbone, VisionTransformer
from da3_ros.model.depth_head import DenseMaps, Dpt, DualDpt
from da3_ros.model.pyramid import PyramidHead, resample, Size
from da3_ros.model.transformer import (
    Attention,
    LayerScale,
    Mlp,
    norm_and_rotate,
    Rotation,
    SwiGlu,
)
from da3_ros.model.uv_embedding import UvEmbedding
import torch
from torch import nn, Tensor
import torch.nn.functional as F


class Arithmetic:
    """The network's own modules."""

    def embed(
        self, network: VisionTransformer, pixels: Tensor, position_embedding: Tensor
    ) -> Tensor:
        """
        Turn pixels into the residual stream before the first block.

        :param pixels: (V, H, W, 3) uint8 RGB.
        :param position_embedding: (1, T, C) fp32.
        :returns: (V, T, C) fp32.
        """
        return network.embed(normalize(pixels), position_embedding)

    def describe(self, x: Tensor) -> Tensor:
        """
        Pool what views look like, see ``appearance.describe``.

        :param x: (V, T, C); the first token of each is left out.
        :returns: (V, 2C) fp32.
        """
        return describe(x[:, 1:])

    def level(self, backbone: Backbone, head: PyramidHead, local: Tensor, x: Tensor) -> Tensor:
        """
        Form what a depth head reads of patches, and norm it.

        :param local: (V, T, C) fp32 contiguous, output of the last block within views.
        :param x: (V, T, C) fp32 contiguous, output of this block.
        :returns: (V, P, F) fp32.
        """
        normed: Tensor = head.norm(backbone.level(local[:, 1:], x[:, 1:]))
        return normed

    def maps(self, head: Dpt | DualDpt, x: Tensor) -> DenseMaps:
        """
        Predict maps.

        :param x: (V, features / 2, H, W).
        """
        return head.maps(x)

    def norm(self, norm: nn.LayerNorm, x: Tensor, dtype: torch.dtype) -> Tensor:
        """
        Norm tokens and round them.

        :param norm: one of a block's norms.
        :param x: (V, T, C) fp32.
        :param dtype: of the result.
        """
        result: Tensor = norm(x)
        return result.to(dtype)

    def add_(self, x: Tensor, branch: Tensor, scale: LayerScale) -> None:
        """
        Add a residual branch in place.

        :param x: (V, T, C) fp32 contiguous.
        :param branch: (V, T, C) contiguous, not scaled.
        :param scale: of the branch.
        """
        x.addcmul_(branch, scale.gamma)

    def add_and_norm_(
        self, x: Tensor, branch: Tensor, scale: LayerScale, norm: nn.LayerNorm
    ) -> Tensor:
        """
        Add a residual branch in place, then norm tokens and round them to the branch's format.

        Parameters are those of ``add_`` and ``norm``.
        """
        self.add_(x, branch, scale)
        return self.norm(norm, x, branch.dtype)

    def finish(
        self, heads: Tensor, norm: nn.LayerNorm | None, rotation: Rotation | None
    ) -> Tensor:
        """
        Norm and rotate queries or keys.

        :param heads: (V, T, h, d), contiguous but for the distance between tokens.
        """
        return norm_and_rotate(heads.transpose(1, 2), norm, rotation).transpose(1, 2)

    def feed_forward(self, layer: Mlp | SwiGlu, x: Tensor) -> Tensor:
        """
        Run a block's feed-forward layer.

        :param x: (V, T, C), normed.
        """
        if isinstance(layer, Mlp):
            result: Tensor = layer(x)
            return result
        gated: Tensor = layer.w3(self.gate(layer.w12(x.to(layer.w12.weight.dtype))))
        return gated

    def gate(self, both: Tensor) -> Tensor:
        """
        Let one half of the channels gate the other one.

        :param both: (..., 2 * width) contiguous.
        :returns: (..., width).
        """
        gate, value = both.chunk(2, dim=-1)
        return F.silu(gate).mul_(value)

    def conv(
        self, layer: nn.Conv2d, x: Tensor, *, added: tuple[Tensor, ...] = (), relu: bool = False
    ) -> Tensor:
        """
        Run a convolution and what follows it.

        :param x: (V, C, h, w).
        :param added: to its result, one after the other.
        :param relu: whether negative values become 0 then.
        """
        result: Tensor = layer(x)
        for summand in added:
            result += summand
        return result.relu_() if relu else result

    def resample(self, x: Tensor, size: Size, uv: UvEmbedding | None = None) -> Tensor:
        """
        Resample maps bilinearly, corner to corner, and add the embedding of their places.

        :param x: (V, C, h, w).
        :param size: height and width of the result.
        :param uv: of the result's places; None: nothing is added.
        """
        result = resample(x, size)
        return result if uv is None else uv.add_(result)


def project(
    attention: Attention, x: Tensor, *, first: int, last: int, heads: slice | None = None
) -> tuple[Tensor, ...]:
    """
    Project tokens to some of queries (0), keys (1) and values (2), in one matrix product.

    :param x: (V, T, C), normed.
    :param first: of the three.
    :param last: the first one left out.
    :param heads: of which heads; None: of all.
    :returns: (V, T, h, d) each.
    """
    dim = x.shape[-1]
    rows, num_heads = slice(first * dim, last * dim), attention.num_heads
    weight, bias = attention.qkv.weight[rows], attention.qkv.bias[rows]
    if heads is not None:
        weight = weight.view(last - first, num_heads, -1, dim)[:, heads].flatten(0, 2)
        bias = bias.view(last - first, num_heads, -1)[:, heads].flatten()
        num_heads = heads.stop - heads.start
    parts = F.linear(x.to(weight.dtype), weight, bias)
    return parts.view(*x.shape[:2], last - first, num_heads, -1).unbind(2)
