# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
What a network knows of single views, kept while they come again.

Every view has a row, the same in all buffers. Buffers stay where they are, so that what was
recorded to read them reads the views of any window.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Seats:
    """
    The rows of a window's views.

    :param rows: of every view, all different.
    :param new: indices of the views whose rows must be filled first.
    """

    rows: tuple[int, ...]
    new: tuple[int, ...]


class KeptViews:
    """
    Who has which row; views that were not seen for the longest time go first.

    :param capacity: number of rows.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        # By when they were seen last, the latest at the end.
        self._rows: dict[Hashable, int] = {}

    def seat(self, keys: Sequence[Hashable]) -> Seats:
        """
        Find rows for the views of a window; nothing is kept of those that are new before ``keep``.

        :param keys: of up to ``capacity`` views; None for one that will not come again.
        """
        named = _distinct(keys)
        known = {key: self._rows.pop(key) for key in named if key in self._rows}
        taken = {*self._rows.values(), *known.values()}
        free = [row for row in range(self.capacity) if row not in taken]
        new = tuple(i for i, key in enumerate(named) if key not in known)
        while len(free) < len(new):
            free.append(self._rows.pop(next(iter(self._rows))))
        self._rows.update(known)
        fresh = iter(free)
        rows = tuple(known[key] if key in known else next(fresh) for key in named)
        return Seats(rows, new)

    def keep(self, keys: Sequence[Hashable], seats: Seats) -> None:
        """
        Note that the rows of a window's new views are filled.

        :param keys: as given to ``seat``.
        :param seats: what it returned; no other window may have been seated since.
        """
        named = _distinct(keys)
        self._rows.update({
            named[i]: seats.rows[i] for i in seats.new if keys[i] is not None
        })

    def forget(self) -> None:
        """Forget all views."""
        self._rows.clear()


class ViewBuffers:
    """
    What a network knows of the views in their rows.

    :param capacity: number of rows.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._buffers: dict[str, Tensor] = {}

    @property
    def held_bytes(self) -> int:
        """Return the memory of all buffers."""
        return sum(buffer.nbytes for buffer in self._buffers.values())

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the buffers."""
        return tuple(self._buffers)

    def put(self, name: str, rows: Tensor, values: Tensor) -> None:
        """
        Fill some rows of a buffer.

        :param name: of the buffer.
        :param rows: (n,) int64.
        :param values: (n, ...).
        """
        if name not in self._buffers:
            shape = (self._capacity, *values.shape[1:])
            self._buffers[name] = torch.empty(shape, dtype=values.dtype, device=values.device)
        self._buffers[name].index_copy_(0, rows, values)

    def get(self, name: str, rows: Tensor) -> Tensor:
        """
        Copy some rows of a buffer.

        :param name: of the buffer.
        :param rows: (n,) int64.
        :returns: (n, ...).
        """
        return self._buffers[name].index_select(0, rows)


def _distinct(keys: Sequence[Hashable]) -> list[Hashable]:
    """Tell equal keys of one window apart, and those that have no name."""
    seen: Counter[Hashable] = Counter()
    named: list[Hashable] = []
    for key in keys:
        named.append(object() if key is None else (key, seen[key]))
        seen[key] += 1
    return named
