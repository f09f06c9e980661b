# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Losses.

Dense and ray errors are weighted with the predicted confidence c as in DUSt3R:
c * error - a log c.
"""

from dataclasses import dataclass

from da3_ros.model.camera_head import quaternion_to_rotation
import torch
from torch import Tensor

from training.dense_head import DenseMaps
from training.targets import Matches

_CONFIDENCE_PRICE = 0.2
_MAX_LOG_CONFIDENCE = 4.0
_GRADIENT_STEPS_PX = (1, 3, 8)
_NORM_PRICE = 0.02


@dataclass(frozen=True)
class LossWeights:
    """
    How much every term counts.

    :param gradient: of the multi-scale gradient of log depth.
    :param rays: of ray directions and origins.
    :param points: of points, depth times direction plus origin.
    :param translation: of the camera decoder's translation.
    :param rotation: of its quaternion.
    :param fov: of its fields of view.
    :param relative_rotation: of the rotations between all pairs of views.
    :param relative_translation: of the translations between them.
    :param activity: of the camera decoder's mean square before its ReLUs.
    """

    gradient: float = 0.3
    rays: float = 0.7
    points: float = 0.5
    translation: float = 3.0
    rotation: float = 4.0
    fov: float = 1.0
    relative_rotation: float = 0.7
    relative_translation: float = 2.0
    activity: float = 0.002


def dense_loss(
    maps: DenseMaps, depth: Tensor, valid: Tensor, unknown: Tensor, rays: Tensor,
    weights: LossWeights,
) -> Tensor:
    """
    Compare depth, rays and points with truth.

    :param maps: of M views.
    :param depth: (M, H, W).
    :param valid: (M, H, W) bool.
    :param unknown: (M, H, W) bool, where nothing is asked of depth and its confidence.
    :param rays: (M, h, w, 6).
    :param weights: of the terms.
    :returns: (5,) the weighted sum; then, to be watched, the mean absolute errors of log depth,
        of its gradient, of rays and of points.
    """
    mask = valid.float()
    num_valid = mask.sum().clamp_min(1.0)
    error = (maps.log_depth - depth.log()) * mask
    confidence = maps.log_confidence.clamp(-10.0, _MAX_LOG_CONFIDENCE).exp() + 1.0
    weighted = (confidence * error.abs() - _CONFIDENCE_PRICE * confidence.log()) * mask
    unseen = (confidence - 1.0) * (1.0 - mask) * ~unknown * _CONFIDENCE_PRICE
    depth_loss = (weighted + unseen).sum() / num_valid
    gradient = _gradient_error(error, mask)
    ray_confidence = maps.log_ray_confidence.clamp(-10.0, _MAX_LOG_CONFIDENCE).exp() + 1.0
    ray_error = (maps.rays - rays).abs().sum(dim=-1)
    ray_loss = (ray_confidence * ray_error - _CONFIDENCE_PRICE * ray_confidence.log()).mean()
    points = _point_error(maps, depth, mask, rays)
    total = (
        depth_loss + weights.gradient * gradient + weights.rays * ray_loss
        + weights.points * points
    )
    watched = torch.stack(
        (error.abs().sum() / num_valid, gradient, ray_error.mean(), points)).detach()
    return torch.cat((total[None], watched))


def camera_loss(encoding: Tensor, truth: Tensor, weights: LossWeights) -> Tensor:
    """
    Compare camera encodings with truth.

    :param encoding: (B, N, 9).
    :param truth: (B, N, 9).
    :param weights: of the terms.
    :returns: (5,) the weighted sum, then translation, rotation, field of view and relative
        rotation error.
    """
    num_views = encoding.shape[1]
    translation, quaternion, fov = encoding.split((3, 4, 2), dim=-1)
    true_translation, true_quaternion, true_fov = truth.split((3, 4, 2), dim=-1)
    norm = quaternion.norm(dim=-1, keepdim=True).clamp_min(1e-4)
    unit = quaternion / norm
    sign = torch.where((unit * true_quaternion).sum(dim=-1, keepdim=True) < 0, -1.0, 1.0)
    translation_error = (translation - true_translation).abs().sum(dim=-1).mean()
    rotation_error = (unit - sign * true_quaternion).abs().sum(dim=-1).mean()
    norm_loss = ((norm - 1.0) ** 2).mean()
    fov_error = (fov - true_fov).abs().mean()
    relative = _relative(translation, quaternion_to_rotation(unit))
    true_relative = _relative(true_translation, quaternion_to_rotation(true_quaternion))
    # The diagonal pairs a view with itself and is always right.
    share = num_views / (num_views - 1)
    difference = (relative - true_relative).abs().sum(dim=-2)
    turn = difference[..., :3].sum(dim=-1).mean() * share
    shift = difference[..., 3].mean() * share
    total = (
        weights.translation * translation_error
        + weights.rotation * (rotation_error + _NORM_PRICE * norm_loss)
        + weights.fov * fov_error + weights.relative_rotation * turn
        + weights.relative_translation * shift
    )
    watched = torch.stack((translation_error, rotation_error, fov_error, turn)).detach()
    return torch.cat((total[None], watched))


def matching_loss(queries: Tensor, keys: Tensor, matches: Matches) -> Tensor:
    """
    Ask attention from one view to the patches of another one to look at the same place.

    :param queries: (V, P, d).
    :param keys: (V, P, d).
    :param matches: of the V views.
    :returns: cross entropy, a scalar.
    """
    logits = queries @ keys[matches.partner].mT * queries.shape[-1] ** -0.5
    chosen = logits.float().log_softmax(dim=-1).gather(-1, matches.patches)
    num_matches = matches.weights.sum().clamp_min(1.0)
    return -(chosen * matches.weights).sum() / num_matches


def _gradient_error(error: Tensor, mask: Tensor) -> Tensor:
    """Return the mean difference of the error between pixels at several distances."""
    total = error.new_zeros(())
    for step in _GRADIENT_STEPS_PX:
        for near, far in (
            ((..., slice(step, None)), (..., slice(None, -step))),
            ((..., slice(step, None), slice(None)), (..., slice(None, -step), slice(None))),
        ):
            difference = (error[near] - error[far]).abs().clamp(max=1.0)
            both = mask[near] * mask[far]
            total = total + (difference * both).sum() / both.sum().clamp_min(1.0)
    return total


def _point_error(maps: DenseMaps, depth: Tensor, mask: Tensor, rays: Tensor) -> Tensor:
    """Compare points in the reference frame on the ray grid."""
    (height, width), (rows, columns) = depth.shape[1:], rays.shape[1:3]
    row = (torch.arange(rows, device=depth.device) + 0.5) * height / rows
    column = (torch.arange(columns, device=depth.device) + 0.5) * width / columns
    at = (slice(None), row.long()[:, None], column.long())
    predicted = maps.log_depth[at].clamp(-6.0, 4.0).exp()
    points = predicted[..., None] * maps.rays[..., :3] + maps.rays[..., 3:]
    truth = depth[at][..., None] * rays[..., :3] + rays[..., 3:]
    seen = mask[at]
    return ((points - truth).abs().sum(dim=-1) * seen).sum() / seen.sum().clamp_min(1.0)


def _relative(translation: Tensor, rotation: Tensor) -> Tensor:
    """Return i_T_j of all pairs: (B, N, N, 3, 4)."""
    shift = (translation[:, None] - translation[:, :, None])[..., None]
    inverse = rotation.mT[:, :, None]
    return torch.cat((inverse @ rotation[:, None], inverse @ shift), dim=-1)
