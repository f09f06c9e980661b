# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Recognise places that were seen before, and take the drift out of the map."""

from collections.abc import Sequence
from dataclasses import dataclass
import logging

from da3_ros.errors import AlignmentError
from da3_ros.geometry import camera
from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.alignment import align, Alignment, rejection
from da3_ros.mapping.config import AlignmentConfig, LoopConfig
from da3_ros.mapping.correction import MapCorrection
from da3_ros.mapping.covisibility import shared_share
from da3_ros.mapping.device_stage import staged
from da3_ros.mapping.keyframe import Frame, Keyframe, WindowEngine
from da3_ros.mapping.place import NUM_SAMPLES, Place, PlaceView, remember, similarity
from da3_ros.mapping.place_graph import PlaceGraph
from da3_ros.mapping.placement import Placement
from da3_ros.mapping.samples import sample_view, ViewSamples
from da3_ros.mapping.view import read_views, View
import numpy as np
from numpy.typing import NDArray

_logger = logging.getLogger(__name__)

# Windows after a closed loop in which no other is looked for: drift needs time to grow.
_REST = 2


@dataclass(frozen=True, eq=False)
class MapPose:
    """
    Where a remembered keyframe lies after all corrections.

    :param id: the keyframe's.
    :param stamp_ns: the frame's.
    :param map_T_camera: (4, 4).
    """

    id: int  # noqa: A003
    stamp_ns: int
    map_T_camera: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LoopReport:
    """
    A closed loop.

    :param old_id: newest keyframe of the place as it was remembered.
    :param new_id: newest keyframe of the place as it was seen again.
    :param overlap: share of the surfaces that both see.
    :param path: all remembered keyframes where they lie now, oldest first.
    :param correction: how they, and what was seen from them, moved.
    """

    old_id: int
    new_id: int
    overlap: float
    path: tuple[MapPose, ...]
    correction: MapCorrection


@dataclass(frozen=True, eq=False)
class _Relation:
    """
    Two places as one joint window saw them.

    :param old_S_new: how the new one lies to the old one.
    :param alignment: the worse of the two fits.
    :param overlap: share of the surfaces that both see.
    """

    old_S_new: Sim3
    alignment: Alignment
    overlap: float


class LoopCloser:
    """
    Look for loops: at most one joint window per new place.

    A candidate is the earlier place that looks most like the newest one. A window over the
    keyframes of both must align with each of them and see common surfaces, and the loop must fit
    what is known already.
    """

    def __init__(
        self, engine: WindowEngine, config: LoopConfig, alignment: AlignmentConfig
    ) -> None:
        """
        Remember nothing.

        :param engine: infers the joint windows.
        :param config: when a place counts as seen before.
        :param alignment: when two windows count as joined.
        """
        self._engine = staged(engine)
        self._config = config
        self._alignment = alignment
        self._graph = PlaceGraph(config.max_places)
        self._untried: Place | None = None
        self._resting_until = 0

    def note(self, placement: Placement, new_views: Sequence[View]) -> None:
        """
        Remember a window.

        :param placement: where it lies.
        :param new_views: its views that were not in an earlier window, oldest first.
        """
        if placement.window is None or any(view.appearance is None for view in new_views):
            return
        if placement.correction is not None:
            self._graph.move(placement.correction)
        place = remember(placement.window, new_views)
        self._graph.add(
            place, placement.map_S_window, placement.constraints, placement.measurement
        )
        self._untried = place

    def close(self, max_views: int) -> LoopReport | None:
        """
        Try to recognise the newest place; may run one joint window.

        :param max_views: of that window.
        :returns: the loop, or None.
        :raises Da3Error: if the window cannot be inferred.
        """
        new, self._untried = self._untried, None
        if new is None or new.window < self._resting_until or max_views < 2:
            return None
        old = self._candidate(new)
        if old is None:
            return None
        relation = self._verify(old, new, max_views // 2)
        if relation is None:
            return None
        before = [(place, self._graph.map_S_place(place)) for place in self._graph.places]
        if not self._graph.close_loop(old, new, relation.old_S_new, relation.alignment):
            _logger.info('loop %d-%d refused: it contradicts the graph', old.window, new.window)
            return None
        self._resting_until = new.window + 1 + _REST
        old_id, new_id = old.views[-1].samples.id, new.views[-1].samples.id
        _logger.info('loop closed: keyframe %d is back at %d', new_id, old_id)
        return LoopReport(
            old_id, new_id, relation.overlap, self._path(), self._moves(before))

    def _moves(self, before: Sequence[tuple[Place, Sim3]]) -> MapCorrection:
        """
        Tell how the keyframes moved.

        :param before: all places with where they were.
        """
        return MapCorrection.of(
            (view.samples.id, self._graph.map_S_place(place) @ map_S_place.inverse())
            for place, map_S_place in before for view in place.views)

    def _path(self) -> tuple[MapPose, ...]:
        poses = []
        for place in self._graph.places:
            map_S_place = self._graph.map_S_place(place)
            for view in place.views:
                pose = map_S_place.transform_pose(view.samples.world_T_camera)
                poses.append(MapPose(view.samples.id, view.stamp_ns, pose))
        return tuple(poses)

    def _candidate(self, new: Place) -> Place | None:
        """Return the earlier place that looks most like a new one, if alike enough."""
        newest_allowed = new.views[0].samples.id - self._config.min_gap
        earlier = [
            place for place in self._graph.places if place.views[-1].samples.id <= newest_allowed
        ]
        if not earlier:
            return None
        alike = similarity(new.appearance, [place.appearance for place in earlier])
        best = int(np.argmax(alike))
        return earlier[best] if alike[best] >= self._config.min_similarity else None

    def _verify(self, old: Place, new: Place, max_per_place: int) -> _Relation | None:
        """See both places in one window, and relate them if that window fits both."""
        remembered = [*old.views[-max_per_place:], *new.views[-max_per_place:]]
        num_old = len(old.views[-max_per_place:])
        views = self._infer(remembered)
        if any(view.window_T_camera is None for view in views):
            return None
        samples = [sample_view(view, NUM_SAMPLES) for view in views]
        overlap = _overlap(views, samples, num_old)
        if overlap < self._config.min_overlap:
            return None
        to_old = self._align(old, samples[:num_old])
        to_new = self._align(new, samples[num_old:])
        if to_old is None or to_new is None:
            return None
        old_S_new = to_old.reference_S_window @ to_new.reference_S_window.inverse()
        return _Relation(old_S_new, max(to_old, to_new, key=lambda fit: fit.residual), overlap)

    def _infer(self, remembered: Sequence[PlaceView]) -> tuple[View, ...]:
        keyframes = [
            Keyframe(view.samples.id, Frame(view.stamp_ns, view.image, view.intrinsics))
            for view in remembered
        ]
        prediction = self._engine.infer(
            [keyframe.frame.image for keyframe in keyframes],
            intrinsics=camera.to_network(np.stack([view.intrinsics for view in remembered])),
            keep=False,
        )
        return read_views(prediction, keyframes)

    def _align(self, place: Place, samples: Sequence[ViewSamples]) -> Alignment | None:
        try:
            fit = align([view.samples for view in place.views], samples, self._alignment)
        except AlignmentError:
            return None
        return fit if rejection(fit, self._alignment) is None else None


def _overlap(views: Sequence[View], samples: Sequence[ViewSamples], num_old: int) -> float:
    """Return the mean over the new views of what the best old one shares with each."""
    return float(np.mean([
        max(shared_share(views[i], by, samples[i]) for by in views[:num_old])
        for i in range(num_old, len(views))
    ]))
