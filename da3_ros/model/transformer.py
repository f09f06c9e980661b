# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Transformer blocks, shared by the backbone and the camera encoder.

Shapes: B batch, T tokens, C channels, h heads, d channels of a head.

Precision follows the weights. Norms, LayerScale and the residual stream are fp32; a matrix product
runs in the dtype of its matrix, and attention in that of its values. With bf16 matrices this is
upstream's autocast, without casting the weights again in every call.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn, Tensor
import torch.nn.functional as F

ROTARY_BASE = 100.0


@dataclass(frozen=True, eq=False)
class Rotation:
    """
    Two-dimensional rotary position embedding of T tokens (RoFormer, per image axis).

    :param cos: (T, d) fp32; the first half of d turns with y, the second with x.
    :param sin: (T, d) fp32.
    """

    cos: Tensor
    sin: Tensor

    @classmethod
    def at(cls, positions: Tensor, head_dim: int) -> 'Rotation':
        """
        Build the rotation for tokens at given places.

        :param positions: (T, 2) y, x in patches.
        :param head_dim: channels of a head, a multiple of 4.
        """
        axis_dim = head_dim // 2
        exponents = torch.arange(0, axis_dim, 2, device=positions.device).float() / axis_dim
        frequencies = 1.0 / ROTARY_BASE**exponents
        angles = positions.float()[..., None] * frequencies
        angles = torch.cat((angles, angles), dim=-1).flatten(-2)
        return cls(angles.cos(), angles.sin())

    def of(self, tokens: slice) -> 'Rotation':
        """
        Return the rotation of some of the tokens.

        :param tokens: range over T.
        """
        return Rotation(self.cos[tokens], self.sin[tokens])

    def __call__(self, x: Tensor) -> Tensor:
        """
        Rotate queries or keys.

        :param x: (..., T, d).
        """
        first, second = x.unflatten(-1, (2, 2, -1)).unbind(-2)
        turned = torch.stack((-second, first), dim=-2).flatten(-3)
        return x * self.cos + turned * self.sin


class Attention(nn.Module):
    """
    Multi-head attention with optional q/k norm and rotary positions.

    ``forward`` is made of the three public steps; an executor may call them on ranges of tokens.
    """

    def __init__(self, dim: int, num_heads: int, *, qk_norm: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.q_norm = nn.LayerNorm(dim // num_heads) if qk_norm else None
        self.k_norm = nn.LayerNorm(dim // num_heads) if qk_norm else None
        self.proj = nn.Linear(dim, dim)

    def queries(self, x: Tensor, rotation: Rotation | None = None) -> Tensor:
        """
        Project tokens to queries.

        :param x: (B, T, C), normed.
        :returns: (B, h, T, d).
        """
        return norm_and_rotate(self._project(x, first=0, last=1)[0], self.q_norm, rotation)

    def keys_values(
        self, x: Tensor, rotation: Rotation | None = None
    ) -> tuple[Tensor, Tensor]:
        """
        Project tokens to keys and values.

        :param x: (B, T, C), normed.
        :returns: keys and values, (B, h, T, d) each.
        """
        keys, values = self._project(x, first=1, last=3)
        return norm_and_rotate(keys, self.k_norm, rotation), values

    def merge(self, heads: Tensor) -> Tensor:
        """
        Project the attended values back to tokens.

        :param heads: (B, h, T, d).
        :returns: (B, T, C).
        """
        result: Tensor = self.proj(heads.transpose(1, 2).flatten(2))
        return result

    def forward(self, x: Tensor, rotation: Rotation | None = None) -> Tensor:
        """
        Attend over all T tokens.

        :param x: (B, T, C), normed.
        """
        keys, values = self.keys_values(x, rotation)
        heads = F.scaled_dot_product_attention(self.queries(x, rotation), keys, values)
        return self.merge(heads)

    def _project(self, x: Tensor, *, first: int, last: int) -> Tensor:
        """Return parts first to last of (queries, keys, values): (parts, B, h, T, d)."""
        rows = slice(first * x.shape[-1], last * x.shape[-1])
        parts = F.linear(x.to(self.qkv.weight.dtype), self.qkv.weight[rows], self.qkv.bias[rows])
        heads: Tensor = parts.unflatten(-1, (last - first, self.num_heads, -1))
        return heads.permute(2, 0, 3, 1, 4)


def norm_and_rotate(
    heads: Tensor, norm: nn.LayerNorm | None, rotation: Rotation | None
) -> Tensor:
    """
    Finish queries or keys in fp32, and round once.

    :param heads: (B, h, T, d).
    """
    placed = heads if norm is None else norm(heads.float())
    placed = placed if rotation is None else rotation(placed)
    return placed.to(heads.dtype)


class LayerScale(nn.Module):
    """A learnt factor for every channel of a residual branch."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Scale (..., C)."""
        return x * self.gamma


class Mlp(nn.Module):
    """Two layers with GELU between."""

    def __init__(self, dim: int, hidden: int, out_dim: int | None = None) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, out_dim or dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., dim) to (..., out_dim)."""
        result: Tensor = self.fc2(F.gelu(self.fc1(x.to(self.fc1.weight.dtype))))
        return result


class SwiGlu(nn.Module):
    """Gated feed-forward layer (Shazeer 2020); a third of its width makes it as large as Mlp."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        width = -(-int(hidden * 2 / 3) // 8) * 8
        self.w12 = nn.Linear(dim, 2 * width)
        self.w3 = nn.Linear(width, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., C)."""
        gate, value = self.w12(x.to(self.w12.weight.dtype)).chunk(2, dim=-1)
        result: Tensor = self.w3(F.silu(gate) * value)
        return result


class Block(nn.Module):
    """Pre-norm transformer block with LayerScale."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        feed_forward: Literal['mlp', 'swiglu'] = 'mlp',
        qk_norm: bool = False,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(dim, num_heads, qk_norm=qk_norm)
        self.ls1 = LayerScale(dim)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = (SwiGlu if feed_forward == 'swiglu' else Mlp)(dim, 4 * dim)
        self.ls2 = LayerScale(dim)

    def forward(self, x: Tensor, rotation: Rotation | None = None) -> Tensor:
        """
        Attend over T, then pass every token through the feed-forward layer.

        :param x: (B, T, C) fp32.
        """
        x = x + self.ls1(self.attn(self.norm1(x), rotation))
        return self.feed_forward(x)

    def feed_forward(self, x: Tensor) -> Tensor:
        """
        Run the second half of the block, which knows no other token.

        :param x: (..., C) fp32.
        """
        result: Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return result
