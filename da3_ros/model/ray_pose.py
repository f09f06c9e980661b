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
    """
    grid = rays.shape[2:4]
    random = torch.Generator().manual_seed(_SEED)
    trials = _draw_trials(grid[0] * grid[1], random).to(rays.device)
    source = _identity_camera_points(*grid, device=rays.device)
    poses, focals, centres = [], [], []
    for view_rays, view_confidence in zip(
        rays.flatten(0, 1).flatten(1, 2), confidence.flatten(0, 1).flatten(1, 2), strict=True
    ):
        has_plane = view_rays[:, 2].abs() > _MIN_Z
        weights = torch.where(has_plane, view_confidence, 0.0)
        z = torch.where(has_plane, view_rays[:, 2], 1.0)
        pairs = _Pairs(source, view_rays[:, :2] / z[:, None], weights)
        rotation, lower = _split_homography(_find_homography(pairs, trials, random))
        position = (view_rays[:, 3:] * weights[:, None]).sum(dim=0) / weights.sum()
        poses.append(torch.cat((rotation, position[:, None]), dim=1))
        focals.append(1.0 / lower.diagonal()[:2])
        centres.append(lower[2, :2] + 1.0)
    half_size = rays.new_tensor((image_size[1] / 2, image_size[0] / 2))
    intrinsics = build_intrinsics(
        torch.stack(focals) * half_size, torch.stack(centres) * half_size
    )
    extrinsics = invert_rigid(torch.stack(poses))
    return Cameras(
        extrinsics.unflatten(0, rays.shape[:2]), intrinsics.unflatten(0, rays.shape[:2])
    )


def _draw_trials(num_points: int, random: torch.Generator) -> Tensor:
    """Draw which of the most confident points each trial fits: (K, 8) ranks."""
    num_candidates = max(_SAMPLE_SIZE, int(num_points * _CANDIDATE_SHARE))
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
    """Fit a homography by RANSAC: (3, 3), determinant > 0."""
    ranked = pairs.weights.argsort(descending=True)
    samples = ranked[trials]
    guesses = _fit(pairs.source[samples], pairs.target[samples], pairs.weights[samples])
    mapped = _homogeneous(pairs.source) @ guesses.mT
    distance = (mapped[..., :2] / mapped[..., 2:] - pairs.target).square().sum(dim=-1).sqrt()
    is_inlier = distance < _INLIER_DISTANCE
    best = (is_inlier * pairs.weights).sum(dim=1).argmax()
    inliers = is_inlier[best].nonzero().squeeze(1)
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
    :returns: (..., 3, 3), last entry 1.
    """
    left = _homogeneous(source)
    zeros = torch.zeros_like(left)
    u, v = target[..., :1], target[..., 1:]
    rows_u = torch.cat((-left, zeros, left * u), dim=-1) * weights.sqrt()[..., None]
    rows_v = torch.cat((zeros, -left, left * v), dim=-1) * weights.sqrt()[..., None]
    # The thin decomposition: the full one holds (2n, 2n).
    _, _, right = torch.linalg.svd(torch.cat((rows_u, rows_v), dim=-2), full_matrices=False)
    homography: Tensor = right[..., -1, :].unflatten(-1, (3, 3))
    return homography / homography[..., 2:, 2:]


def _split_homography(homography: Tensor) -> tuple[Tensor, Tensor]:
    """Split into a rotation and a lower triangular matrix with positive diagonal, last 1."""
    rotation, upper = torch.linalg.qr(homography.flip(1))
    rotation, lower = rotation.flip(1), upper.flip(0).flip(1)
    signs = lower.diagonal().sign()
    lower = lower * signs[:, None]
    return rotation * signs, lower / lower[2, 2]


def _homogeneous(points: Tensor) -> Tensor:
    return torch.cat((points, torch.ones_like(points[..., :1])), dim=-1)
