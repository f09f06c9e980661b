# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Errors of trajectories and depth, by the definitions of evo (ATE, RPE) and of KITTI (depth)."""

from collections.abc import Sequence
from dataclasses import dataclass

from da3_ros.geometry import rigid
from da3_ros.geometry.arrays import Array
from da3_ros.geometry.sim3 import fit_sim3
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TrajectoryErrors:
    """
    How far an estimated path is from the true one.

    :param ate_m: root mean square distance of the cameras' centres after the best similarity
        (``evo_ape --align --correct_scale``).
    :param rpe_m: root mean square error of the motion over pairs of keyframes a given distance
        apart, after that similarity (``evo_rpe --delta --delta_unit m --all_pairs``).
    :param rpe_deg: the same of the rotation.
    """

    ate_m: float
    rpe_m: float
    rpe_deg: float


@dataclass(frozen=True)
class DepthErrors:
    """
    How far depth images are from the true ones, after one factor for the whole stream.

    :param abs_rel: mean relative error.
    :param delta_1_25: share of pixels within a factor of 1.25.
    :param scale_drift: standard deviation of the logarithm of the factor that each image needs.
    """

    abs_rel: float
    delta_1_25: float
    scale_drift: float


def align_trajectory(estimated: Array, true: Array) -> Array:
    """
    Move a path by the similarity that brings its camera centres closest to the true ones.

    :param estimated: (N, 4, 4) in any frame and unit.
    :param true: (N, 4, 4) [m].
    """
    fit = fit_sim3(true[:, :3, 3], estimated[:, :3, 3], np.ones(len(true)))
    return np.stack([fit.transform_pose(pose) for pose in estimated])


def compare_trajectories(
    estimated: Array, true: Array, *, delta_m: float = 1.0
) -> TrajectoryErrors:
    """
    Compare poses pair by pair.

    :param estimated: (N, 4, 4) in any frame and unit.
    :param true: (N, 4, 4) [m].
    :param delta_m: distance along the true path over which motions are compared.
    """
    aligned = align_trajectory(estimated, true)
    misfit = np.linalg.norm(aligned[:, :3, 3] - true[:, :3, 3], axis=1)
    first, second = _pairs(true, delta_m)
    off = rigid.inverse(_motion(true, first, second)) @ _motion(aligned, first, second)
    angles = [np.degrees(rigid.rotation_angle(motion[:3, :3])) for motion in off]
    return TrajectoryErrors(
        _rms(misfit), _rms(np.linalg.norm(off[:, :3, 3], axis=1)), _rms(np.array(angles))
    )


def compare_depths(
    estimated: Sequence[NDArray[np.float32]], true: Sequence[NDArray[np.float32]]
) -> DepthErrors:
    """
    Compare depth images of equal sizes, where both are known.

    :param estimated: N images in any unit.
    :param true: N images [m].
    """
    ratios = [_known_ratio(*pair) for pair in zip(estimated, true, strict=True)]
    factor = float(np.median(np.concatenate(ratios)))
    relative = np.concatenate(ratios) / factor
    return DepthErrors(
        float(np.mean(np.abs(relative - 1.0))),
        float(np.mean(np.maximum(relative, 1.0 / relative) < 1.25)),
        float(np.std([np.log(np.median(ratio)) for ratio in ratios if ratio.size])),
    )


def _known_ratio(estimated: NDArray[np.float32], true: NDArray[np.float32]) -> Array:
    known = np.isfinite(estimated) & np.isfinite(true)
    return (estimated[known] / true[known]).astype(np.float64)


def _pairs(poses: Array, delta_m: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return, for every pose, the first one at least so far along the path; the rest have none."""
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    travelled = np.concatenate([[0.0], np.cumsum(steps)])
    second = np.searchsorted(travelled, travelled + delta_m)
    first = np.flatnonzero(second < len(poses))
    return first, second[first]


def _motion(poses: Array, first: NDArray[np.intp], second: NDArray[np.intp]) -> Array:
    return rigid.inverse(poses[first]) @ poses[second]


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else float('nan')
