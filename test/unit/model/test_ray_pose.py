# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Cameras from rays."""

from da3_ros.errors import NonFiniteError, PredictionError
from da3_ros.model.camera_head import build_intrinsics, Cameras, quaternion_to_rotation
from da3_ros.model.ray_pose import cameras_from_rays
import pytest
import torch

SIZE = (84, 112)
GRID = (48, 64)


def random_cameras(num_views):
    random = torch.Generator().manual_seed(num_views)
    rotation = quaternion_to_rotation(torch.randn(1, num_views, 4, generator=random))
    translation = torch.randn(1, num_views, 3, 1, generator=random)
    focal = 60.0 + 60.0 * torch.rand(1, num_views, 2, generator=random)
    centre = torch.tensor((SIZE[1] / 2, SIZE[0] / 2)).expand(1, num_views, 2)
    return Cameras(torch.cat((rotation, translation), dim=-1), build_intrinsics(focal, centre))


def rays_of(cameras):
    """Return direction and origin of the ray through the middle of every cell of the grid."""
    v = (torch.arange(GRID[0]) + 0.5) * SIZE[0] / GRID[0]
    u = (torch.arange(GRID[1]) + 0.5) * SIZE[1] / GRID[1]
    pixels = torch.stack((*torch.meshgrid(u, v, indexing='xy'), torch.ones(GRID)), dim=-1)
    world_R_camera = cameras.extrinsics[..., :3].mT
    world_H_pixel = world_R_camera @ torch.linalg.inv(cameras.intrinsics)
    directions = torch.einsum('bnij,hwj->bnhwi', world_H_pixel, pixels)
    origins = -world_R_camera @ cameras.extrinsics[..., 3:]
    origins = origins[..., None, None, :, 0].expand_as(directions)
    return torch.cat((directions, origins), dim=-1)


def assert_found(found, cameras, tolerance):
    torch.testing.assert_close(found.extrinsics, cameras.extrinsics, rtol=0.0, atol=tolerance)
    focal = cameras.intrinsics.diagonal(dim1=-2, dim2=-1)
    found_focal = found.intrinsics.diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(found_focal, focal, rtol=tolerance, atol=0.0)


@pytest.mark.parametrize('num_views', [1, 4])
def test_exact_rays_give_their_cameras(num_views):
    cameras = random_cameras(num_views)
    found = cameras_from_rays(rays_of(cameras), torch.ones(1, num_views, *GRID), SIZE)
    assert_found(found, cameras, 1e-4)
    torch.testing.assert_close(found.intrinsics, cameras.intrinsics, rtol=1e-4, atol=1e-2)


def test_directions_of_any_length_give_the_same_cameras():
    cameras = random_cameras(2)
    rays = rays_of(cameras)
    lengths = 0.5 + torch.rand(*rays.shape[:-1], 1, generator=torch.Generator().manual_seed(0))
    rays = torch.cat((rays[..., :3] * lengths, rays[..., 3:]), dim=-1)
    assert_found(cameras_from_rays(rays, torch.ones(1, 2, *GRID), SIZE), cameras, 1e-4)


def test_unconfident_outliers_do_not_count():
    cameras = random_cameras(3)
    rays = rays_of(cameras)
    random = torch.Generator().manual_seed(1)
    is_wrong = torch.rand(1, 3, *GRID, generator=random) < 0.4
    rays[is_wrong] = torch.randn(int(is_wrong.sum()), 6, generator=random)
    confidence = torch.where(is_wrong, 1e-6, 1.0)
    # Some wrong rays lie near enough to count as inliers, though with little weight.
    assert_found(cameras_from_rays(rays, confidence, SIZE), cameras, 1e-3)


def test_confident_outliers_are_found_out():
    cameras = random_cameras(3)
    rays = rays_of(cameras)
    random = torch.Generator().manual_seed(1)
    is_wrong = torch.rand(1, 3, *GRID, generator=random) < 0.2
    rays[..., :3][is_wrong] = 3.0 * torch.randn(int(is_wrong.sum()), 3, generator=random)
    found = cameras_from_rays(rays, torch.ones(1, 3, *GRID), SIZE)
    assert_found(found, cameras, 0.05)


def test_views_are_estimated_alone():
    rays = rays_of(random_cameras(3))
    rays = rays + 0.02 * torch.randn(rays.shape, generator=torch.Generator().manual_seed(2))
    confidence = torch.ones(1, 3, *GRID)
    together = cameras_from_rays(rays, confidence, SIZE)
    alone = cameras_from_rays(rays[:, 2:], confidence[:, 2:], SIZE)
    assert torch.equal(together.extrinsics[:, 2:], alone.extrinsics)


def assert_refused(rays, confidence, message):
    message = f'view 1: no camera has its rays: {message}'
    with pytest.raises(PredictionError, match=message) as told:
        cameras_from_rays(rays, confidence, SIZE)
    assert not isinstance(told.value, NonFiniteError)


def test_rays_of_which_no_two_agree_are_those_of_no_camera():
    rays = rays_of(random_cameras(2))
    random = torch.Generator().manual_seed(3)
    rays[:, 1, ..., :2] = 1e4 * torch.randn(rays[:, 1, ..., :2].shape, generator=random)
    assert_refused(rays, torch.ones(1, 2, *GRID), '0 of them agree, expected at least 4')


@pytest.mark.parametrize('z', [0.0, 1e-5, -1e-5])
def test_rays_along_the_image_plane_are_those_of_no_camera(z):
    rays = rays_of(random_cameras(2))
    rays[:, 1, ..., 2] = z
    assert_refused(rays, torch.ones(1, 2, *GRID), '0 of them agree')


def test_rays_that_are_all_one_are_those_of_no_camera():
    rays = rays_of(random_cameras(2))
    rays[:, 1] = rays[:, 1, :1, :1]
    assert_refused(rays, torch.ones(1, 2, *GRID), '')


@pytest.mark.parametrize('num_usable', [4, 5, 8])
def test_as_few_rays_as_determine_a_camera_find_it(num_usable):
    """All others have no plane to lie in; four points have no null vector in a thin SVD."""
    cameras = random_cameras(1)
    rays = rays_of(cameras)
    places = torch.tensor([(3, 5), (40, 9), (11, 60), (44, 55), (20, 30), (30, 12), (8, 31),
                           (25, 50)])[:num_usable].unbind(1)
    kept = rays[0, 0][places].clone()
    rays[..., 2] = 0.0
    rays[0, 0][places] = kept
    assert_found(cameras_from_rays(rays, torch.ones(1, 1, *GRID), SIZE), cameras, 1e-3)


def test_three_rays_do_not_determine_a_camera():
    rays = rays_of(random_cameras(2))
    kept = rays[0, 1, (3, 40, 11), (5, 9, 60)].clone()
    rays[0, 1, ..., 2] = 0.0
    rays[0, 1, (3, 40, 11), (5, 9, 60)] = kept
    assert_refused(rays, torch.ones(1, 2, *GRID), '[0-3] of them agree')
