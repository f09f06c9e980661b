# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Metres: how long one unit of the world is.

Windows are chained by ratios of depth, which says nothing about metres and drifts slowly. What a
source says about single windows is filtered over time, so that the scale neither jumps nor drifts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
import math

from da3_ros.geometry.sim3 import fit_sim3
from da3_ros.mapping.config import ScaleConfig
from da3_ros.mapping.rig_scale import fit_rig
from da3_ros.mapping.view import View
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# The chain of windows drifts at least this much per window, relative.
_MIN_DRIFT_SIGMA = 1e-3
# A measurement farther off than this many standard deviations is refused, but not for ever.
_GATE_SIGMA = 4.0
_MAX_REFUSALS = 5
# A window that sees the distances between the cameras no better than this says nothing.
_MAX_RIG_JITTER = 0.2


@dataclass(frozen=True)
class ScaleEstimate:
    """
    What is known about the scale of ``odom``.

    :param metres_per_unit: metres per unit of the chain of windows, as applied.
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


class ScaleFilter:
    """
    Track metres per unit of the chain: a Kalman filter of one logarithm.

    Without any measurement the factor is 1 and its sigma infinite.
    """

    def __init__(self, config: ScaleConfig) -> None:
        """
        Start with what the configuration knows.

        :param config: the source.
        """
        self._config = config
        self._log_metres = math.log(config.fixed_factor) if config.source == 'fixed' else 0.0
        self._variance = 0.0 if config.source == 'fixed' else math.inf
        self._lost_variance: float | None = None
        self._num_refused = 0

    @property
    def estimate(self) -> ScaleEstimate:
        """Return the current estimate."""
        sigma = math.sqrt(self._variance)
        return ScaleEstimate(
            math.exp(self._log_metres), sigma, is_metric=sigma <= self._config.max_sigma
        )

    def lose_unit(self) -> None:
        """Note that the chain broke: what comes has a unit of its own."""
        if self._lost_variance is None:
            self._lost_variance = self._variance
        self._variance = math.inf

    def regain_unit(self, old_per_new: float) -> None:
        """
        Note that the chain is whole again, in the unit it had before it broke.

        :param old_per_new: length of that unit in the units since the break.
        """
        assert self._lost_variance is not None
        if math.isinf(self._variance):
            self._variance = self._lost_variance
        else:
            self._log_metres += math.log(old_per_new)
        self._lost_variance = None

    def change_unit(self, factor: float) -> None:
        """
        Note that the chain's unit turned out to be longer, whatever is known about metres.

        :param factor: new length of the unit over the old one.
        """
        self._log_metres += math.log(factor)

    def drift(self, sigma: float) -> None:
        """
        Note that the chain grew by a link.

        :param sigma: relative standard deviation of the link's scale.
        """
        self._variance += max(sigma, _MIN_DRIFT_SIGMA) ** 2

    def update(self, measurement: ScaleMeasurement, *, chain_scale: float) -> None:
        """
        Take in what a window says.

        :param measurement: of that window.
        :param chain_scale: length of the window's unit in units of the chain.
        """
        value = measurement.log_metres - math.log(chain_scale)
        if math.isinf(self._variance):
            self._log_metres, self._variance = value, measurement.sigma ** 2
            return
        innovation = value - self._log_metres
        total = self._variance + measurement.sigma ** 2
        if abs(innovation) > _GATE_SIGMA * math.sqrt(total):
            self._refuse()
            return
        self._num_refused = 0
        gain = self._variance / total
        self._log_metres += gain * innovation
        self._variance *= 1.0 - gain

    def _refuse(self) -> None:
        """Ignore a measurement; if they all disagree, the estimate is what is wrong."""
        self._num_refused += 1
        if self._num_refused >= _MAX_REFUSALS:
            self._variance = math.inf
            self._num_refused = 0


def measure_scale(
    views: Sequence[View], *, is_metric: bool, config: ScaleConfig
) -> ScaleMeasurement | None:
    """
    Ask the configured source about one window.

    :param views: of the window.
    :param is_metric: whether the engine calls the window's unit a metre.
    :param config: the source and its noise.
    :returns: None where the source has nothing to say.
    """
    if config.source in ('model', 'pose'):
        return ScaleMeasurement(0.0, config.model_sigma) if is_metric else None
    if config.source == 'tf':
        return _compare_with_robot(views, config)
    if config.source == 'rig':
        return _compare_with_rig(views, config)
    return None


def _compare_with_robot(
    views: Sequence[View], config: ScaleConfig
) -> ScaleMeasurement | None:
    """
    Compare where the window saw the cameras with where the robot says they were.

    The least-squares similarity of the two sets of camera centres gives the ratio; it is
    determined by a straight line too.
    """
    seen, measured = [], []
    for view in views:
        if view.window_T_camera is None or view.keyframe.frame.robot_T_camera is None:
            continue
        seen.append(view.window_T_camera[:3, 3])
        measured.append(view.keyframe.frame.robot_T_camera[:3, 3])
    if len(seen) < 2:
        return None
    window, robot = np.stack(seen), np.stack(measured)
    robot_spread, window_spread = _spread(robot), _spread(window)
    if np.ptp(robot, axis=0).max() < config.min_motion_m or not window_spread > 0.0:
        return None
    fit = fit_sim3(robot, window, np.ones(len(robot)))
    if not fit.scale > 0.0:
        return None
    misfit = robot - fit.transform_points(window)
    noise_m = max(config.tf_noise_m, float(np.sqrt(np.square(misfit).sum() / (3 * len(robot)))))
    jitter = noise_m / robot_spread
    return ScaleMeasurement(math.log(fit.scale), math.hypot(config.tf_sigma, jitter))


def _spread(points: Array) -> float:
    """Return the root of the summed squared distances from the mean."""
    return float(np.linalg.norm(points - points.mean(axis=0)))


def _compare_with_rig(views: Sequence[View], config: ScaleConfig) -> ScaleMeasurement | None:
    fit = fit_rig(views)
    if fit is None or fit.jitter > _MAX_RIG_JITTER:
        return None
    sigma = math.hypot(config.rig_sigma, fit.jitter)
    return ScaleMeasurement(-math.log(fit.units_per_metre), sigma)
