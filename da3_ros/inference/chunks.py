# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""How a window is divided where that changes nothing."""

from collections.abc import Iterator
from dataclasses import astuple, dataclass


@dataclass(frozen=True)
class Chunks:
    """
    How many views pass through a part of the network at a time; no result depends on it.

    :param views: through the embedding and the blocks within views.
    :param queries: through a block over all views.
    :param head: through the depth head.
    :param maps: through the part of it that is as large as the image.
    """

    views: int
    queries: int
    head: int
    maps: int = 1

    def __post_init__(self) -> None:
        if min(astuple(self)) < 1:
            raise ValueError(f'chunks: got {self}, expected at least one view in each')


def view_slices(num_views: int, chunk: int) -> Iterator[slice]:
    """
    Divide views evenly into chunks.

    :param num_views: N.
    :param chunk: the most views in one.
    """
    num_chunks = -(-num_views // chunk)
    if num_chunks == 0:
        return iter(())
    bounds = [num_views * i // num_chunks for i in range(num_chunks + 1)]
    return map(slice, bounds[:-1], bounds[1:])
