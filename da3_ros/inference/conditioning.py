# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Inference with given poses: into the network's units, and the answer back into the given ones.

The network wants the first view at the origin and a typical distance of one; it answers in a
scale of its own, which the two sets of camera centres reveal.
"""

from dataclasses import dataclass

from da3_ros.geometry import rigid
from da3_ros.geometry.arrays import Array
from da3_ros.geometry.sim3 import fit_sim3, Sim3
import numpy as np
from numpy.typing import NDArray

# Upstream's lower bound of the typical distance: poses closer together are not blown up.
_MIN_UNIT = 0.1
# Upstream fits robustly from this many views on, with a fixed number of seeded draws.
_MIN_ROBUST_VIEWS = 10
_NUM_DRAWS = 10
_SEED = 42
_MIN_SPREAD = 1e-6


@dataclass(frozen=True, eq=False)
class Conditioning:
    """
    Given cameras, as they are and as the network takes them.

    :param poses: (N, 4, 4) world_T_camera as given.
    :param intrinsics: (N, 3, 3) [px] of the processed images, corner-origin.
    :param extrinsics: (N, 4, 4) camera_T_world in network units, identity for the first view.
    :param unit: length of one network unit in the unit of the given poses.
    """

    poses: Array
    intrinsics: Array
    extrinsics: Array
    unit: float


def condition_on(poses: Array, intrinsics: Array) -> Conditioning:
    """
    Express poses relative to the first one, in units of their median distance from it.

    :param poses: (N, 4, 4) world_T_camera, rigid.
    :param intrinsics: (N, 3, 3) [px] of the processed images, corner-origin.
    :raises ValueError: if the poses are not N rigid motions.
    """
    poses = np.asarray(poses, dtype=np.float64)
    if poses.shape != (len(intrinsics), 4, 4):
        raise ValueError(f'poses: got shape {poses.shape}, expected ({len(intrinsics)}, 4, 4)')
    _check_rigid(poses)
    first_T_camera = rigid.inverse(poses[0]) @ poses
    distances = np.linalg.norm(first_T_camera[:, :3, 3], axis=1)
    # The lower of the two middle ones, as torch.median.
    median = np.sort(distances)[(len(distances) - 1) // 2]
    unit = max(float(median), _MIN_UNIT)
    extrinsics = rigid.inverse(first_T_camera)
    extrinsics[:, :3, 3] /= unit
    return Conditioning(poses, intrinsics, extrinsics, unit)


def network_unit(given: Array, predicted: Array, *, expected: float) -> float:
    """
    Measure the length of one unit of a prediction in the unit of the given poses.

    Least-squares similarity of the camera centres (Umeyama 1991); from ten views on over the
    inliers of the best of ten draws, as upstream. A straight line is no obstacle: the rotation is
    not determined then, but the scale is.

    :param given: (N, 4, 4) world_T_camera.
    :param predicted: (N, 4, 4) world_T_camera in network units.
    :param expected: what to return where the centres do not tell (one view, pure rotation).
    """
    given_centers, predicted_centers = given[:, :3, 3], predicted[:, :3, 3]
    inliers = np.ones(len(given), dtype=bool)
    if len(given) >= _MIN_ROBUST_VIEWS:
        inliers = _inliers(given_centers, predicted_centers)
    spread = np.linalg.norm(given_centers - given_centers.mean(axis=0), axis=1).max()
    scale = _fit(given_centers[inliers], predicted_centers[inliers]).scale
    if spread < _MIN_SPREAD * expected or not scale > _MIN_SPREAD / expected:
        return expected
    return 1.0 / scale


def _fit(source: Array, target: Array) -> Sim3:
    """Return ``target_S_source`` of (N, 3) points; zero scale where the source is one point."""
    scale = None if np.ptp(source, axis=0).any() else 0.0
    return fit_sim3(target, source, np.ones(len(source)), scale=scale)


def _inliers(source: Array, target: Array) -> NDArray[np.bool_]:
    """
    Find the views on which the best of some seeded draws agrees.

    An inlier is no farther off than the median distance from a fitted centre to the nearest
    target, both under the fit of all views.
    """
    fitted = _fit(source, target).transform_points(source)
    nearest = np.linalg.norm(fitted[:, None] - target[None], axis=2).min(axis=1)
    threshold = np.median(nearest)
    rng = np.random.default_rng(_SEED)
    best = np.ones(len(source), dtype=bool)
    best_score = (-1, -np.inf)
    for _ in range(_NUM_DRAWS):
        draw = rng.choice(len(source), size=(len(source) + 1) // 2, replace=False)
        fitted = _fit(source[draw], target[draw]).transform_points(source)
        errors = np.linalg.norm(fitted - target, axis=1)
        inliers = errors <= threshold
        score = (int(inliers.sum()), -float(errors[inliers].mean()) if inliers.any() else -np.inf)
        if score > best_score:
            best, best_score = inliers, score
    return best if best.sum() >= 3 else np.ones(len(source), dtype=bool)


def _check_rigid(poses: Array) -> None:
    if not np.isfinite(poses).all():
        raise ValueError('poses: got non-finite values')
    rotations = poses[:, :3, :3]
    products = rotations @ np.swapaxes(rotations, 1, 2)
    if not np.allclose(products, np.eye(3), atol=1e-3) or (np.linalg.det(rotations) < 0.0).any():
        raise ValueError('poses: got matrices whose upper left part is no rotation')
