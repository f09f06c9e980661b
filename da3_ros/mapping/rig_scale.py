# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""How long a metre is in a window that sees the cameras of a robot together."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
import itertools

from da3_ros.mapping.view import View
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RigFit:
    """
    The known offsets between the cameras against those seen.

    :param units_per_metre: units of the window per metre.
    :param jitter: relative standard deviation of that, by how well single offsets agree.
    """

    units_per_metre: float
    jitter: float


def fit_rig(views: Sequence[View]) -> RigFit | None:
    """
    Compare the offsets between the cameras of an instant with those on the robot.

    Both are taken in the axes of one of the two cameras. The robot's are exact, so that the
    window's are fitted to them: noise of the window then does not shorten the metre.

    :param views: of one window.
    :returns: None where no two cameras are known, or what is seen contradicts what is known.
    """
    tracks = _tracks(views)
    seen, exact = [], []
    for one, other in _pairs(views):
        there = tracks[other.keyframe.frame.camera].at(one.keyframe.frame.stamp_ns)
        base_T_one, base_T_other = (view.keyframe.frame.base_T_camera for view in (one, other))
        assert base_T_one is not None and base_T_other is not None
        if there is None or one.window_T_camera is None:
            continue
        seen.append((there - one.window_T_camera[:3, 3]) @ one.window_T_camera[:3, :3])
        exact.append((base_T_other[:3, 3] - base_T_one[:3, 3]) @ base_T_one[:3, :3])
    power = float(np.square(exact).sum())
    units_per_metre = float(np.sum(np.multiply(seen, exact))) / power if power > 0.0 else 0.0
    if not units_per_metre > 0.0:
        return None
    misfit = np.asarray(seen) - units_per_metre * np.asarray(exact)
    noise = float(np.sqrt(np.square(misfit).sum() / (misfit.size - 1)))
    return RigFit(units_per_metre, noise / (np.sqrt(power) * units_per_metre))


def _pairs(views: Sequence[View]) -> list[tuple[View, View]]:
    """Return the pairs of cameras that saw an instant together and are known on the robot."""
    known = [
        view for view in views
        if view.window_T_camera is not None and view.keyframe.frame.base_T_camera is not None
    ]
    return [
        (one, other) for one, other in itertools.combinations(known, 2)
        if one.keyframe.instant is not None and one.keyframe.instant == other.keyframe.instant
    ]


def _tracks(views: Sequence[View]) -> dict[str, '_Track']:
    """Return the path of every posed camera through a window."""
    cameras = {view.keyframe.frame.camera for view in views}
    return {
        camera: _Track([
            view for view in views
            if view.keyframe.frame.camera == camera and view.window_T_camera is not None
        ]) for camera in cameras
    }


class _Track:
    """
    Where a camera was between its exposures: the cameras of an instant need not be synchronous.

    On a straight line between two views, and a little beyond.
    """

    def __init__(self, views: Sequence[View]) -> None:
        self._stamps_ns = [view.keyframe.frame.stamp_ns for view in views]
        self._centres = [
            view.window_T_camera[:3, 3] for view in views if view.window_T_camera is not None]

    def at(self, stamp_ns: int) -> Array | None:
        """Return the camera's centre in the window, (3,), or None if its motion is not known."""
        if len(self._stamps_ns) == 1:
            return self._centres[0] if self._stamps_ns[0] == stamp_ns else None
        after = min(max(bisect.bisect(self._stamps_ns, stamp_ns), 1), len(self._stamps_ns) - 1)
        begin_ns, end_ns = self._stamps_ns[after - 1:after + 1]
        share = (stamp_ns - begin_ns) / (end_ns - begin_ns)
        begin, end = self._centres[after - 1:after + 1]
        centre: Array = begin + share * (end - begin)
        return centre
