# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The one continuous world that all windows are placed in."""

from collections.abc import Sequence
from dataclasses import dataclass

from da3_ros.geometry import rigid
from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.alignment import Alignment
from da3_ros.mapping.chain import Constraint, Link, WindowChain
from da3_ros.mapping.config import AlignmentConfig, ScaleConfig
from da3_ros.mapping.correction import MapCorrection
from da3_ros.mapping.frames import WorldFrames
from da3_ros.mapping.samples import sample_view
from da3_ros.mapping.scale import (
    measure_scale,
    ScaleEstimate,
    ScaleFilter,
    ScaleMeasurement,
)
from da3_ros.mapping.view import View
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# The first camera: at the origin, level, looking along x (REP-103).
FIRST_CAMERA: Array = rigid.from_rotation_translation(rigid.BODY_R_OPTICAL, np.zeros(3))
FIRST_CAMERA.setflags(write=False)


@dataclass(frozen=True, eq=False)
class Placement:
    """
    Where a window lies.

    :param odom_S_window: the similarity from the window's frame and unit.
    :param map_S_window: the same into ``map``, as it is now.
    :param segment: number of the continuous piece of world.
    :param scale: what is known about the unit of ``odom``.
    :param alignment: the fit to the previous window, or None where there was none.
    :param rejection: why the fit was not used, or None.
    :param tied_segment: the earlier segment that this window tied its own to in ``map``, or None.
    :param window: number of the window in this session, or None where it has no pose.
    :param constraints: how it lies to earlier windows.
    :param measurement: what it says about metres, or None.
    :param correction: how earlier keyframes moved in ``map`` by it, or None.
    """

    odom_S_window: Sim3
    map_S_window: Sim3
    segment: int
    scale: ScaleEstimate
    alignment: Alignment | None = None
    rejection: str | None = None
    tied_segment: int | None = None
    window: int | None = None
    constraints: tuple[Constraint, ...] = ()
    measurement: ScaleMeasurement | None = None
    correction: MapCorrection | None = None


class World:
    """
    Bring windows into ``odom``: chained by their shared keyframes, scaled by what gives metres.

    ``odom`` never jumps: a new scale acts from the newest shared camera on, and whatever corrects
    the past moves ``map_T_odom`` instead.
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
        self._begin(first_segment=0)

    def _begin(self, *, first_segment: int) -> None:
        self._scale = ScaleFilter(self._scale_config)
        self._chain = WindowChain(self._alignment_config, first_segment=first_segment)
        self._frames: WorldFrames | None = None
        self._chain_S_window = Sim3.identity()
        self._newest: Array = np.zeros(3)
        # Ids of the newest keyframe, and of the first one of the current segment.
        self._newest_id = self._segment_start = -1

    @property
    def map_T_odom(self) -> Array:
        """Correction of everything in ``odom``, (4, 4)."""
        return np.eye(4) if self._frames is None else self._frames.map_T_odom

    def clear(self) -> None:
        """Forget everything but the numbers of the segments; the next window begins anew."""
        self._begin(first_segment=self._chain.segment + 1)

    def place(self, views: Sequence[View], *, is_metric: bool) -> Placement:
        """
        Place the next window.

        Views without poses, and windows that do not overlap, only get the scale.

        :param views: of one window, in its own frame and unit.
        :param is_metric: whether that unit is a metre.
        """
        measurement = measure_scale(views, is_metric=is_metric, config=self._scale_config)
        if not self._is_chained or any(view.window_T_camera is None for view in views):
            return self._place_unposed(measurement)
        samples = tuple(
            sample_view(view, self._alignment_config.samples_per_view) for view in views
        )
        link = self._chain.link(samples)
        if self._frames is None:
            chain_S_camera = Sim3.from_rigid(samples[0].world_T_camera)
            self._frames = WorldFrames(Sim3.from_rigid(FIRST_CAMERA) @ chain_S_camera.inverse())
        elif link.rejection is not None:
            self._segment_start = self._newest_id + 1
            self._scale.lose_unit()
        elif link.alignment is not None:
            self._scale.drift(link.alignment.scale_sigma)
        placement = self._settle(self._frames, link, measurement)
        self._newest = self._chain_S_window.transform_points(samples[-1].world_T_camera[:3, 3])
        self._newest_id = samples[-1].id
        return placement

    def _place_unposed(self, measurement: ScaleMeasurement | None) -> Placement:
        # Nothing joins such windows: each has a unit of its own.
        self._scale.lose_unit()
        if measurement is not None:
            self._scale.update(measurement, chain_scale=1.0)
        scale = self._scale.estimate
        only_scale = Sim3.from_rigid(np.eye(4), scale=scale.metres_per_unit)
        return Placement(only_scale, only_scale, self._chain.segment, scale)

    def _settle(
        self, frames: WorldFrames, link: Link, measurement: ScaleMeasurement | None
    ) -> Placement:
        """Apply what a new window says about the lost segment and about the scale."""
        chain_S_window, anchor = link.chain_S_window, link.anchor
        tie = self._chain.tie()
        believed = frames.map_S_chain @ chain_S_window
        if tie is not None:
            old_S_new = chain_S_window @ tie.chain_S_window.inverse()
            frames.move_chain(old_S_new)
            self._scale.regain_unit(old_S_new.scale)
            anchor = old_S_new.inverse().transform_points(anchor)
            chain_S_window = tie.chain_S_window
        if measurement is not None:
            self._scale.update(measurement, chain_scale=chain_S_window.scale)
        scale = self._scale.estimate
        frames.set_scale(scale.metres_per_unit, anchor=anchor)
        self._chain_S_window = chain_S_window
        constraints = (link.constraint, None if tie is None else tie.constraint)
        map_S_window = frames.map_S_chain @ chain_S_window
        return Placement(
            frames.odom_S_chain @ chain_S_window,
            map_S_window,
            link.segment,
            scale,
            link.alignment,
            link.rejection,
            None if tie is None else tie.segment,
            link.window,
            tuple(constraint for constraint in constraints if constraint is not None),
            measurement,
            None if tie is None else self._segment_moved(map_S_window @ believed.inverse()),
        )

    def _segment_moved(self, move: Sim3) -> MapCorrection:
        """Return the correction that moves the current segment and leaves what was before it."""
        return MapCorrection.of(
            [(self._segment_start - 1, Sim3.identity()), (self._segment_start, move)])

    def correct(self, map_S_window: Sim3) -> None:
        """
        Move ``map`` under the last window.

        ``odom`` takes over the unit, but its newest camera stays where it is.

        :param map_S_window: where the last window really lies.
        """
        assert self._frames is not None
        map_S_chain = map_S_window @ self._chain_S_window.inverse()
        self._scale.change_unit(map_S_chain.scale / self._frames.map_S_chain.scale)
        self._frames.correct_map(map_S_chain, anchor=self._newest)
