# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Metres: how long one unit of the world is.

Windows are joined by ratios of depth, which says nothing about metres and drifts slowly. What a
source says about single windows is filtered over time, so that the scale neither jumps nor drifts.
One estimator compares what windows see with what is known, of the robot's path and of the cameras'
places on it: the known lengths are as good as exact, so that those seen are fitted to them. Noise
of the windows then does not shorten the metre, and the misfit tells how certain it is.
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace
import itertools
import math

from da3_ros.geometry.arrays import Array
from da3_ros.geometry.sim3 import fit_sim3
from da3_ros.mapping.config import ScaleConfig
from da3_ros.mapping.view import View
import numpy as np
from scipy.special import stdtrit

# The chain of windows drifts at least this much per window, relative.
_MIN_DRIFT_SIGMA = 1e-3
# A measurement farther off than this many standard deviations is refused, unless so many in a row
# agree with each other.
_GATE_SIGMA = 4.0
_NUM_AGREEING = 5
# Lengths are called metres until they are known so much worse than it takes to begin with that.
_HYSTERESIS = 1.5
# A window that sees the known lengths no better than this says nothing; two views cannot tell.
_MAX_JITTER = 0.2
# Farther than a length, and not just as far but for rounding.
_BEYOND = 1.0 + 1e-6
# Two standard deviations hold 95 % of a normal distribution.
_TWO_SIDED = 0.975
# Freedom of a similarity: of all lengths, or of the unit alone.
_SIMILARITY, _UNIT = 7, 1


@dataclass(frozen=True)
class ScaleEstimate:
    """
    What is known about the scale of ``odom``.

    :param metres_per_unit: metres per unit of the first window, as applied.
    :param sigma: relative standard deviation, not counting a bias of the source itself; inf
        where nothing is known.
    :param is_metric: whether lengths may be called metres.
    """

    metres_per_unit: float
    sigma: float
    is_metric: bool


@dataclass(frozen=True)
class ScaleMeasurement:
    """
    What one window says.

    :param log_metres: logarithm of the metres per unit of the window.
    :param sigma: standard deviation of that.
    """

    log_metres: float
    sigma: float


@dataclass(frozen=True)
class Unit:
    """
    What is known about the unit of a segment: the value and how certain it is, never one alone.

    A Kalman filter of one logarithm.

    :param config: the source.
    :param log_metres: logarithm of metres per unit of the first window.
    :param variance: of that; inf where nothing is known.
    :param is_metric: whether lengths may be called metres.
    :param refused: the newest measurements that contradict it, as logarithms.
    """

    config: ScaleConfig
    log_metres: float
    variance: float
    is_metric: bool
    refused: tuple[float, ...] = ()

    @staticmethod
    def of_first(config: ScaleConfig) -> 'Unit':
        """
        Return what is known before any window.

        :param config: the source.
        """
        if config.source == 'fixed':
            return Unit(config, math.log(config.fixed_factor), 0.0, is_metric=True)
        return Unit(config, 0.0, math.inf, is_metric=False)

    @property
    def estimate(self) -> ScaleEstimate:
        """Return value, certainty and claim."""
        return ScaleEstimate(
            math.exp(self.log_metres), math.sqrt(self.variance), self.is_metric)

    def lost(self) -> 'Unit':
        """Return what is known where the chain broke: the unit is another, nobody knows which."""
        return replace(self, variance=math.inf, is_metric=False, refused=())

    def rescaled(self, factor: float) -> 'Unit':
        """
        Return what is known where everything turned out to be larger.

        :param factor: new length over the old one.
        """
        step = math.log(factor)
        return replace(
            self, log_metres=self.log_metres + step,
            refused=tuple(value + step for value in self.refused))

    def drifted(self, sigma: float) -> 'Unit':
        """
        Return what is known one window farther.

        :param sigma: relative standard deviation of the join's scale.
        """
        variance = self.variance + max(sigma, _MIN_DRIFT_SIGMA) ** 2
        return self._known(self.log_metres, variance, self.refused)

    def measured(self, measurement: ScaleMeasurement, *, window_scale: float) -> 'Unit':
        """
        Return what is known after a window spoke; it was refused if ``refused`` is not empty.

        :param measurement: of that window.
        :param window_scale: length of the window's unit in the world, as believed before.
        """
        innovation = measurement.log_metres - math.log(window_scale)
        value, variance = self.log_metres + innovation, measurement.sigma ** 2
        if math.isinf(self.variance):
            return self._known(value, variance, ())
        total = self.variance + variance
        if abs(innovation) > _GATE_SIGMA * math.sqrt(total):
            return self._contradicted(value, measurement.sigma)
        gain = self.variance / total
        return self._known(
            self.log_metres + gain * innovation, (1.0 - gain) * self.variance, ())

    def _contradicted(self, value: float, sigma: float) -> 'Unit':
        """Refuse a measurement; if all of late agree, the estimate is what is wrong."""
        refused = (*self.refused, value)[-_NUM_AGREEING:]
        centre = float(np.median(refused))
        spread = float(np.std(refused))
        if len(refused) == _NUM_AGREEING and max(
                abs(other - centre) for other in refused) <= _GATE_SIGMA * sigma:
            return replace(self, variance=math.inf, is_metric=False)._known(
                centre, sigma ** 2 + spread ** 2, ())
        return replace(self, refused=refused)

    def _known(self, log_metres: float, variance: float, refused: tuple[float, ...]) -> 'Unit':
        limit = self.config.max_sigma * (_HYSTERESIS if self.is_metric else 1.0)
        return Unit(
            self.config, log_metres, variance, math.sqrt(variance) <= limit, refused)


