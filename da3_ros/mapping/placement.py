# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Where a window lies in the world."""

from dataclasses import dataclass, field

from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.alignment import Alignment, Constraint
from da3_ros.mapping.correction import MapCorrection
from da3_ros.mapping.drift import Drift
from da3_ros.mapping.metres import ScaleEstimate, ScaleMeasurement


@dataclass(frozen=True, eq=False)
class Placement:
    """
    Where a window lies.

    :param odom_S_window: the similarity from the window's frame and unit.
    :param map_S_window: the same into ``map``, as it is now.
    :param segment: number of the continuous piece of world.
    :param scale: what is known about the unit of ``odom``.
    :param alignment: the fit to the previous window, or None where there was none.
    :param rejection: why the window could not be joined to the previous one, or None.
    :param tied_segment: the earlier segment that this window tied its own to in ``map``, or None.
    :param window: number of the window in this session, or None where it has no pose.
    :param constraints: how it lies to earlier windows.
    :param measurement: what it says about metres, or None where it said nothing or was not
        believed.
    :param correction: how earlier keyframes moved in ``map`` by it, or None.
    :param drift: how far its poses may be off in ``odom``.
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
    drift: Drift = field(default_factory=Drift)
