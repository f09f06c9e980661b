# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
How far predictions of windows are from truth; no metric sees the window's scale or frame.

Shapes: S windows, N views, Q = N (N - 1) / 2 pairs of views, H W pixels. All in float64.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from training.targets import MAX_DEPTH_M

_DELTA = 1.25
_MIN_BASELINE = 0.05
_MIN_PATH_M = 0.4


@dataclass(frozen=True, eq=False)
class Truth:
    """
    What is known of windows.

    :param depth: (S, N, H, W) [m]; not finite or far where unknown.
    :param world_T_camera: (S, N, 4, 4).
    """

    depth: Tensor
    world_T_camera: Tensor


@dataclass(frozen=True)
class Scores:
    """
    Means and medians over windows.

    :param abs_rel: mean of |depth - truth| / truth after one scale per window.
    :param delta: share of pixels within a factor of 1.25.
    :param rotation_deg: median error of the rotation between pairs of views.
    :param direction_deg: median error of the direction of the translation between them; only
        pairs whose distance is at least 5 % of the mean depth (any, where no depth is known).
    :param auc_5: area under the share of such pairs whose two errors are below a threshold, up to
        5 degrees [%].
    :param auc_15: likewise up to 15 degrees.
    :param auc_30: likewise up to 30 degrees.
    :param ate_percent: median of the absolute trajectory error (rms after Sim3), in percent of
        the length of the path; only paths of at least 0.4 m.
    """

    abs_rel: float
    delta: float
    rotation_deg: float
    direction_deg: float
    auc_5: float
    auc_15: float
    auc_30: float
    ate_percent: float


def score(depth: Tensor, world_T_camera: Tensor, truth: Truth) -> Scores:
    """
    Score predictions.

    :param depth: (S, N, H, W) in any unit, one for a window.
    :param world_T_camera: (S, N, 4, 4) in any frame and unit.
    :param truth: of the same windows.
    """
    poses, true_poses = world_T_camera.double().cpu(), truth.world_T_camera.double().cpu()
    abs_rel, delta = _depth_errors(depth.double().cpu(), truth.depth.double().cpu())
    length = (true_poses[:, 1:, :3, 3] - true_poses[:, :-1, :3, 3]).norm(dim=-1).sum(dim=1)
    ate = _trajectory_errors(poses[..., :3, 3], true_poses[..., :3, 3])
    return replace(
        score_motions(_relative(poses), truth),
        abs_rel=float(abs_rel.mean()), delta=float(delta.mean()),
        ate_percent=100.0 * _median((ate / length)[length > _MIN_PATH_M]),
    )


def score_motions(motions: Tensor, truth: Truth) -> Scores:
    """
    Score motions between views; nothing is said of depth and of paths.

    :param motions: (S, Q, 3, 4) first_T_second of all pairs, in the order of
        ``torch.triu_indices``; each translation in a unit of its own.
    :param truth: of the same windows.
    """
    true_poses = truth.world_T_camera.double().cpu()
    rotation, direction = _pair_errors(motions.double().cpu(), _relative(true_poses))
    first, second = torch.triu_indices(true_poses.shape[1], true_poses.shape[1], 1)
    baseline = (true_poses[:, second, :3, 3] - true_poses[:, first, :3, 3]).norm(dim=-1)
    far = baseline > _MIN_BASELINE * _mean_depth(truth.depth)[:, None]
    worse = torch.maximum(rotation, direction)[far]
    return Scores(
        abs_rel=float('nan'), delta=float('nan'),
        rotation_deg=float(rotation.median()), direction_deg=_median(direction[far]),
        auc_5=_auc(worse, 5), auc_15=_auc(worse, 15), auc_30=_auc(worse, 30),
        ate_percent=float('nan'),
    )


def floor(truth: Truth) -> Scores:
    """
    Score the answer that needs no eyes: the same depth everywhere, and no motion.

    :param truth: of the windows.
    """
    still = torch.eye(4).expand(truth.world_T_camera.shape)
    return score(torch.ones_like(truth.depth), still, truth)


def _depth_errors(depth: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean relative error and share of inliers of every window, after median scaling."""
    errors, shares = [], []
    for predicted, true in zip(depth.flatten(1), truth.flatten(1), strict=True):
        known = (true > 0) & (true < MAX_DEPTH_M)
        predicted, true = predicted[known], true[known]
        predicted = predicted * (true / predicted).median()
        errors.append(((predicted - true).abs() / true).mean())
        shares.append((torch.maximum(predicted / true, true / predicted) < _DELTA).double().mean())
    return torch.stack(errors), torch.stack(shares)


def _mean_depth(depth: Tensor) -> Tensor:
    flat = depth.double().cpu().flatten(1)
    known = (flat > 0) & (flat < MAX_DEPTH_M)
    return torch.where(known, flat, 0.0).sum(dim=1) / known.sum(dim=1).clamp_min(1)


def _pair_errors(relative: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Return rotation and direction errors of all pairs: (S, Q) [deg] each."""
    difference = relative[..., :3].mT @ true[..., :3]
    cosine = (difference.diagonal(dim1=-2, dim2=-1).sum(dim=-1) - 1.0) / 2.0
    rotation = torch.rad2deg(cosine.clamp(-1.0, 1.0).acos())
    shift, true_shift = relative[..., 3], true[..., 3]
    norms = shift.norm(dim=-1) * true_shift.norm(dim=-1)
    cosine = (shift * true_shift).sum(dim=-1) / norms.clamp_min(1e-12)
    # No motion has no direction: it counts as a right angle.
    direction = torch.where(shift.norm(dim=-1) < 1e-9, 0.0, cosine).clamp(-1.0, 1.0).acos()
    return rotation, torch.rad2deg(direction)


def _relative(poses: Tensor) -> Tensor:
    """Return first_T_second of all pairs: (S, Q, 3, 4)."""
    first, second = torch.triu_indices(poses.shape[1], poses.shape[1], 1)
    inverse = poses[:, first, :3, :3].mT
    rotation = inverse @ poses[:, second, :3, :3]
    shift = inverse @ (poses[:, second, :3, 3:] - poses[:, first, :3, 3:])
    return torch.cat((rotation, shift), dim=-1)


def _trajectory_errors(positions: Tensor, truth: Tensor) -> Tensor:
    """Return rms distances (S,) after the best similarity (Umeyama 1991)."""
    centred = positions - positions.mean(dim=1, keepdim=True)
    true = truth - truth.mean(dim=1, keepdim=True)
    left, singular, right = torch.linalg.svd(true.mT @ centred / positions.shape[1])
    signs = torch.ones_like(singular)
    signs[:, 2] = torch.linalg.det(left @ right).sign()
    variance = centred.square().sum(dim=-1).mean(dim=1)
    scale = torch.where(
        variance > 1e-12, (singular * signs).sum(dim=-1) / variance.clamp_min(1e-12), 0.0)
    rotation = left @ torch.diag_embed(signs) @ right
    aligned = scale[:, None, None] * centred @ rotation.mT
    return (aligned - true).square().sum(dim=-1).mean(dim=1).sqrt()


def _auc(errors_deg: Tensor, limit_deg: int) -> float:
    thresholds = torch.arange(1, limit_deg + 1)
    return 100.0 * float((errors_deg[:, None] <= thresholds).double().mean())


def _median(values: Tensor) -> float:
    return float(values.median()) if values.numel() else float('nan')