def measure_scale(
    views: Sequence[View], *, is_metric: bool, config: ScaleConfig
) -> ScaleMeasurement | None:
    """
    Ask the configured source about one window.

    :param views: of the window.
    :param is_metric: whether the network by itself calls the window's unit a metre.
    :param config: the source and its noise.
    :returns: None where the source has nothing to say.
    """
    if config.source == 'tf':
        return _with_sigma(_compare_with_robot(views, config), config.tf_sigma)
    if config.source == 'rig':
        return _with_sigma(_compare_with_rig(views), config.rig_sigma)
    found = _compare_with_robot(views, config) if config.source == 'pose' else None
    if found is not None:
        # The network was told the lengths: what it makes of them has the noise of its metres.
        return replace(found, sigma=max(found.sigma, config.model_sigma))
    if is_metric and config.source in ('model', 'pose'):
        return ScaleMeasurement(0.0, config.model_sigma)
    return None


def _with_sigma(found: ScaleMeasurement | None, sigma: float) -> ScaleMeasurement | None:
    return None if found is None else replace(found, sigma=math.hypot(found.sigma, sigma))


def has_motion(centres: Array, config: ScaleConfig) -> bool:
    """
    Tell whether a camera moved farther than it takes to say something about lengths.

    :param centres: (N, 3) [m] where it was, at least one.
    :param config: how far that is.
    """
    farthest = np.linalg.norm(centres[:, None] - centres[None], axis=2).max()
    return bool(farthest > _BEYOND * config.min_motion_m)


def _compare_with_robot(
    views: Sequence[View], config: ScaleConfig
) -> ScaleMeasurement | None:
    """
    Compare where the window saw the cameras with where the robot says they were.

    Both paths are laid over each other first; on a straight line one angle is free, which does
    not matter.
    """
    known = [
        (view.seen_T_camera[:3, 3], view.keyframe.frame.robot_T_camera[:3, 3]) for view in views
        if view.seen_T_camera is not None and view.keyframe.frame.robot_T_camera is not None
    ]
    if len(known) < 2:
        return None
    seen, robot = (np.stack(centres) for centres in zip(*known, strict=True))
    if not has_motion(robot, config):
        return None
    seen, robot = seen - seen.mean(axis=0), robot - robot.mean(axis=0)
    turn = fit_sim3(robot, seen, np.ones(len(seen)), scale=1.0).rotation
    return _compare_lengths(
        seen @ turn.T, robot, noise_m=config.tf_noise_m, num_noisy=len(seen) - 1,
        num_free=_SIMILARITY)


def _compare_with_rig(views: Sequence[View]) -> ScaleMeasurement | None:
    """
    Compare the offsets between the cameras of an instant with those on the robot.

    Both are taken in the axes of one of the two cameras.
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
    if not seen:
        return None
    return _compare_lengths(
        np.stack(seen), np.stack(exact), noise_m=0.0, num_noisy=0, num_free=_UNIT)


def _compare_lengths(
    seen: Array, exact: Array, *, noise_m: float, num_noisy: int, num_free: int
) -> ScaleMeasurement | None:
    """
    Fit vectors as windows see them to the same vectors as they are.

    Regression of what is noisy on what is exact has no bias; what is known of the noise of the
    latter is taken out of its power (errors in variables). The misfit tells the certainty, by
    Student's distribution where it has few degrees of freedom.

    :param seen: (N, 3) in the window's unit.
    :param exact: (N, 3) [m], in the same axes.
    :param noise_m: standard deviation of a coordinate of ``exact``.
    :param num_noisy: independent vectors among them that have this noise.
    :param num_free: what was fitted, the unit included.
    """
    power = float(np.square(exact).sum())
    common = float(np.sum(seen * exact))
    if not (power > 0.0 and common > 0.0):
        return None
    freedom = seen.size - num_free
    misfit = float(np.square(seen * (power / common) - exact).sum())
    variance = misfit / max(freedom, 1)
    power -= 3.0 * num_noisy * min(noise_m ** 2, variance)
    if not power > 0.0:
        return None
    jitter = math.sqrt(max(variance, noise_m ** 2) / power)
    if freedom > 0:
        normal, few = stdtrit([math.inf, freedom], _TWO_SIDED)
        jitter *= float(few / normal)
    else:
        jitter = max(jitter, _MAX_JITTER)
    if jitter > _MAX_JITTER:
        return None
    return ScaleMeasurement(math.log(power / common), jitter)


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
