# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
The one world that all windows are placed in.

A window comes with a frame and a unit of its own. It is placed in ``map`` by the keyframes that it
shares with the window before; what a source of metres says then sets its unit. A window that
cannot be joined opens a segment, until a later one ties it to what was lost. ``odom`` is ``map``
but for a rigid motion that takes up all corrections of the past, so that it never jumps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
import logging
import math

from da3_ros.errors import AlignmentError
from da3_ros.geometry import rigid
from da3_ros.geometry.arrays import Array
from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.alignment import align, Alignment, Constraint, rejection
from da3_ros.mapping.config import AlignmentConfig, ScaleConfig
from da3_ros.mapping.correction import MapCorrection
from da3_ros.mapping.drift import Drift
from da3_ros.mapping.metres import measure_scale, ScaleMeasurement, Unit
from da3_ros.mapping.placement import Placement
from da3_ros.mapping.samples import newest_shared, sample_view, ViewSamples
from da3_ros.mapping.view import View
import numpy as np

_logger = logging.getLogger(__name__)

# The first camera: at the origin, level, looking along x (REP-103).
FIRST_CAMERA: Array = rigid.from_rotation_translation(rigid.BODY_R_OPTICAL, np.zeros(3))
FIRST_CAMERA.setflags(write=False)
# How far poses are off within a window, as a share of the distance of what is seen; and how far
# where nothing tells how two windows lie to each other.
_WITHIN_WINDOW = 0.01
_UNRELATED = 1.0


@dataclass(frozen=True, eq=False)
class _Placed:
    """
    A window in the world, for later ones to be compared with.

    :param window: its number.
    :param views: in its own frame and unit.
    :param map_S_window: where it lies.
    :param segment: number of its segment.
    :param unit: what is known about the unit of that segment.
    :param is_metric: whether the network called its own unit a metre.
    """

    window: int
    views: tuple[ViewSamples, ...]
    map_S_window: Sim3
    segment: int
    unit: Unit
    is_metric: bool

    def map_T(self, camera: ViewSamples) -> Array:
        """Return where a camera of the window lies in ``map``, (4, 4)."""
        return self.map_S_window.transform_pose(camera.world_T_camera)

    def moved(self, move: Sim3) -> '_Placed':
        """Move it in ``map``, its unit too."""
        return replace(
            self, map_S_window=move @ self.map_S_window, unit=self.unit.rescaled(move.scale))


@dataclass(frozen=True, eq=False)
class _Join:
    """
    A window as an earlier one places it.

    :param placed: the window.
    :param constraint: behind that.
    :param alignment: the fit, used or not, or None where there was none.
    :param rejection: why the place is a guess, or None.
    """

    placed: _Placed
    constraint: Constraint
    alignment: Alignment | None = None
    rejection: str | None = None


