# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""How far the pose of a keyframe may be off."""

from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.update import WindowReport
from da3_ros.ros.conversions import Array
import numpy as np

# Nothing is known about the velocity.
UNKNOWN_VARIANCE = 1e6
# A pose within one window, as a share of the distance of the scene, and what a join adds that
# failed: the two windows are unrelated.
_WITHIN_WINDOW = 0.01
_UNJOINED = 1.0
_PIXELS_PER_SAMPLE = 101


class Drift:
    """
    Add up what every join of two windows may have moved.

    A join's residual is the distance between two positions of the same point as a share of its
    depth; as an angle it turns the camera, times the depth it shifts it. Joins are taken for
    independent, so variances add from the beginning of the session.
    """

    def __init__(self) -> None:
        """Begin a session: its first window is exact by definition."""
        self._variance = _WITHIN_WINDOW**2

    def note_window(self, report: WindowReport) -> None:
        """
        Add a window.

        :param report: how it was joined.
        """
        if report.placement.rejection is not None:
            self._variance += _UNJOINED**2
        elif report.alignment is not None:
            self._variance += report.alignment.residual**2

    def covariance(self, keyframe: PosedKeyframe) -> Array:
        """
        Return the covariance of a pose.

        :param keyframe: whose depth tells the distance of the scene.
        :returns: (6, 6) of x, y, z, and rotations about the fixed axes.
        """
        depth = keyframe.depth.ravel()[::_PIXELS_PER_SAMPLE]
        known = depth[np.isfinite(depth)]
        distance = float(np.median(known)) if known.size else 1.0
        return np.diag([self._variance * distance**2] * 3 + [self._variance] * 3)


def unknown_covariance() -> Array:
    """Return the covariance of a velocity that nobody measured, (6, 6)."""
    return UNKNOWN_VARIANCE * np.eye(6)
