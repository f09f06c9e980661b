# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Cameras from rays against upstream's estimate right after ``torch.manual_seed(0)``."""

from dataclasses import dataclass

from da3_ros.model.camera_head import Cameras, quaternion_to_rotation
from da3_ros.model.ray_pose import cameras_from_rays
import pytest
import torch
from torch import Tensor

IMAGE_SIZE = (56, 84)


@dataclass(frozen=True, eq=False)
class Rays:
    """Rays of N views, as the head gives them."""

    rays: Tensor
    confidence: Tensor


def noisy_rays(num_views: int, grid: tuple[int, int], *, noise: float) -> Rays:
    """Return rays of random cameras with their principal points in the middle."""
    random = torch.Generator().manual_seed(num_views)
    rotation = quaternion_to_rotation(torch.randn(num_views, 4, generator=random))
    focal = 1.0 + torch.rand(num_views, 2, generator=random)
    y, x = (torch.linspace(1 / side - 1, 1 - 1 / side, side) for side in grid)
    points = torch.stack((*torch.meshgrid(x, y, indexing='xy'), torch.ones(grid)), dim=-1)
    inverse = torch.cat((1.0 / focal, torch.ones(num_views, 1)), dim=1)
    directions = torch.einsum('nij,nj,hwj->nhwi', rotation, inverse, points)
    origins = torch.randn(num_views, 1, 1, 3, generator=random).expand(-1, *grid, -1)
    rays = torch.cat((directions, origins), dim=-1)
    return Rays(
        rays=(rays + noise * torch.randn(rays.shape, generator=random))[None],
        confidence=1.0 + torch.rand(1, num_views, *grid, generator=random),
    )


def assert_equal(ours: Cameras, theirs: Cameras, tolerance: float) -> None:
    focal_px = float(theirs.intrinsics.max())
    for our, their, size in (
        (ours.extrinsics, theirs.extrinsics, 1.0),
        (ours.intrinsics, theirs.intrinsics, focal_px),
    ):
        torch.testing.assert_close(our, their, rtol=tolerance, atol=tolerance * size)


@pytest.mark.parametrize(
    ('num_views', 'grid', 'noise'),
    [
        (1, (32, 48), 0.02),
        (2, (48, 32), 0.0),
        (3, (32, 32), 0.02),
        (5, (32, 48), 0.0),
        # More than 8000 inliers, of which upstream takes some at random.
        (2, (96, 96), 0.02),
    ],
)
def test_rays_of_cameras(upstream, num_views, grid, noise):
    rays = noisy_rays(num_views, grid, noise=noise)
    ours = cameras_from_rays(rays.rays, rays.confidence, IMAGE_SIZE)
    theirs = upstream.cameras_from_rays(rays.rays, rays.confidence, IMAGE_SIZE)
    assert_equal(ours, theirs, 1e-5)


@pytest.mark.parametrize('narrowed', ['da3-small', 'da3-giant'], indirect=True)
@pytest.mark.parametrize('num_views', [1, 2, 3, 5])
def test_rays_of_the_network(narrowed, num_views):
    """Rays of random weights are far from any camera's, so that rounding counts for much."""
    random = torch.Generator().manual_seed(num_views)
    images = torch.randn(1, num_views, 3, *IMAGE_SIZE, generator=random)
    with torch.no_grad():
        ours = narrowed.ours(images, use_ray_pose=True)
        torch.manual_seed(0)
        theirs = narrowed.theirs(images, use_ray_pose=True)
    torch.testing.assert_close(ours.depth, theirs['depth'], rtol=1e-6, atol=0.0)
    assert_equal(
        Cameras(ours.extrinsics, ours.intrinsics),
        Cameras(theirs['extrinsics'], theirs['intrinsics']),
        1e-3,
    )
