# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
What surrounds the matrix products of a block: norms, residual sums, rotations, gates.

Each replaces a chain of elementwise kernels by one that reads and writes once; the arithmetic is
fp32 and rounds where the chain does.

Shapes: V views, T tokens of a view, C channels, h heads, d channels of a head, R rows.
"""

# Triton's functions are written in its own language, which has no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, import-not-found, import-untyped"

import torch
from torch import Tensor
import triton
import triton.language as tl

_ROWS_PER_PROGRAM = 32
_CHANNELS_PER_PROGRAM = 1024


def norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
    """
    Norm over channels, and round.

    :param x: (..., C) fp32 contiguous.
    :param weight: (C,) fp32.
    :param bias: (C,) fp32.
    :param eps: added to the variance.
    :param dtype: of the result.
    """
    result = torch.empty(x.shape, dtype=dtype, device=x.device)
    _run_rows(x, x, weight, weight, bias, result, eps, adds=False, norms=True)
    return result


def add_(x: Tensor, branch: Tensor, scale: Tensor) -> None:
    """
    Add a scaled branch in place.

    :param x: (..., C) fp32 contiguous.
    :param branch: (..., C) contiguous.
    :param scale: (C,) fp32.
    """
    _run_rows(x, branch, scale, scale, scale, x, 0.0, adds=True, norms=False)


def add_and_norm_(
    x: Tensor, branch: Tensor, scale: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> Tensor:
    """
    Add a scaled branch in place, then norm over channels, and round to the branch's format.

    Parameters are those of ``add_`` and ``norm``.
    """
    result = torch.empty_like(branch)
    _run_rows(x, branch, scale, weight, bias, result, eps, adds=True, norms=True)
    return result


def gate(both: Tensor) -> Tensor:
    """
    Let one half of the channels gate the other one.

    :param both: (..., 2 * width) contiguous.
    :returns: (..., width).
    """
    width = both.shape[-1] // 2
    result = torch.empty((*both.shape[:-1], width), dtype=both.dtype, device=both.device)
    grid = (result.numel() // width, triton.cdiv(width, _CHANNELS_PER_PROGRAM))
    _gate[grid](both, result, width, _CHANNELS_PER_PROGRAM)
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


def _run_rows(
    x: Tensor, branch: Tensor, scale: Tensor, weight: Tensor, bias: Tensor, result: Tensor,
    eps: float, *, adds: bool, norms: bool,
) -> None:
    channels = x.shape[-1]
    _add_and_norm[(x.numel() // channels,)](
        x, branch, scale, weight, bias, result, eps, channels, adds, norms,
        triton.next_power_of_2(channels),
    )


@triton.jit
def _add_and_norm(
    x, branch, scale, weight, bias, result, eps, channels,
    ADDS: tl.constexpr, NORMS: tl.constexpr, BLOCK: tl.constexpr,
):
    """Add to one row, norm it, or both."""
    start = tl.program_id(0).to(tl.int64) * channels
    column = tl.arange(0, BLOCK)
    mask = column < channels
    value = tl.load(x + start + column, mask=mask, other=0.0)
    if ADDS:
        added = tl.load(branch + start + column, mask=mask, other=0.0).to(tl.float32)
        value += added * tl.load(scale + column, mask=mask, other=0.0)
        tl.store(x + start + column, value, mask=mask)
    if NORMS:
        mean = tl.sum(value) / channels
        centered = tl.where(mask, value - mean, 0.0)
        factor = 1.0 / tl.sqrt(tl.sum(centered * centered) / channels + eps)
        normed = centered * factor * tl.load(weight + column, mask=mask, other=0.0)
        normed += tl.load(bias + column, mask=mask, other=0.0)
        tl.store(result + start + column, normed.to(result.dtype.element_ty), mask=mask)


@triton.jit
def _gate(both, result, width, BLOCK: tl.constexpr):
    """Gate a part of one row."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = column < width
    gate = tl.load(both + row * 2 * width + column, mask=mask, other=0.0).to(tl.float32)
    value = tl.load(both + row * 2 * width + width + column, mask=mask, other=0.0)
    opened = (gate / (1.0 + tl.exp(-gate))).to(value.dtype).to(tl.float32)
    gated = opened * value.to(tl.float32)
    tl.store(result + row * width + column, gated.to(result.dtype.element_ty), mask=mask)


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