class World:
    """
    Bring windows into ``map`` and ``odom``.

    Two windows are kept: the last one, and the last one of the segment that was lost. What is
    known about a unit stays with the segment that it is of.
    """

    def __init__(
        self, alignment: AlignmentConfig, scale: ScaleConfig, *, is_chained: bool = True
    ) -> None:
        """
        Start an empty world.

        :param alignment: when two windows count as joined.
        :param scale: where metres come from.
        :param is_chained: whether windows overlap; if not, nothing is said about poses.
        """
        self._is_chained = is_chained
        self._alignment_config = alignment
        self._scale_config = scale
        self._segment = -1
        self.clear()

    def clear(self) -> None:
        """Forget everything but the numbers of the segments; the next window begins anew."""
        self._segment += 1
        self._last: _Placed | None = None
        self._lost: _Placed | None = None
        self._map_T_odom: Array = np.eye(4)
        self._drift = Drift()
        # Keyframes of the previous window, the newest of all, and the segment's first one.
        self._previous: frozenset[int] = frozenset()
        self._newest_id = self._segment_start = -1

    @property
    def map_T_odom(self) -> Array:
        """Correction of everything in ``odom``, (4, 4)."""
        return self._map_T_odom

    def place(self, views: Sequence[View], *, is_metric: bool) -> Placement:
        """
        Place the next window.

        Views without poses, and windows that share no keyframe with the one before, only get the
        scale.

        :param views: of one window, in its own frame and unit.
        :param is_metric: whether the network by itself calls that unit a metre.
        """
        measurement = measure_scale(views, is_metric=is_metric, config=self._scale_config)
        ids = frozenset(view.keyframe.id for view in views)
        shared, self._previous = ids & self._previous, ids
        if not self._is_chained or any(view.window_T_camera is None for view in views):
            return self._place_unposed(measurement, None)
        if self._last is not None and not shared:
            return self._place_unposed(measurement, 'no keyframe shared with the window before')
        if measurement is not None and shared:
            # Windows that overlap say the same thing several times.
            share_new = max(len(ids - shared), 1) / len(ids)
            measurement = replace(measurement, sigma=measurement.sigma / math.sqrt(share_new))
        samples = self._samples(views)
        if self._last is None:
            return self._begin(samples, measurement, is_metric=is_metric)
        return self._continue(self._last, samples, measurement, is_metric=is_metric)

    def locate(self, views: Sequence[View], *, is_metric: bool) -> Placement:
        """
        Say where a window lies by the keyframes that it shares with the last one.

        It is placed like any other, but nothing changes by it.

        :param views: of one window, in its own frame and unit.
        :param is_metric: as for ``place``.
        :raises AlignmentError: if nothing tells.
        """
        if not self._is_chained or any(view.window_T_camera is None for view in views):
            return self._place_unposed(
                measure_scale(views, is_metric=is_metric, config=self._scale_config), None)
        last = self._last
        known = () if last is None else {view.id for view in last.views}
        shared = self._samples([view for view in views if view.keyframe.id in known])
        if last is None or not shared:
            raise AlignmentError('no keyframe shared with the last window')
        join = self._join(last, replace(last, views=shared, is_metric=is_metric))
        fit = join.alignment
        if fit is None or join.rejection is not None:
            raise AlignmentError(str(join.rejection))
        drift = self._drift_after(
            join.placed, shared[-1], sigma=fit.residual, scale_sigma=fit.scale_sigma)
        return replace(self._placement(join.placed), alignment=fit, drift=drift)

    def _samples(self, views: Sequence[View]) -> tuple[ViewSamples, ...]:
        return tuple(
            sample_view(view, self._alignment_config.samples_per_view) for view in views)

    def correct(self, correction: MapCorrection) -> None:
        """
        Move ``map`` under what was placed; the newest camera stays where it is in ``odom``.

        :param correction: of all keyframes so far.
        """
        assert self._last is not None
        last = self._last.moved(correction.move_of(self._last.views[-1].id))
        self._hold(last.views[-1], self._last, last)
        self._last = last
        if self._lost is not None:
            self._lost = self._lost.moved(correction.move_of(self._lost.views[-1].id))

    def _begin(
        self, samples: tuple[ViewSamples, ...], measurement: ScaleMeasurement | None, *,
        is_metric: bool,
    ) -> Placement:
        """Place the first window: its first camera is the origin."""
        unit = Unit.of_first(self._scale_config)
        first = samples[0]
        map_S_camera = Sim3.from_rigid(FIRST_CAMERA, scale=unit.estimate.metres_per_unit)
        map_S_window = map_S_camera @ Sim3.from_rigid(first.world_T_camera).inverse()
        placed = _Placed(0, samples, map_S_window, self._segment, unit, is_metric)
        placed, measurement = _measured(placed, measurement, anchor=first)
        self._drift = self._drift_after(placed, first, sigma=_WITHIN_WINDOW, scale_sigma=0.0)
        return self._finish(placed, measurement)

    def _continue(
        self, last: _Placed, samples: tuple[ViewSamples, ...],
        measurement: ScaleMeasurement | None, *, is_metric: bool,
    ) -> Placement:
        """Place a window by the last one; if that fails, by the last one that was not lost."""
        window = replace(
            last, window=last.window + 1, views=samples, is_metric=is_metric)
        join = self._join(last, window)
        _, anchor = newest_shared(last.views, samples)
        if join.rejection is not None:
            self._open_segment(last, join.rejection)
        tie = self._tie(join.placed)
        placed = join.placed
        if tie is not None:
            placed = self._tied(join.placed, tie.placed, anchor)
        elif join.rejection is not None:
            # A window that contradicts the world may be a bad one: no metres from it alone.
            measurement = None
        placed, measurement = _measured(placed, measurement, anchor=anchor)
        fit = None if join.rejection is not None else join.alignment
        self._drift = self._drift_after(
            placed, anchor, sigma=_UNRELATED if fit is None else fit.residual,
            scale_sigma=_UNRELATED if fit is None else fit.scale_sigma)
        return replace(
            self._finish(placed, measurement), alignment=join.alignment, rejection=join.rejection,
            constraints=(join.constraint,) if tie is None else (join.constraint, tie.constraint),
            tied_segment=None if tie is None else tie.placed.segment,
            correction=None if tie is None else self._segment_moved(join.placed, placed))

    def _join(self, last: _Placed, window: _Placed) -> _Join:
        """Hang a window on the last one, or guess where it lies."""
        alignment = None
        try:
            alignment = align(last.views, window.views, self._alignment_config)
            problem = self._rejection(alignment, last, window)
        except AlignmentError as error:
            problem = str(error)
        if alignment is not None and problem is None:
            return _hung(last, window, alignment)
        ratio = 1.0 if alignment is None else alignment.reference_S_window.scale
        limit = self._alignment_config.max_scale_ratio
        map_S_window = _continued(last, window.views, float(np.clip(ratio, 1.0 / limit, limit)))
        guess = Constraint(last.window, last.map_S_window.inverse() @ map_S_window, None)
        placed = replace(
            window, map_S_window=map_S_window, segment=self._segment + 1, unit=last.unit.lost())
        return _Join(placed, guess, alignment, problem)

    def _rejection(
        self, alignment: Alignment, reference: _Placed, window: _Placed
    ) -> str | None:
        """Say why windows must not be joined; units of different kinds may differ by anything."""
        config = self._alignment_config
        if reference.is_metric != window.is_metric:
            config = replace(config, max_scale_ratio=math.inf)
        return rejection(alignment, config)

    def _open_segment(self, last: _Placed, problem: str) -> None:
        self._segment += 1
        self._segment_start = self._newest_id + 1
        _logger.warning('segment %d begins: %s', self._segment, problem)
        if self._lost is None:
            self._lost = last

    def _tie(self, window: _Placed) -> _Join | None:
        """Hang a window of a new segment on what was lost, if they still share keyframes."""
        lost = self._lost
        if lost is None or lost is self._last:
            return None
        try:
            alignment = align(lost.views, window.views, self._alignment_config)
        except AlignmentError:
            # Nothing is shared any more, and never will be again.
            self._lost = None
            return None
        if self._rejection(alignment, lost, window) is not None:
            return None
        _logger.info('segment %d tied to segment %d', window.segment, lost.segment)
        self._lost = None
        return _hung(lost, window, alignment)

    def _tied(self, believed: _Placed, tied: _Placed, anchor: ViewSamples) -> _Placed:
        """
        Move the current segment to the lost one, whose unit it takes over.

        What the segment knew of metres by itself is one more measurement.
        """
        if math.isfinite(believed.unit.variance):
            own = ScaleMeasurement(
                math.log(believed.map_S_window.scale), math.sqrt(believed.unit.variance))
            tied, _ = _measured(tied, own, anchor=anchor)
        self._hold(anchor, believed, tied)
        return replace(tied, segment=believed.segment)

    def _hold(self, camera: ViewSamples, before: _Placed, after: _Placed) -> None:
        """Let ``odom`` have a camera where it was, while its window moves in ``map``."""
        odom_T_camera = rigid.inverse(self._map_T_odom) @ before.map_T(camera)
        self._map_T_odom = after.map_T(camera) @ rigid.inverse(odom_T_camera)

    def _segment_moved(self, before: _Placed, after: _Placed) -> MapCorrection:
        """Return the correction that moves the current segment and leaves what was before it."""
        move = after.map_S_window @ before.map_S_window.inverse()
        return MapCorrection.of(
            [(self._segment_start - 1, Sim3.identity()), (self._segment_start, move)])

    def _drift_after(
        self, placed: _Placed, anchor: ViewSamples, *, sigma: float, scale_sigma: float
    ) -> Drift:
        map_T_camera = placed.map_T(anchor)
        at = (rigid.inverse(self._map_T_odom) @ map_T_camera)[:3, 3]
        depth = anchor.depth[np.isfinite(anchor.depth)]
        distance = placed.map_S_window.scale * (float(np.median(depth)) if depth.size else 1.0)
        return self._drift.joined(at, distance=distance, sigma=sigma, scale_sigma=scale_sigma)

    def _finish(self, placed: _Placed, measurement: ScaleMeasurement | None) -> Placement:
        self._last = placed
        self._newest_id = placed.views[-1].id
        return replace(self._placement(placed), measurement=measurement)

    def _placement(self, placed: _Placed) -> Placement:
        map_S_window = placed.map_S_window
        return Placement(
            Sim3.from_rigid(rigid.inverse(self._map_T_odom)) @ map_S_window, map_S_window,
            placed.segment, placed.unit.estimate, window=placed.window, drift=self._drift)

    def _place_unposed(
        self, measurement: ScaleMeasurement | None, problem: str | None
    ) -> Placement:
        """Give a window that nothing joins to the world a unit of its own."""
        unit = Unit.of_first(self._scale_config).lost()
        if measurement is not None:
            unit = unit.measured(measurement, window_scale=unit.estimate.metres_per_unit)
        scale = unit.estimate
        only_scale = Sim3.from_rigid(np.eye(4), scale=scale.metres_per_unit)
        return Placement(only_scale, only_scale, self._segment, scale, rejection=problem)


