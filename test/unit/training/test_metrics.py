# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Metrics are blind to what they should not see, and see what they should."""

import math

import torch
from torch import Tensor

from training.metrics import floor, score, Truth


def _truth(seed: int = 0) -> Truth:
    random = torch.Generator().manual_seed(seed)
    vectors = 0.3 * torch.randn(2, 5, 3, generator=random, dtype=torch.float64)
    x, y, z = vectors.unbind(dim=-1)
    zero = torch.zeros_like(x)
    skew = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), dim=-1).unflatten(-1, (3, 3))
    poses = torch.eye(4, dtype=torch.float64).repeat(2, 5, 1, 1)
    poses[..., :3, :3] = torch.linalg.matrix_exp(skew)
    poses[..., :3, 3] = torch.randn(2, 5, 3, generator=random, dtype=torch.float64)
    depth = 1.0 + 4.0 * torch.rand(2, 5, 6, 8, generator=random, dtype=torch.float64)
    return Truth(depth, poses)


def _turn_z(angle: float) -> Tensor:
    turn = torch.eye(4, dtype=torch.float64)
    turn[0, 0] = turn[1, 1] = math.cos(angle)
    turn[1, 0], turn[0, 1] = math.sin(angle), -math.sin(angle)
    return turn


def test_scale_and_frame_do_not_matter() -> None:
    """The truth in another unit and another frame is perfect."""
    truth = _truth()
    poses = _turn_z(0.7) @ truth.world_T_camera
    poses[..., :3, 3] = 0.2 * poses[..., :3, 3] + 3.0
    scores = score(0.2 * truth.depth, poses, truth)
    assert scores.abs_rel < 1e-9 and scores.delta == 1.0
    assert scores.rotation_deg < 1e-4 and scores.direction_deg < 1e-4
    assert scores.auc_5 == 100.0 and scores.ate_percent < 1e-6


def test_errors_have_their_size() -> None:
    """A depth error of 10 % at half of the pixels and one camera turned by 3 degrees are seen."""
    truth = _truth()
    depth = truth.depth.clone()
    depth[..., :4] *= 1.1
    poses = truth.world_T_camera.clone()
    poses[:, 1:] = poses[:, 1:] @ _turn_z(math.radians(3.0))
    scores = score(depth, poses, truth)
    assert 0.04 < scores.abs_rel < 0.06
    assert scores.rotation_deg < 3.01
    wide = score(truth.depth, truth.world_T_camera @ _turn_z(math.radians(3.0)), truth)
    assert wide.rotation_deg < 5.0 and wide.ate_percent < 1e-6


def test_depth_in_the_sky_does_not_count() -> None:
    """Where truth is infinite, any depth is right."""
    truth = _truth()
    truth.depth[:, 0] = math.inf
    depth = truth.depth.clone()
    depth[:, 0] = 1.0
    assert score(depth, truth.world_T_camera, truth).abs_rel < 1e-9


def test_floor_knows_no_direction() -> None:
    """No motion is a right angle off, and as far off as the path is wide."""
    scores = floor(_truth())
    assert scores.direction_deg == 90.0
    assert scores.auc_30 == 0.0 and scores.ate_percent > 10.0
