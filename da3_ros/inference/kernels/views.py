# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
What happens to whole views: pixels become patches, tokens become features and descriptions.

Shapes: V views, H W pixels, T tokens of a view of which P are patches, C channels.
"""

# Triton's functions are written in its own language, which has no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, import-not-found, import-untyped"

from da3_ros.model.config import PATCH_SIZE
import torch
from torch import Tensor
import triton
import triton.language as tl

_PATCHES_PER_PROGRAM = 8
_TOKENS_PER_PROGRAM = 16


def patches(
    pixels: Tensor, mean: Tensor, deviation: Tensor, width: int, dtype: torch.dtype
) -> Tensor:
    """
    Cut images into patches of normalised pixels.

    :param pixels: (V, H, W, 3) uint8 RGB, contiguous.
    :param mean: (3,) fp32, of pixels between 0 and 1.
    :param deviation: (3,) fp32.
    :param width: of the result; zeros behind the pixels.
    :param dtype: of the result.
    :returns: (V, P, width), colour by colour, row by row.
    """
    num_views, height, columns_px, _ = pixels.shape
    rows, columns = height // PATCH_SIZE, columns_px // PATCH_SIZE
    result = torch.empty((num_views, rows * columns, width), dtype=dtype, device=pixels.device)
    num_patches = num_views * rows * columns
    _patches[(triton.cdiv(num_patches, _PATCHES_PER_PROGRAM),)](
        pixels, mean, deviation, result, num_patches, rows, columns, width,
        PATCH_SIZE, _PATCHES_PER_PROGRAM, triton.next_power_of_2(width),
    )
    return result


def level(
    local: Tensor, x: Tensor, weight: Tensor, bias: Tensor, eps: float,
    head_weight: Tensor, head_bias: Tensor, head_eps: float,
) -> Tensor:
    """
    Form what the depth head reads of patches: two halves, the second normed, and both normed.

    :param local: (V, T, C) fp32 contiguous.
    :param x: (V, T, C) fp32 contiguous.
    :param weight: (C,) of the second half's norm, and so on.
    :param head_weight: (2C,) of the norm of both, and so on.
    :returns: (V, P, 2C) fp32.
    """
    num_views, num_tokens, channels = x.shape
    result = torch.empty((num_views, num_tokens - 1, 2 * channels), device=x.device)
    _level[(num_tokens - 1, num_views)](
        local, x, weight, bias, head_weight, head_bias, result, eps, head_eps, num_tokens,
        channels, triton.next_power_of_2(channels),
    )
    return result


def pool_cubes(x: Tensor, eps: float, least: float) -> Tensor:
    """
    Norm patches and sum the cubes of what is above zero, and of what is below, apart.

    :param x: (V, T, C) contiguous; the first token is left out.
    :param eps: added to the variance.
    :param least: of the values.
    :returns: (V, 2C) fp32 sums.
    """
    num_views, num_tokens, channels = x.shape
    parts = triton.cdiv(num_tokens - 1, _TOKENS_PER_PROGRAM)
    sums = torch.empty((num_views, parts, 2 * channels), device=x.device)
    _pool_cubes[(parts, num_views)](
        x, sums, eps, least, num_tokens, channels,
        _TOKENS_PER_PROGRAM, triton.next_power_of_2(channels),
    )
    return sums.sum(dim=1)


@triton.jit
def _patches(
    pixels, mean, deviation, result, num_patches, rows, columns, width,
    SIDE: tl.constexpr, PATCHES: tl.constexpr, BLOCK: tl.constexpr,
):
    """Cut some patches."""
    patch = (tl.program_id(0) * PATCHES + tl.arange(0, PATCHES)).to(tl.int64)[:, None]
    place = tl.arange(0, BLOCK)[None, :]
    is_patch, is_place = patch < num_patches, place < width
    is_pixel = is_patch & (place < 3 * SIDE * SIDE)
    view, within = patch // (rows * columns), patch % (rows * columns)
    colour, inner = place // (SIDE * SIDE), place % (SIDE * SIDE)
    y = (within // columns) * SIDE + inner // SIDE
    x = (within % columns) * SIDE + inner % SIDE
    source = ((view * rows * SIDE + y) * (columns * SIDE) + x) * 3 + colour
    value = tl.load(pixels + source, mask=is_pixel, other=0).to(tl.float32) / 255.0
    value -= tl.load(mean + colour, mask=is_pixel, other=0.0)
    value /= tl.load(deviation + colour, mask=is_pixel, other=1.0)
    value = tl.where(is_pixel, value, 0.0)
    tl.store(
        result + patch * width + place, value.to(result.dtype.element_ty),
        mask=is_patch & is_place)


@triton.jit
def _level(
    local, x, weight, bias, head_weight, head_bias, result, eps, head_eps, num_tokens, channels,
    BLOCK: tl.constexpr,
):
    """Form the features of one patch."""
    patch, view = tl.program_id(0), tl.program_id(1).to(tl.int64)
    start = (view * num_tokens + patch + 1) * channels
    column = tl.arange(0, BLOCK)
    mask = column < channels
    first = tl.load(local + start + column, mask=mask, other=0.0)
    value = tl.load(x + start + column, mask=mask, other=0.0)
    mean = tl.sum(value) / channels
    centered = tl.where(mask, value - mean, 0.0)
    factor = 1.0 / tl.sqrt(tl.sum(centered * centered) / channels + eps)
    second = centered * factor * tl.load(weight + column, mask=mask, other=0.0)
    second += tl.load(bias + column, mask=mask, other=0.0)
    mean = (tl.sum(first) + tl.sum(second)) / (2 * channels)
    first = tl.where(mask, first - mean, 0.0)
    second = tl.where(mask, second - mean, 0.0)
    variance = (tl.sum(first * first) + tl.sum(second * second)) / (2 * channels)
    factor = 1.0 / tl.sqrt(variance + head_eps)
    target = result + (view * (num_tokens - 1) + patch) * (2 * channels)
    first = first * factor * tl.load(head_weight + column, mask=mask, other=0.0)
    first += tl.load(head_bias + column, mask=mask, other=0.0)
    tl.store(target + column, first, mask=mask)
    second = second * factor * tl.load(head_weight + channels + column, mask=mask, other=0.0)
    second += tl.load(head_bias + channels + column, mask=mask, other=0.0)
    tl.store(target + channels + column, second, mask=mask)


@triton.jit
def _pool_cubes(
    x, sums, eps, least, num_tokens, channels, TOKENS: tl.constexpr, BLOCK: tl.constexpr,
):
    """Sum over some patches of one view."""
    part, view = tl.program_id(0), tl.program_id(1).to(tl.int64)
    column = tl.arange(0, BLOCK)
    mask = column < channels
    above, below = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    for i in range(TOKENS):
        token = 1 + part * TOKENS + i
        is_token = token < num_tokens
        start = x + (view * num_tokens + token) * channels
        value = tl.load(start + column, mask=mask & is_token, other=0.0).to(tl.float32)
        mean = tl.sum(value) / channels
        centered = tl.where(mask, value - mean, 0.0)
        normed = centered / tl.sqrt(tl.sum(centered * centered) / channels + eps)
        # Not the maximum, which hides values that are no numbers.
        upper = tl.where(normed < least, least, normed)
        lower = tl.where(-normed < least, least, -normed)
        above += tl.where(is_token, upper * upper * upper, 0.0)
        below += tl.where(is_token, lower * lower * lower, 0.0)
    target = sums + (view * tl.num_programs(0) + part) * (2 * channels)
    tl.store(target + column, above, mask=mask)
    tl.store(target + channels + column, below, mask=mask)
