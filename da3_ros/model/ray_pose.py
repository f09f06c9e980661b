# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Cameras from a map of rays.

A view's ray directions are a homography of the rays of a camera with identity intrinsics. RANSAC
finds it, and a QL decomposition splits it into rotation and intrinsics, which is exact for a
principal point in the image's middle. The random trials are the same in every call: those that
upstream takes right after ``torch.manual_seed(0)``.

Shapes: B windows, N views, G points of a view's ray grid, K trials.
"""

from dataclasses import dataclass

from da3_ros.errors import PredictionError
from da3_ros.model.camera_head import build_intrinsics, Cameras, invert_rigid
import torch
from torch import Tensor

_SEED = 0
_NUM_TRIALS = 100
_SAMPLE_SIZE = 8
_CANDIDATE_SHARE = 0.3
_INLIER_DISTANCE = 0.2
_MAX_INLIERS = 8000
_MAX_INLIERS_SHARE = 0.95
_MIN_Z = 1e-4
# Two equations from each determine the eight unknowns of a homography.
_MIN_PAIRS = 4
# Of half the image's width or height: beyond, the rays are one, or lie in a plane.
_FOCAL_RANGE = (1e-4, 1e4)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """
    Points of two planes that a homography should bring together.

    :param source: (G, 2).
    :param target: (G, 2).
    :param weights: (G,).
    """

    source: Tensor
    target: Tensor
    weights: Tensor


def cameras_from_rays(rays: Tensor, confidence: Tensor, image_size: tuple[int, int]) -> Cameras:
    """
    Estimate the camera of every view from its rays.

    :param rays: (B, N, h, w, 6), direction and origin in the window's frame.
    :param confidence: (B, N, h, w).
    :param image_size: height and width [px].
    :raises PredictionError: if the rays of a view are those of no camera.
    """
    grid = rays.shape[2:4]
    random = torch.Generator().manual_seed(_SEED)
    num_candidates = max(_SAMPLE_SIZE, int(grid[0] * grid[1] * _CANDIDATE_SHARE))
    trials = _draw_trials(num_candidates, random).to(rays.device)
    source = _identity_camera_points(*grid, device=rays.device)
    poses, focals, centres = [], [], []
    views = zip(
        rays.flatten(0, 1).flatten(1, 2), confidence.flatten(0, 1).flatten(1, 2), strict=True
    )
    for index, (view_rays, view_confidence) in enumerate(views):
        has_plane = view_rays[:, 2].abs() > _MIN_Z
        weights = torch.where(has_plane, view_confidence, 0.0)
        z = torch.where(has_plane, view_rays[:, 2], 1.0)
        pairs = _Pairs(source, view_rays[:, :2] / z[:, None], weights)
        try:
            rotation, lower = _split_homography(_find_homography(pairs, trials, random))
        except (PredictionError, torch.linalg.LinAlgError) as error:
            raise PredictionError(f'view {index}: no camera has its rays: {error}') from error
        position = (view_rays[:, 3:] * weights[:, None]).sum(dim=0) / weights.sum()
        poses.append(torch.cat((rotation, position[:, None]), dim=1))
        focals.append(1.0 / lower.diagonal()[:2])
        centres.append(lower[2, :2] + 1.0)
    _check_found(torch.stack(focals), torch.stack(poses))
    half_size = rays.new_tensor((image_size[1] / 2, image_size[0] / 2))
    intrinsics = build_intrinsics(
        torch.stack(focals) * half_size, torch.stack(centres) * half_size
    )
    extrinsics = invert_rigid(torch.stack(poses))
    return Cameras(
        extrinsics.unflatten(0, rays.shape[:2]), intrinsics.unflatten(0, rays.shape[:2])
    )


def _check_found(focals: Tensor, poses: Tensor) -> None:
    """Refuse cameras of (N, 2) focal lengths and (N, 3, 4) poses that no rays in space have."""
    low, high = _FOCAL_RANGE
    is_sound = ((focals > low) & (focals < high)).all(dim=1) & poses.isfinite().all(-1).all(-1)
    for index in (~is_sound).nonzero().flatten().tolist():
        raise PredictionError(f'view {index}: no camera has its rays: they span no picture')


def _draw_trials(num_candidates: int, random: torch.Generator) -> Tensor:
    """Draw which of the most confident points each trial fits: (K, 8) ranks."""
    return torch.stack([
        torch.randperm(num_candidates, generator=random)[:_SAMPLE_SIZE]
        for _ in range(_NUM_TRIALS)
    ])


def _identity_camera_points(rows: int, columns: int, *, device: torch.device) -> Tensor:
    """Return the points of an image two wide and two high, from its middle: (G, 2) x, y."""
    y, x = (
        torch.linspace(1 / side, 2 - 1 / side, side, device=device) - 1.0
        for side in (rows, columns)
    )
    return torch.cartesian_prod(y, x).flip(-1)


def _find_homography(pairs: _Pairs, trials: Tensor, random: torch.Generator) -> Tensor:
    """
    Fit a homography by RANSAC.

    :returns: (3, 3), determinant > 0.
    :raises PredictionError: if too few points agree on one.
    """
    ranked = pairs.weights.argsort(descending=True)
    num_usable = int((pairs.weights > 0.0).sum())
    if num_usable <= int(trials.max()):
        # Upstream draws what does not count, too, and then finds next to nothing.
        trials = _draw_trials(num_usable, torch.Generator().manual_seed(_SEED)).to(ranked.device)
    samples = ranked[trials]
    guesses = _fit(pairs.source[samples], pairs.target[samples], pairs.weights[samples])
    mapped = _homogeneous(pairs.source) @ guesses.mT
    distance = (mapped[..., :2] / mapped[..., 2:] - pairs.target).square().sum(dim=-1).sqrt()
    is_inlier = distance < _INLIER_DISTANCE
    best = (is_inlier * pairs.weights).sum(dim=1).argmax()
    inliers = is_inlier[best].nonzero().squeeze(1)
    num_agreeing = int((pairs.weights[inliers] > 0.0).sum())
    if num_agreeing < _MIN_PAIRS:
        raise PredictionError(f'{num_agreeing} of them agree, expected at least {_MIN_PAIRS}')
    inliers = inliers[pairs.weights[inliers].argsort(descending=True)]
    if len(inliers) > _MAX_INLIERS:
        inliers = inliers[:max(int(len(inliers) * _MAX_INLIERS_SHARE), _MAX_INLIERS)]
        chosen = torch.randperm(len(inliers), generator=random)[:_MAX_INLIERS]
        inliers = inliers[chosen.to(inliers.device)]
    homography = _fit(pairs.source[inliers], pairs.target[inliers], pairs.weights[inliers])
    return torch.where(torch.linalg.det(homography) < 0, -homography, homography)


def _fit(source: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """
    Solve for homographies by weighted direct linear transformation.

    :param source: (..., n, 2).
    :param target: (..., n, 2).
    :param weights: (..., n).
    :returns: (..., 3, 3), last entry 1, or 0 where the middle's ray lies in the plane z = 0.
    """
    left = _homogeneous(source)
    zeros = torch.zeros_like(left)
    u, v = target[..., :1], target[..., 1:]
    rows_u = torch.cat((-left, zeros, left * u), dim=-1) * weights.sqrt()[..., None]
    rows_v = torch.cat((zeros, -left, left * v), dim=-1) * weights.sqrt()[..., None]
    rows = torch.cat((rows_u, rows_v), dim=-2)
    # The full decomposition holds (2n, 2n), but of four points only it has the null vector.
    _, _, right = torch.linalg.svd(rows, full_matrices=rows.shape[-2] < rows.shape[-1])
    homography: Tensor = right[..., -1, :].unflatten(-1, (3, 3))
    last = homography[..., 2:, 2:]
    return homography / torch.where(last == 0.0, 1.0, last)


def _split_homography(homography: Tensor) -> tuple[Tensor, Tensor]:
    """Split into a rotation and a lower triangular matrix with positive diagonal, last 1."""
    rotation, upper = torch.linalg.qr(homography.flip(1))
    rotation, lower = rotation.flip(1), upper.flip(0).flip(1)
    signs = lower.diagonal().sign()
    lower = lower * signs[:, None]
    return rotation * signs, lower / lower[2, 2]


def _homogeneous(points: Tensor) -> Tensor:
    return torch.cat((points, torch.ones_like(points[..., :1])), dim=-1)
