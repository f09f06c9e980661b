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
What surrounds the matrix products of a block: norms and rotations.

One implementation calls the network's own modules; the other runs the same arithmetic in fused
kernels where the GPU and its software allow it.

Shapes: V views, T tokens of a view, C channels, h heads, d channels of a head.
"""

import logging

from da3_ros.model.transformer import Attention, norm_and_rotate, Rotation
import torch
from torch import nn, Tensor
import torch.nn.functional as F

_logger = logging.getLogger(__name__)

# Both round to the same format, so most values agree and the rest are neighbours.
_TOLERANCE = 2e-2


class Arithmetic:
    """The network's own modules."""

    def norm(self, norm: nn.LayerNorm, x: Tensor, dtype: torch.dtype) -> Tensor:
        """
        Norm tokens and round them.

        :param norm: one of a block's norms.
        :param x: (V, T, C) fp32.
        :param dtype: of the result.
        """
        result: Tensor = norm(x)
        return result.to(dtype)

    def finish(
        self, heads: Tensor, norm: nn.LayerNorm | None, rotation: Rotation | None
    ) -> Tensor:
        """
        Norm and rotate queries or keys.

        :param heads: (V, T, h, d), contiguous but for the distance between tokens.
        """
        return norm_and_rotate(heads.transpose(1, 2), norm, rotation).transpose(1, 2)


class FusedArithmetic(Arithmetic):
    """Kernels that read and write once."""

    def __init__(self) -> None:
        # Triton is not everywhere, and imports slowly.
        from da3_ros.inference import kernels

        self._kernels = kernels

    def norm(self, norm: nn.LayerNorm, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Norm tokens and round them, see ``Arithmetic.norm``."""
        return self._kernels.layer_norm(x, norm.weight, norm.bias, norm.eps, dtype)

    def finish(
        self, heads: Tensor, norm: nn.LayerNorm | None, rotation: Rotation | None
    ) -> Tensor:
        """Norm and rotate queries or keys, see ``Arithmetic.finish``."""
        if norm is None or rotation is None:
            return super().finish(heads, norm, rotation)
        return self._kernels.norm_and_rotate(
            heads, norm.weight, norm.bias, norm.eps, rotation.cos, rotation.sin
        )


def choose_arithmetic(device: torch.device) -> Arithmetic:
    """
    Choose the fused kernels if they work on the device.

    They are compiled when first used, which needs a compiler on the machine; here on a small
    problem, whose result must agree with the modules'.

    :param device: where the network runs.
    """
    plain = Arithmetic()
    if device.type != 'cuda':
        return plain
    try:
        fused = FusedArithmetic()
        agree = _agree(fused, plain, device)
    except Exception as error:
        _logger.info('no fused kernels: %s', error)
        return plain
    if not agree:
        _logger.warning("no fused kernels: their results differ from the modules' here")
        return plain
    return fused


def project(attention: Attention, x: Tensor, *, first: int, last: int) -> tuple[Tensor, ...]:
    """
    Project tokens to some of queries (0), keys (1) and values (2), in one matrix product.

    :param x: (V, T, C), normed.
    :param first: of the three.
    :param last: the first one left out.
    :returns: (V, T, h, d) each.
    """
    rows = slice(first * x.shape[-1], last * x.shape[-1])
    weight, bias = attention.qkv.weight[rows], attention.qkv.bias[rows]
    parts = F.linear(x.to(weight.dtype), weight, bias)
    shape = (*x.shape[:2], last - first, attention.num_heads, -1)
    return parts.view(shape).unbind(2)


def _agree(one: Arithmetic, other: Arithmetic, device: torch.device) -> bool:
    """Compare on a problem with the shapes of a block."""
    generator = torch.Generator(device).manual_seed(0)
    tokens = torch.randn(2, 5, 3, 64, generator=generator, device=device)
    wide, narrow = nn.LayerNorm(192, device=device), nn.LayerNorm(64, device=device)
    positions = torch.arange(10, device=device).view(5, 2)
    rotation = Rotation.at(positions, 64)
    heads = tokens.to(torch.float16)
    pairs = [
        [a.norm(wide, tokens.flatten(2), torch.float16), a.finish(heads, narrow, rotation)]
        for a in (one, other)
    ]
    return all(
        torch.allclose(a.float(), b.float(), atol=_TOLERANCE)
        for a, b in zip(*pairs, strict=True)
    )
