# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The remembered places and how they lie to each other, bounded in number."""

from collections.abc import Sequence
from dataclasses import replace
import math

from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.alignment import Alignment, Constraint
from da3_ros.mapping.correction import MapCorrection
from da3_ros.mapping.metres import ScaleMeasurement
from da3_ros.mapping.place import Place
from da3_ros.mapping.pose_graph import Edge, optimise, ScalePrior

# Drift is systematic, noise is not: no relation of two windows is believed beyond
# these, however small its residual.
_MIN_CAMERA_SIGMA = 5e-3
_MIN_SCALE_SIGMA = 1e-2
# A guess only keeps the graph connected.
_GUESS_SIGMA = 1.0
# A loop may raise the graph's cost by this: its seven errors, each at three standard deviations.
_MAX_LOOP_COST = 7.0 * 3.0 ** 2


class PlaceGraph:
    """
    Places as nodes, overlaps of windows and loops as edges.

    Beyond ``max_places``, every other of the older places is forgotten; its neighbours are related
    directly instead.
    """

    def __init__(self, max_places: int) -> None:
        """
        Start empty.

        :param max_places: bound of the number of places, at least 4.
        """
        self._max_places = max_places
        self._places: dict[int, Place] = {}
        self._map_S_place: dict[int, Sim3] = {}
        self._links: list[Edge] = []
        self._loops: list[Edge] = []
        self._priors: dict[int, ScalePrior] = {}

    @property
    def places(self) -> tuple[Place, ...]:
        """Return the remembered places, oldest first."""
        return tuple(self._places.values())

    def map_S_place(self, place: Place) -> Sim3:
        """
        Return where a place lies.

        :param place: a remembered one.
        """
        return self._map_S_place[place.window]

    def move(self, correction: MapCorrection) -> None:
        """
        Move the remembered places; how they are related stays as it is.

        :param correction: of the map.
        """
        for window, place in self._places.items():
            move = correction.move_of(place.views[-1].samples.id)
            self._map_S_place[window] = move @ self._map_S_place[window]

    def add(
        self,
        place: Place,
        map_S_window: Sim3,
        constraints: Sequence[Constraint],
        measurement: ScaleMeasurement | None,
    ) -> None:
        """
        Remember a place.

        :param place: of the newest window.
        :param map_S_window: where that window lies.
        :param constraints: how it lies to earlier windows.
        :param measurement: what it says about metres.
        """
        last = next(reversed(self._places.values()), None)
        self._places[place.window] = place
        self._map_S_place[place.window] = map_S_window @ place.window_S_place
        num_links = len(self._links)
        for constraint in constraints:
            first = self._places.get(constraint.reference)
            if first is not None:
                first_S_place = (
                    first.window_S_place.inverse() @ constraint.reference_S_window
                    @ place.window_S_place
                )
                self._links.append(_edge(first, place, first_S_place, constraint.alignment))
        if last is not None and len(self._links) == num_links:
            # Whatever it hangs on is not remembered: it must not come apart.
            last_S_place = self.map_S_place(last).inverse() @ self.map_S_place(place)
            self._links.append(_edge(last, place, last_S_place, None))
        if measurement is not None:
            self._priors[place.window] = ScalePrior(
                place.window, measurement.log_metres, measurement.sigma
            )
        if len(self._places) > self._max_places:
            self._thin_out()

    def close_loop(
        self, old: Place, new: Place, old_S_new: Sim3, alignment: Alignment
    ) -> bool:
        """
        Relate two places and optimise everything; leave all as it was if the loop does not fit.

        :param old: a remembered place.
        :param new: another.
        :param old_S_new: how the new place lies to the old one.
        :param alignment: the worse of the fits behind it.
        :returns: whether the loop fits.
        """
        loop = _edge(old, new, old_S_new, alignment)
        edges, priors = [*self._links, *self._loops], list(self._priors.values())
        # Priors and overlaps since the last loop have a cost of their own, which is not its.
        without = optimise(self._map_S_place, edges, priors)
        solution = optimise(without.nodes, [*edges, loop], priors)
        if solution.cost - without.cost > _MAX_LOOP_COST:
            return False
        self._map_S_place = solution.nodes
        self._loops.append(loop)
        return True

    def _thin_out(self) -> None:
        """Forget every other place of the older half, those of loops last."""
        in_loops = {number for loop in self._loops for number in (loop.first, loop.second)}
        older = list(self._places)[1:len(self._places) // 2]
        removable = [number for number in older if number not in in_loops]
        if not removable:
            del self._loops[0]
            removable = older
        for number in removable[::2]:
            self._forget(number)

    def _forget(self, number: int) -> None:
        """Remove a place; what was related to it is now to the one that it was best related to."""
        around = [edge for edge in (*self._links, *self._loops) if number in (
            edge.first, edge.second)]
        best = min(around, key=lambda edge: edge.camera_sigma)
        self._links = _best_of_each_pair(_rerouted(self._links, number, best))
        self._loops = _rerouted(self._loops, number, best)
        del self._places[number], self._map_S_place[number]
        self._priors.pop(number, None)


def _edge(first: Place, second: Place, first_S_second: Sim3, alignment: Alignment | None) -> Edge:
    if alignment is None:
        camera_sigma = scale_sigma = _GUESS_SIGMA
    else:
        camera_sigma = max(alignment.camera_sigma, _MIN_CAMERA_SIGMA)
        scale_sigma = max(alignment.scale_sigma, _MIN_SCALE_SIGMA)
    return Edge(
        first.window, second.window, first_S_second, second.length, camera_sigma, scale_sigma
    )


def _rerouted(edges: Sequence[Edge], number: int, best: Edge) -> list[Edge]:
    """Lead all edges around a place, by way of the best of them."""
    hub = best.second if best.first == number else best.first
    rerouted = []
    for edge in edges:
        if number not in (edge.first, edge.second):
            rerouted.append(edge)
        elif hub not in (edge.first, edge.second):
            rerouted.append(_chained(_towards(best, number), _from(edge, number)))
    return rerouted


def _best_of_each_pair(edges: Sequence[Edge]) -> list[Edge]:
    """Leave one relation of any two places, so that their number is bounded as the places' is."""
    best: dict[frozenset[int], Edge] = {}
    for edge in edges:
        pair = frozenset((edge.first, edge.second))
        if pair not in best or edge.camera_sigma < best[pair].camera_sigma:
            best[pair] = edge
    return list(best.values())


def _towards(edge: Edge, number: int) -> Edge:
    """Turn an edge so that it ends at a place."""
    return edge if edge.second == number else edge.reversed()


def _from(edge: Edge, number: int) -> Edge:
    """Turn an edge so that it begins at a place."""
    return edge if edge.first == number else edge.reversed()


def _chained(one: Edge, two: Edge) -> Edge:
    """Replace two edges by one."""
    return replace(
        two,
        first=one.first,
        first_S_second=one.first_S_second @ two.first_S_second,
        camera_sigma=math.hypot(one.camera_sigma, two.camera_sigma),
        scale_sigma=math.hypot(one.scale_sigma, two.scale_sigma),
    )
