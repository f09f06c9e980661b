# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
What the network should answer: truth in the network's own conventions.

Lengths are divided by the mean distance of all visible points of the window from the reference
camera; cameras are relative to the reference view, the first one.

Shapes: B windows, N views, V = B*N, P patches, H W pixels, h w points of the ray grid.
"""

from dataclasses import dataclass

from da3_ros.model.camera_head import invert_rigid, rotation_to_quaternion
from da3_ros.model.config import PATCH_SIZE
import torch
from torch import Tensor

MAX_DEPTH_M = 60.0
_SCALE_STRIDE_PX = 4
_OCCLUSION_TOLERANCE = 0.04
_MIN_CAMERA_DISTANCE_M = 0.1
_MIN_POINTS = 100


@dataclass(frozen=True, eq=False)
class Targets:
    """
    Truth of a step.

    :param depth: (V, H, W); 1 where not valid.
    :param valid: (V, H, W) bool: not sky, not farther than ``MAX_DEPTH_M``.
    :param unknown: (V, H, W) bool: nothing is known; of windows whose cameras turn on the spot.
    :param rotation: (V, 3, 3) reference_R_camera.
    :param translation: (V, 3) reference_t_camera.
    :param focal_px: (V,).
    :param encoding: (B, N, 9), what the camera decoder should give.
    :param given_encoding: (B, N, 9), what the camera encoder takes where poses are given.
    :param scale_m: (B,) length of the unit.
    """

    depth: Tensor
    valid: Tensor
    unknown: Tensor
    rotation: Tensor
    translation: Tensor
    focal_px: Tensor
    encoding: Tensor
    given_encoding: Tensor
    scale_m: Tensor


@dataclass(frozen=True, eq=False)
class Matches:
    """
    Where the middle of every patch is in another view of its window.

    :param partner: (V,) number of the other view.
    :param patches: (V, P, 4) the four patches around the place.
    :param weights: (V, P, 4) their bilinear weights; all 0 where the place is not seen.
    """

    partner: Tensor
    patches: Tensor
    weights: Tensor


def make_targets(depth: Tensor, world_T_camera: Tensor, focal_px: Tensor) -> Targets:
    """
    Express truth as the network should.

    :param depth: (V, H, W) [m]; +inf in the sky, NaN where it is not known.
    :param world_T_camera: (B, N, 4, 4); the first view of a window is its reference.
    :param focal_px: (B,).
    """
    num_windows, num_views = world_T_camera.shape[:2]
    size = (depth.shape[-2], depth.shape[-1])
    reference_T_world = invert_rigid(world_T_camera[:, :1])
    rotation = reference_T_world[..., :3] @ world_T_camera[..., :3, :3]
    translation = (
        reference_T_world[..., :3] @ world_T_camera[..., :3, 3:] + reference_T_world[..., 3:]
    )[..., 0]
    focal = focal_px[:, None].expand(-1, num_views).flatten()
    valid, unknown = depth < MAX_DEPTH_M, depth.isnan()
    depth = torch.where(valid, depth, 1.0)
    scale = _mean_distance(
        depth, valid, rotation.flatten(0, 1), translation.flatten(0, 1), focal
    ).unflatten(0, (num_windows, num_views))
    total, count = scale.sum(dim=1).unbind(dim=-1)
    # Some windows see next to nothing but sky.
    scale = torch.where(count < _MIN_POINTS, MAX_DEPTH_M, total / count.clamp_min(1.0))
    # As for poses given by a user: lengths in units of the median distance of the cameras.
    distance = translation.norm(dim=-1).median(dim=1).values.clamp_min(_MIN_CAMERA_DISTANCE_M)
    view_scale = scale[:, None].expand(-1, num_views).reshape(-1, 1, 1)
    return Targets(
        depth=torch.where(valid, depth / view_scale, 1.0),
        valid=valid,
        unknown=unknown,
        rotation=rotation.flatten(0, 1),
        translation=(translation / scale[:, None, None]).flatten(0, 1),
        focal_px=focal,
        encoding=_encode(rotation, translation / scale[:, None, None], focal_px, size),
        given_encoding=_encode(rotation, translation / distance[:, None, None], focal_px, size),
        scale_m=scale,
    )


def pixel_rays(focal_px: Tensor, size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """
    Return rays through the middles of the cells of a grid over the image, z = 1.

    :param focal_px: (V,) in pixels of the image.
    :param size: height and width of the image [px].
    :param grid: rows h and columns w.
    :returns: (V, h, w, 3), camera frame.
    """
    y, x = (
        ((torch.arange(cells, device=focal_px.device) + 0.5) / cells - 0.5) * side
        for cells, side in zip(grid, size, strict=True)
    )
    x = (x / focal_px[:, None])[:, None, :].expand(-1, grid[0], -1)
    y = (y / focal_px[:, None])[:, :, None].expand(-1, -1, grid[1])
    return torch.stack((x, y, torch.ones_like(x)), dim=-1)


def ray_targets(
    targets: Targets, some: Tensor, size: tuple[int, int], grid: tuple[int, int]
) -> Tensor:
    """
    Return the rays that DualDPT should predict: direction (z = 1 in the camera), then origin.

    :param targets: of V views.
    :param some: (M,) numbers of the views asked for.
    :param size: height and width of the image [px].
    :param grid: h, w.
    :returns: (M, h, w, 6).
    """
    rays = pixel_rays(targets.focal_px[some], size, grid)
    directions = torch.einsum('vij,vhwj->vhwi', targets.rotation[some], rays)
    origins = targets.translation[some, None, None].expand_as(directions)
    return torch.cat((directions, origins), dim=-1)


def find_matches(targets: Targets, partner: Tensor) -> Matches:
    """
    Project the middle of every patch into another view.

    Where depth is unknown the cameras only turn, so that any depth leads to the same place.

    :param targets: of V views.
    :param partner: (V,) the other view.
    """
    height, width = targets.depth.shape[-2:]
    middle = PATCH_SIZE // 2
    grid = (height // PATCH_SIZE, width // PATCH_SIZE)
    depth = targets.depth[:, middle::PATCH_SIZE, middle::PATCH_SIZE].flatten(1)
    seen, turned = (mask[:, middle::PATCH_SIZE, middle::PATCH_SIZE].flatten(1)
                    for mask in (targets.valid, targets.unknown))
    rays = pixel_rays(targets.focal_px, (height, width), grid).flatten(1, 2)
    points = (rays * depth[..., None]) @ targets.rotation.mT + targets.translation[:, None]
    points = (points - targets.translation[partner][:, None]) @ targets.rotation[partner]
    z = points[..., 2].clamp_min(1e-3)
    focal = targets.focal_px[partner][:, None]
    x = focal * points[..., 0] / z + width / 2
    y = focal * points[..., 1] / z + height / 2
    inside = (x > 0) & (x < width) & (y > 0) & (y < height) & (points[..., 2] > 1e-2)
    column, row = x.long().clamp(0, width - 1), y.long().clamp(0, height - 1)
    surface = targets.depth[partner].flatten(1).gather(1, row * width + column)
    visible = inside & (turned | seen & ((surface - z).abs() < _OCCLUSION_TOLERANCE * z))
    patches, weights = _bilinear(x / PATCH_SIZE - 0.5, y / PATCH_SIZE - 0.5, grid)
    return Matches(partner, patches, weights * visible[..., None])


def _bilinear(x: Tensor, y: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the four cells around places of a grid, clamped to it, and their weights."""
    x, y = x.nan_to_num().clamp(0, grid[1] - 1), y.nan_to_num().clamp(0, grid[0] - 1)
    left, top = x.long().clamp(max=grid[1] - 2), y.long().clamp(max=grid[0] - 2)
    a, b = x - left, y - top
    first = top * grid[1] + left
    cells = torch.stack((first, first + 1, first + grid[1], first + grid[1] + 1), dim=-1)
    weights = torch.stack(((1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b), dim=-1)
    return cells, weights


def _mean_distance(
    depth: Tensor, valid: Tensor, rotation: Tensor, translation: Tensor, focal: Tensor
) -> Tensor:
    """Return sum and number of the distances of a view's points from the reference: (V, 2)."""
    size = (depth.shape[-2], depth.shape[-1])
    stride = _SCALE_STRIDE_PX
    some = (slice(None), slice(stride // 2, None, stride), slice(stride // 2, None, stride))
    rays = pixel_rays(focal, size, (size[0] // stride, size[1] // stride))
    points = (rays * depth[some][..., None]).flatten(1, 2) @ rotation.mT + translation[:, None]
    weights = valid[some].flatten(1).float()
    return torch.stack(
        ((points.norm(dim=-1) * weights).sum(dim=1), weights.sum(dim=1)), dim=-1)


def _encode(
    rotation: Tensor, translation: Tensor, focal_px: Tensor, size: tuple[int, int]
) -> Tensor:
    """Encode as ``camera_head.encode_cameras``, but without a copy from the host."""
    fov = torch.stack([2 * torch.atan(side / 2 / focal_px) for side in size], dim=-1)
    fov = fov[:, None].expand(-1, rotation.shape[1], -1)
    return torch.cat((translation, rotation_to_quaternion(rotation), fov), dim=-1)
