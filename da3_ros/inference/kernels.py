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
Fused kernels for what surrounds the matrix products on a GPU.

Each replaces a chain of elementwise kernels by one that reads and writes once; the arithmetic is
fp32 with one rounding at the end, as in the chain. Only imported where Triton is installed.

Shapes: T tokens of a view, C channels, h heads, d channels of a head, R rows.
"""

# Triton's functions are written in its own language, which has no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, import-not-found, import-untyped"

import torch
from torch import Tensor
import triton
import triton.language as tl

_ROWS_PER_PROGRAM = 32


def layer_norm(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float, dtype: torch.dtype
) -> Tensor:
    """
    Norm over channels, and round.

    :param x: (..., C) contiguous.
    :param weight: (C,) fp32.
    :param bias: (C,) fp32.
    :param eps: added to the variance.
    :param dtype: of the result.
    """
    channels = x.shape[-1]
    result = torch.empty(x.shape, dtype=dtype, device=x.device)
    _layer_norm[(x.numel() // channels,)](
        x, weight, bias, result, eps, channels, triton.next_power_of_2(channels)
    )
    return result


def norm_and_rotate(
    heads: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    cos: Tensor,
    sin: Tensor,
) -> Tensor:
    """
    Norm queries or keys over the channels of a head, rotate them, and round.

    :param heads: (V, T, h, d), contiguous but for the distance between tokens.
    :param weight: (d,) fp32.
    :param bias: (d,) fp32.
    :param eps: added to the variance.
    :param cos: (T, d) fp32.
    :param sin: (T, d) fp32.
    :returns: (V, T, h, d) contiguous.
    """
    num_views, num_tokens, num_heads, dim = heads.shape
    num_rows = num_views * num_tokens * num_heads
    result = torch.empty(heads.shape, dtype=heads.dtype, device=heads.device)
    _norm_and_rotate[(triton.cdiv(num_rows, _ROWS_PER_PROGRAM),)](
        heads, weight, bias, cos, sin, result, eps,
        num_rows, num_heads, num_tokens, heads.stride(1),
        dim // 4, _ROWS_PER_PROGRAM,
    )
    return result


@triton.jit
def _layer_norm(
    x, weight, bias, result, eps, channels, BLOCK: tl.constexpr,
):
    """Norm one row."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    mask = column < channels
    value = tl.load(x + row * channels + column, mask=mask, other=0.0).to(tl.float32)
    mean = tl.sum(value) / channels
    centered = tl.where(mask, value - mean, 0.0)
    scale = 1.0 / tl.sqrt(tl.sum(centered * centered) / channels + eps)
    normed = centered * scale * tl.load(weight + column, mask=mask, other=0.0)
    normed += tl.load(bias + column, mask=mask, other=0.0)
    tl.store(result + row * channels + column, normed.to(result.dtype.element_ty), mask=mask)


@triton.jit
def _norm_and_rotate(
    heads, weight, bias, cos, sin, result, eps,
    num_rows, num_heads, num_tokens, token_stride,
    QUARTER: tl.constexpr, ROWS: tl.constexpr,
):
    """
    Norm and rotate some rows of one head each.

    A row is four quarters: two for each image axis, which turn into each other.
    """
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    mask = (row < num_rows)[:, None, None]
    token = row // num_heads
    head = row % num_heads
    part = tl.arange(0, 4)[None, :, None]
    within = tl.arange(0, QUARTER)[None, None, :]
    column = part * QUARTER + within
    # Quarter 0 turns into 1 and 1 into 0, 2 into 3 and 3 into 2; the first of a pair with a minus.
    partner = (part ^ 1) * QUARTER + within
    sign = tl.where(part % 2 == 0, -1.0, 1.0)
    start = heads + (token * token_stride + head * (4 * QUARTER))[:, None, None]
    value = tl.load(start + column, mask=mask, other=0.0).to(tl.float32)
    other = tl.load(start + partner, mask=mask, other=0.0).to(tl.float32)
    channels = 4 * QUARTER
    mean = (tl.sum(tl.sum(value, axis=2), axis=1) / channels)[:, None, None]
    centered = value - mean
    variance = (tl.sum(tl.sum(centered * centered, axis=2), axis=1) / channels)[:, None, None]
    scale = 1.0 / tl.sqrt(variance + eps)
    normed = centered * scale * tl.load(weight + column) + tl.load(bias + column)
    turned = (other - mean) * scale * tl.load(weight + partner) + tl.load(bias + partner)
    place = (token % num_tokens)[:, None, None] * channels + column
    rotated = normed * tl.load(cos + place) + sign * turned * tl.load(sin + place)
    target = result + row[:, None, None] * channels + column
    tl.store(target, rotated.to(result.dtype.element_ty), mask=mask)
