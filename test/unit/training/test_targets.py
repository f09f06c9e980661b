# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Truth passes through the network's own decoders unchanged."""

from da3_ros.inference.conditioning import condition_on
from da3_ros.model.camera_head import decode_cameras
from da3_ros.model.ray_pose import cameras_from_rays
import numpy as np
import pytest
import torch

from training.targets import find_matches, pixel_rays, ray_targets, Targets
from training.windows import WindowArrays

SIZE = (84, 112)


def _relative_poses(windows: WindowArrays) -> np.ndarray:
    """Return reference_T_camera in metres: (S, N, 4, 4)."""
    poses = windows.world_T_camera.astype(np.float64)
    return np.linalg.inv(poses[:, :1]) @ poses


def test_decoded_encoding_is_the_true_camera(targets: Targets, windows: WindowArrays) -> None:
    """The camera decoder's convention gives back poses relative to the first view, and K."""
    cameras = decode_cameras(targets.encoding, SIZE)
    truth = _relative_poses(windows)
    truth[..., :3, 3] /= targets.scale_m.numpy()[:, None, None]
    np.testing.assert_allclose(
        cameras.extrinsics.numpy(), np.linalg.inv(truth)[..., :3, :], atol=2e-5)
    focal = SIZE[1] / 2 / windows.tangents
    expected = np.zeros((2, 3, 3, 3))
    expected[..., 0, 0] = expected[..., 1, 1] = focal[:, None]
    expected[..., 0, 2], expected[..., 1, 2], expected[..., 2, 2] = SIZE[1] / 2, SIZE[0] / 2, 1
    np.testing.assert_allclose(cameras.intrinsics.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_rays_give_the_true_camera(targets: Targets) -> None:
    """Upstream's estimate of cameras from rays finds the truth in the ray targets."""
    grid = (SIZE[0] // 14 * 8, SIZE[1] // 14 * 8)
    rays = ray_targets(targets, torch.arange(6), SIZE, grid).unflatten(0, (2, 3))
    cameras = cameras_from_rays(rays, torch.ones(rays.shape[:-1]), SIZE)
    truth = decode_cameras(targets.encoding, SIZE)
    np.testing.assert_allclose(cameras.extrinsics, truth.extrinsics, atol=2e-3)
    np.testing.assert_allclose(cameras.intrinsics, truth.intrinsics, rtol=2e-3, atol=0.1)


def test_given_poses_are_normalised_as_for_users(targets: Targets, windows: WindowArrays) -> None:
    """What the camera encoder is trained on is what inference gives it."""
    poses = windows.world_T_camera.astype(np.float64)
    expected = [condition_on(p, np.zeros((len(p), 3, 3))).extrinsics[:, :3] for p in poses]
    got = decode_cameras(targets.given_encoding, SIZE).extrinsics
    np.testing.assert_allclose(got, expected, atol=2e-4)


def test_mean_distance_is_one(targets: Targets) -> None:
    """Visible points are one unit from the reference camera on average, in every window."""
    rays = pixel_rays(targets.focal_px, SIZE, SIZE)
    points = torch.einsum('vij,vhwj->vhwi', targets.rotation, rays * targets.depth[..., None])
    distance = (points + targets.translation[:, None, None]).norm(dim=-1)
    for window in range(2):
        views = slice(3 * window, 3 * window + 3)
        assert float(distance[views][targets.valid[views]].mean()) == pytest.approx(1.0, rel=0.02)


def test_matches_lie_on_the_same_point(targets: Targets) -> None:
    """A patch and its match see one point in the world."""
    grid = (SIZE[0] // 14, SIZE[1] // 14)
    partner = torch.tensor([1, 2, 0, 4, 5, 3])
    matches = find_matches(targets, partner)
    rays = pixel_rays(targets.focal_px, SIZE, grid)
    depth = targets.depth[:, 7::14, 7::14]
    points = (torch.einsum('vij,vhwj->vhwi', targets.rotation, rays * depth[..., None])
              + targets.translation[:, None, None]).flatten(1, 2)
    assert matches.weights.sum() > 40
    rows, columns = matches.patches // grid[1], matches.patches % grid[1]
    cells = torch.stack((columns, rows), dim=-1)
    place = (cells * matches.weights[..., None]).sum(dim=-2)
    for view, other in enumerate(partner.tolist()):
        seen = matches.weights[view].sum(dim=-1) > 0.5
        local = (points[view] - targets.translation[other]) @ targets.rotation[other]
        pixel = targets.focal_px[other] * local[:, :2] / local[:, 2:]
        expected = (pixel + torch.tensor((SIZE[1] / 2, SIZE[0] / 2))) / 14 - 0.5
        inner = seen & (expected > 0).all(-1) & (expected < torch.tensor(grid[::-1]) - 1).all(-1)
        assert torch.allclose(place[view][inner], expected[inner], atol=1e-3)
