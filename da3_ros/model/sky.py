# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Sky in depth maps: no depth can be right there, so a far one is filled in.

Shapes: B windows, N views, H W pixels.
"""

from bisect import bisect_left
from functools import cache
import struct

import torch
from torch import Tensor

SKY_THRESHOLD = 0.3
FAR_QUANTILE = 0.99

# How many are counted at a time: torch makes integers of masks to sum them.
VALUES_AT_ONCE = 2**22

_MIN_PIXELS = 10
# Of a float32, seen as an integer.
_SIGN, _MAGNITUDE = 2**31, 2**31 - 1


def fill_sky(depth: Tensor, sky: Tensor) -> Tensor:
    """
    Give sky the depth of the window's farthest other pixels.

    :param depth: (B, N, H, W).
    :param sky: (B, N, H, W), 0 = none.
    :returns: (B, N, H, W); windows with hardly any sky, or hardly anything else, as they were.
    """
    filled = depth.clone()
    for window, is_sky in zip(filled, sky >= SKY_THRESHOLD, strict=True):
        num_sky = count(is_sky)
        if _MIN_PIXELS < num_sky < is_sky.numel() - _MIN_PIXELS:
            window.masked_fill_(is_sky, quantile(window, FAR_QUANTILE, without=is_sky))
    return filled


def count(mask: Tensor) -> int:
    """
    Count what is true, in little memory.

    :param mask: bool of any shape.
    """
    return int(torch.stack([part.sum() for part in _parts(mask)]).sum())


def quantile(values: Tensor, fraction: float, *, without: Tensor) -> Tensor:
    """
    Return a quantile of some values, interpolated linearly.

    ``torch.quantile`` does not take as many values as a window has pixels, and a sorted copy of
    them would not fit where the window just does. Here the answer is searched among all numbers
    that there are, by counting the values up to them: some 40 passes that keep nothing.

    :param values: fp32 of any shape.
    :param fraction: 0 to 1.
    :param without: bool of that shape, which values do not count; at least one must.
    :returns: scalar tensor.
    """
    parts = list(zip(_parts(values), _parts(without), strict=True))

    @cache
    def num_up_to(place: int) -> int:
        bound = _number_at(place)
        counts = [((part <= bound) & ~left_out).sum() for part, left_out in parts]
        return int(torch.stack(counts).sum())

    rank = fraction * (without.numel() - count(without) - 1)
    below = int(rank)
    last = below if rank == below else below + 1
    low, high = (
        _number_at(bisect_left(range(2 * _SIGN), index + 1, key=num_up_to))
        for index in (below, last)
    )
    # Not between equal ones, which may be infinite.
    return values.new_tensor(low if low == high else low + (high - low) * (rank - below))


def _parts(values: Tensor) -> tuple[Tensor, ...]:
    return values.flatten().split(VALUES_AT_ONCE)


def _number_at(place: int) -> float:
    """Return a float32 by its place among all of them in ascending order, 0 to 2^32 - 1."""
    bits = place - _SIGN
    packed = struct.pack('i', bits if bits >= 0 else bits ^ _MAGNITUDE)
    number: float = struct.unpack('f', packed)[0]
    return number