def _hung(reference: _Placed, window: _Placed, alignment: Alignment) -> _Join:
    """Place a window by a fit to an earlier one, in the unit of that."""
    reference_S_window = alignment.reference_S_window
    placed = replace(
        window, map_S_window=reference.map_S_window @ reference_S_window,
        segment=reference.segment, unit=reference.unit.drifted(alignment.scale_sigma))
    return _Join(
        placed, Constraint(reference.window, reference_S_window, alignment), alignment)


def _continued(last: _Placed, views: Sequence[ViewSamples], ratio: float) -> Sim3:
    """Guess where a window lies: its newest shared camera where the last one saw it."""
    theirs, ours = newest_shared(last.views, views)
    map_S_camera = Sim3.from_rigid(last.map_T(theirs), scale=ratio * last.map_S_window.scale)
    return map_S_camera @ Sim3.from_rigid(ours.world_T_camera).inverse()


def _measured(
    placed: _Placed, measurement: ScaleMeasurement | None, *, anchor: ViewSamples
) -> tuple[_Placed, ScaleMeasurement | None]:
    """
    Let what a window says about metres act from a camera on, which stays where it is.

    :returns: the window as it lies then, and the measurement if it was believed.
    """
    if measurement is None:
        return placed, None
    old, map_S_window = placed.unit, placed.map_S_window
    unit = old.measured(measurement, window_scale=map_S_window.scale)
    resized = Sim3.about(placed.map_T(anchor)[:3, 3], math.exp(unit.log_metres - old.log_metres))
    placed = replace(placed, map_S_window=resized @ map_S_window, unit=unit)
    return placed, None if unit.refused else measurement
