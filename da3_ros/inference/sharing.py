# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
One window among several devices: which of its views run here, and what is exchanged.

Every device runs the same program on its own views. On one device these are all views, and there
is nothing to exchange: that is what ``Peers`` says, and nobody else asks how many devices there
are.

Shapes: N views of a window, M of them here, W views of it whose maps are wanted.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate
import math

import torch
from torch import Tensor


class Peers:
    """The devices that share windows with this one: none."""

    @property
    def num_devices(self) -> int:
        """Return how many devices share a window, this one included."""
        return 1

    @property
    def rank(self) -> int:
        """Return which of them this one is."""
        return 0

    @property
    def may_record(self) -> bool:
        """Return whether work can be recorded as a graph, and be launched without the others."""
        return True

    @contextmanager
    def together(self) -> Iterator[None]:
        """Do something that fails here if it fails anywhere."""
        yield

    def agree(self) -> None:
        """
        Wait until all are here.

        :raises ElsewhereError: if one of them has failed instead.
        """

    def exchange_(self, wholes: Sequence[Tensor], bounds: Sequence[int]) -> None:
        """
        Fill in what the others have.

        :param wholes: (N, ...) contiguous each, of which the own part is filled.
        :param bounds: where the parts begin, and N.
        """

    def gather(
        self, parts: Sequence[Tensor], bounds: Sequence[int]  # noqa: ARG002
    ) -> Sequence[Tensor]:
        """
        Return the parts of all.

        :param parts: (M, ...) each.
        :param bounds: where the parts begin in what is returned, and N.
        :returns: (N, ...) each.
        """
        return parts

    def put_(
        self, x: Tensor, place: Tensor, value: Tensor, bounds: Sequence[int]  # noqa: ARG002
    ) -> None:
        """
        Put a view where it runs, if that is here.

        :param x: (M, ...).
        :param place: (1,) int64, among all N.
        :param value: (1, ...), anything where the view runs elsewhere.
        :param bounds: where the parts begin, and N.
        """
        x.index_copy_(0, place, value)

    def host_maps(
        self, shapes: Mapping[str, Sequence[int]]  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """
        Return memory of the host that all write their maps to; none: each has its own.

        :param shapes: of the maps of all views, by their names.
        """
        return {}

    def smallest(self, value: float) -> float:
        """Return the smallest value of all."""
        return value

    def largest(self, value: float) -> float:
        """Return the largest value of all."""
        return -self.smallest(-value)

    @property
    def bytes_per_s(self) -> float:
        """Return how fast an exchange is: how many bytes reach each device in a second."""
        return math.inf

    @property
    def frugal_head_groups(self) -> int:
        """
        Return in how many parts heads have keys and values of all views where memory is short.

        On several devices these are most of what a view takes, since all have those of all.
        """
        return 1


@dataclass(frozen=True, eq=False)
class Share:
    """
    How the views of a window are divided, and in which order they run.

    Device by device; of each, the views whose maps are not wanted come first.

    :param views: (N,) int64, which view runs at each place.
    :param places: (N,) int64, the place at which each view runs.
    :param bounds: places where the devices' views begin, and N.
    :param map_bounds: likewise among the views whose maps are wanted alone, and W.
    :param map_places: (W,) int64, where each of them is among these; None: in the order of asking.
    :param peers: the devices.
    """

    views: Tensor
    places: Tensor
    bounds: tuple[int, ...]
    map_bounds: tuple[int, ...]
    map_places: Tensor | None
    peers: Peers

    @classmethod
    def of(
        cls,
        num_views: int,
        wanted: Sequence[int] | None = None,
        peers: Peers | None = None,
        *,
        owners: Sequence[int] | None = None,
    ) -> 'Share':
        """
        Divide a window, on the host.

        :param num_views: N.
        :param wanted: views whose maps are wanted, each once; None: all.
        :param peers: the devices; None: this one.
        :param owners: on which device each view runs; None: as evenly as can be.
        :raises ValueError: if there are no such views.
        """
        peers = Peers() if peers is None else peers
        others, chosen = split_views(num_views, wanted)
        owner_of = dict(enumerate(owners)) if owners is not None else _even_owners(
            others, chosen, peers.num_devices)
        ranks = range(peers.num_devices)
        runs = [[[view for view in part if owner_of[view] == rank] for part in (others, chosen)]
                for rank in ranks]
        maps = [view for _, mine in runs for view in mine]
        views = torch.tensor([view for both in runs for part in both for view in part])
        return cls(
            views,
            views.argsort(),
            _bounds([len(other) + len(mine) for other, mine in runs]),
            _bounds([len(mine) for _, mine in runs]),
            None if maps == chosen else torch.tensor([maps.index(view) for view in chosen]),
            peers,
        )

    @property
    def num_views(self) -> int:
        """Return N."""
        return self.bounds[-1]

    @property
    def num_maps(self) -> int:
        """Return W."""
        return self.map_bounds[-1]

    @property
    def own(self) -> slice:
        """Return the places of the views that run here."""
        return slice(*self.bounds[self.peers.rank:self.peers.rank + 2])

    @property
    def own_maps(self) -> slice:
        """Return the range, among all maps that are wanted, of those that are made here."""
        return slice(*self.map_bounds[self.peers.rank:self.peers.rank + 2])

    @property
    def num_own_maps(self) -> int:
        """Return how many of the views that run here have maps; they come last."""
        start, stop = self.map_bounds[self.peers.rank:self.peers.rank + 2]
        return stop - start

    def to(self, device: torch.device) -> 'Share':
        """Copy to a device."""
        return self.at(self.views.to(device), self.places.to(device))

    def at(self, views: Tensor, places: Tensor) -> 'Share':
        """
        Return the same with its order where it is already.

        :param views: (N,).
        :param places: (N,).
        """
        places_of_maps = self.map_places
        if places_of_maps is not None:
            places_of_maps = places_of_maps.to(views.device)
        return replace(self, views=views, places=places, map_places=places_of_maps)

    def exchange_(self, *wholes: Tensor) -> None:
        """
        Fill in what other devices have of all views.

        :param wholes: (N, ...) contiguous each, filled at the places of the own views.
        """
        self.peers.exchange_(wholes, self.bounds)

    def gather(self, *parts: Tensor) -> Sequence[Tensor]:
        """
        Return something of all views, in the order of their places.

        :param parts: (M, ...) each.
        """
        return self.peers.gather(parts, self.bounds)

    def gather_in_order(self, part: Tensor) -> Tensor:
        """
        Return something of all views, in the window's own order.

        :param part: (M, ...).
        """
        return self.gather(part)[0][self.places]

    def put_(self, x: Tensor, reference: Tensor, value: Tensor) -> None:
        """
        Put a view where it runs, if that is here.

        :param x: (M, ...).
        :param reference: (1,) int64, which view.
        :param value: (1, ...).
        """
        self.peers.put_(x, self.places[reference], value, self.bounds)

    def take(self, x: Tensor) -> Tensor:
        """
        Return the views that run here, on the host.

        :param x: (N, ...), in the window's own order.
        :returns: (M, ...), no copy where they lie together.
        """
        return _take(x, self.views[self.own])

    def take_mapped(self, x: Tensor) -> Tensor:
        """
        Return, of the views that run here, those that have maps, on the host.

        :param x: (N, ...), in the window's own order.
        """
        return _take(x, self.views[self.own.stop - self.num_own_maps:self.own.stop])

    def exchange_maps_(self, wholes: Mapping[str, Tensor]) -> None:
        """
        Fill in the maps that other devices make.

        :param wholes: (W, ...) contiguous by their names, filled at ``own_maps``.
        """
        self.peers.exchange_(list(wholes.values()), self.map_bounds)

    def gather_maps(self, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """
        Return the maps of all views that have them, in the order of their places.

        :param parts: of the own views, by their names.
        """
        wholes = self.peers.gather(list(parts.values()), self.map_bounds)
        return dict(zip(parts, wholes, strict=True))

    def as_asked(self, wholes: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """
        Return maps in the order in which they were asked for.

        :param wholes: (W, ...), in the order of their places.
        """
        places = self.map_places
        if places is None:
            return dict(wholes)
        return {name: whole[places] for name, whole in wholes.items()}


def _take(x: Tensor, views: Tensor) -> Tensor:
    """Return some views; no copy where they lie together."""
    first, num_views = int(views[0]) if len(views) else 0, len(views)
    if torch.equal(views, torch.arange(first, first + num_views)):
        return x[first:first + num_views]
    return x[views]


def split_views(num_views: int, wanted: Sequence[int] | None) -> tuple[list[int], list[int]]:
    """
    Return the views of a window whose maps are not wanted, and those whose maps are.

    :param num_views: N.
    :param wanted: views whose maps are wanted, each once; None: all.
    :raises ValueError: if there are no such views.
    """
    chosen = list(range(num_views) if wanted is None else wanted)
    others = sorted(set(range(num_views)).difference(chosen))
    if not chosen or len(others) + len(chosen) != num_views:
        raise ValueError(f'wanted: got {chosen}, expected some of {num_views} views')
    return others, chosen


def _even_owners(others: list[int], chosen: list[int], num_devices: int) -> dict[int, int]:
    """Divide both kinds of views evenly; whoever has one more of the ones has less of the rest."""
    owners = {}
    for views, lasts in ((others, range(num_devices - 1, -1, -1)), (chosen, range(num_devices))):
        start = 0
        for rank, extra in enumerate(lasts):
            stop = start + (len(views) + extra) // num_devices
            owners.update(dict.fromkeys(views[start:stop], rank))
            start = stop
    return owners


def _bounds(counts: list[int]) -> tuple[int, ...]:
    return tuple(accumulate(counts, initial=0))
