# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
What surrounds the convolutions of a head: biases, sums, resampling.

Each replaces a chain of elementwise kernels by one that reads and writes once. All maps are fp32
and lie by place: the channels of a place together, places one after the other.

Shapes: V views, C channels, h w places.
"""

# Triton's functions are written in its own language, which has no types.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, import-not-found, import-untyped"

from collections.abc import Sequence

import torch
from torch import Tensor
import triton
import triton.language as tl

_ELEMENTS_PER_PROGRAM = 1024
_COLUMNS_PER_PROGRAM = 16
_PLACES_PER_PROGRAM = 128


def finish_(maps: Tensor, bias: Tensor, added: Sequence[Tensor], *, relu: bool) -> Tensor:
    """
    Finish what a convolution began, in place.

    :param maps: (V, C, h, w), its result without bias.
    :param bias: (C,).
    :param added: up to two (V, C, h, w), one after the other.
    :param relu: whether negative values become 0 then.
    :returns: the maps.
    """
    first, second = (*added, maps, maps)[:2]
    size = maps.numel()
    _finish[(triton.cdiv(size, _ELEMENTS_PER_PROGRAM),)](
        maps, bias, first, second, size, maps.shape[1], len(added), relu, _ELEMENTS_PER_PROGRAM
    )
    return maps


def resample(
    maps: Tensor, size: tuple[int, int], embedding: tuple[Tensor, Tensor] | None
) -> Tensor:
    """
    Resample bilinearly, corner to corner, and add the embedding of the places.

    :param maps: (V, C, h, w).
    :param size: height and width of the result.
    :param embedding: (width, C / 2) for the first half of the channels, (height, C / 2) for the
        other; None: nothing is added.
    """
    num_views, channels, rows, columns = maps.shape
    result = torch.empty(
        (num_views, channels, *size), device=maps.device, memory_format=torch.channels_last
    )
    along_x, along_y = (maps, maps) if embedding is None else embedding
    scales = [
        (inner - 1) / (outer - 1) if outer > 1 else 0.0
        for inner, outer in zip((rows, columns), size, strict=True)
    ]
    grid = (triton.cdiv(size[1], _COLUMNS_PER_PROGRAM), size[0], num_views)
    _resample[grid](
        maps, result, along_x, along_y, channels, rows, columns, *size, *scales,
        embedding is not None, _COLUMNS_PER_PROGRAM, triton.next_power_of_2(channels),
    )
    return result


def narrow(
    hidden: Tensor, bias: Tensor, weight: Tensor, last_bias: Tensor, *, exponential: bool
) -> Tensor:
    """
    Finish a convolution, cut negative values off and narrow what is left to a few maps.

    :param hidden: (V, C, h, w), the convolution's result without bias.
    :param bias: (C,) of it.
    :param weight: (K, C, 1, 1) of the convolution over single places that follows.
    :param last_bias: (K,) of that one.
    :param exponential: of the result, or else its negative values are cut off too.
    :returns: (K, V, h, w).
    """
    num_views, channels, rows, columns = hidden.shape
    num_maps, size = len(weight), num_views * rows * columns
    result = torch.empty((num_maps, num_views, rows, columns), device=hidden.device)
    _narrow[(triton.cdiv(size, _PLACES_PER_PROGRAM),)](
        hidden, bias, weight, last_bias, result, size, channels, num_maps, exponential,
        _PLACES_PER_PROGRAM, triton.next_power_of_2(channels),
    )
    return result


@triton.jit
def _narrow(
    hidden, bias, weight, last_bias, result, size, channels,
    MAPS: tl.constexpr, EXPONENTIAL: tl.constexpr, PLACES: tl.constexpr, CHANNELS: tl.constexpr,
):
    """Narrow some places."""
    place = tl.program_id(0).to(tl.int64) * PLACES + tl.arange(0, PLACES)
    channel = tl.arange(0, CHANNELS)
    is_place, is_channel = place < size, channel < channels
    mask = is_place[:, None] & is_channel[None, :]
    value = tl.load(hidden + place[:, None] * channels + channel[None, :], mask=mask, other=0.0)
    value += tl.load(bias + channel, mask=is_channel, other=0.0)[None, :]
    # Not the maximum, which hides values that are no numbers.
    value = tl.where(value < 0.0, 0.0, value)
    for i in tl.static_range(MAPS):
        factors = tl.load(weight + i * channels + channel, mask=is_channel, other=0.0)
        total = tl.sum(value * factors[None, :], axis=1) + tl.load(last_bias + i)
        if EXPONENTIAL:
            total = tl.exp(total)
        else:
            total = tl.where(total < 0.0, 0.0, total)
        tl.store(result + i * size + place, total, mask=is_place)


@triton.jit
def _finish(
    maps, bias, first, second, size, channels,
    NUM_ADDED: tl.constexpr, RELU: tl.constexpr, BLOCK: tl.constexpr,
):
    """Finish some elements."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    within = tl.arange(0, BLOCK)
    index = start + within
    mask = index < size
    channel = ((start % channels).to(tl.int32) + within) % channels
    value = tl.load(maps + index, mask=mask, other=0.0) + tl.load(bias + channel)
    if NUM_ADDED > 0:
        value += tl.load(first + index, mask=mask, other=0.0)
    if NUM_ADDED > 1:
        value += tl.load(second + index, mask=mask, other=0.0)
    if RELU:
        # Not the maximum, which hides values that are no numbers.
        value = tl.where(value < 0.0, 0.0, value)
    tl.store(maps + index, value, mask=mask)


@triton.jit
def _resample(
    maps, result, along_x, along_y, channels, rows, columns, out_rows, out_columns,
    row_scale, column_scale,
    EMBEDS: tl.constexpr, COLUMNS: tl.constexpr, CHANNELS: tl.constexpr,
):
    """Resample some places of one row of one view."""
    view, out_row = tl.program_id(2).to(tl.int64), tl.program_id(1)
    out_column = (tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS))[:, None]
    channel = tl.arange(0, CHANNELS)[None, :]
    mask = (out_column < out_columns) & (channel < channels)
    row, column = row_scale * out_row, column_scale * out_column
    top, left = row.to(tl.int32), tl.minimum(column.to(tl.int32), columns - 1)
    below = tl.where(top < rows - 1, columns, 0) * channels
    right = tl.where(left < columns - 1, channels, 0)
    start = maps + view * rows * columns * channels
    corner = start + (top * columns + left) * channels + channel
    lower, inner = row - top, column - left
    upper, outer = 1.0 - lower, 1.0 - inner
    above = outer * tl.load(corner, mask=mask) + inner * tl.load(corner + right, mask=mask)
    under = outer * tl.load(corner + below, mask=mask)
    under += inner * tl.load(corner + below + right, mask=mask)
    value = upper * above + lower * under
    if EMBEDS:
        half = channels // 2
        is_first = channel < half
        value += tl.load(along_x + out_column * half + channel, mask=mask & is_first, other=0.0)
        place = out_row * half + channel - half
        value += tl.load(along_y + place, mask=mask & (channel >= half), other=0.0)
    target = result + view * out_rows * out_columns * channels
    target += (out_row * out_columns + out_column) * channels + channel
    tl.store(target, value, mask=mask)
