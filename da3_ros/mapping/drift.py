# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""How far a pose may be off after many joins: what each of them may have turned and shifted."""

from dataclasses import dataclass, field

from da3_ros.geometry.arrays import Array
import numpy as np


@dataclass(frozen=True, eq=False)
class _Moments:
    """
    Variances at points, up to their second moments: enough to know their sum at any lever arm.

    :param total: sum of the variances.
    :param first: (3,) of each times its point.
    :param second: (3, 3) of each times its point's square.
    """

    total: float = 0.0
    first: Array = field(default_factory=lambda: np.zeros(3))
    second: Array = field(default_factory=lambda: np.zeros((3, 3)))

    def with_variance(self, variance: float, point: Array) -> '_Moments':
        """Add one."""
        return _Moments(
            self.total + variance, self.first + variance * point,
            self.second + variance * np.outer(point, point))

    def arm(self, position: Array) -> Array:
        """Return the sum of the variances times the way from their points, (3,)."""
        arm: Array = self.total * position - self.first
        return arm

    def square(self, position: Array) -> Array:
        """Return the sum of the variances times the square of that way, (3, 3)."""
        mixed = np.outer(position, self.first)
        square: Array = (
            self.second - mixed - mixed.T + self.total * np.outer(position, position))
        return square


@dataclass(frozen=True, eq=False)
class Drift:
    """
    The errors of all joins since the beginning, taken for independent.

    A join may have shifted all that came after, by a share of the distance of what was seen then,
    and may have turned and stretched it about the camera that it hangs on. Together they are the
    marginals of the chain, at any place.

    :param shift: variance of a coordinate.
    :param turn: of an angle, at the joins.
    :param stretch: of the logarithm of the scale, at the joins.
    """

    shift: float = 0.0
    turn: _Moments = field(default_factory=_Moments)
    stretch: _Moments = field(default_factory=_Moments)

    def joined(
        self, at: Array, *, distance: float, sigma: float, scale_sigma: float
    ) -> 'Drift':
        """
        Add a join.

        :param at: (3,) the camera that it hangs on.
        :param distance: typical one of what that camera sees.
        :param sigma: standard deviation of the angles, and of the position over ``distance``.
        :param scale_sigma: relative standard deviation of the scale.
        """
        return Drift(
            self.shift + (sigma * distance) ** 2, self.turn.with_variance(sigma ** 2, at),
            self.stretch.with_variance(scale_sigma ** 2, at))

    def covariance(self, position: Array) -> Array:
        """
        Return the covariance of the newest pose.

        :param position: (3,) of it.
        :returns: (6, 6) of x, y, z and rotations about the fixed axes.
        """
        x, y, z = self.turn.arm(position)
        square = self.turn.square(position)
        covariance = np.zeros((6, 6))
        covariance[:3, :3] = (
            (self.shift + np.trace(square)) * np.eye(3) - square + self.stretch.square(position))
        # A turn w shifts by w x arm.
        covariance[:3, 3:] = np.array([[0.0, z, -y], [-z, 0.0, x], [y, -x, 0.0]])
        covariance[3:, :3] = covariance[:3, 3:].T
        covariance[3:, 3:] = self.turn.total * np.eye(3)
        return covariance
