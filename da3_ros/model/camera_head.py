# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Cameras from and to tokens, and the encoding between.

Shapes: B windows, N views, C channels. An encoding is (B, N, 9): translation and quaternion
(x, y, z, w) of the pose world_T_camera, then vertical and horizontal field of view [rad].
"""

from dataclasses import dataclass

from da3_ros.model.transformer import Block, Mlp
import torch
from torch import nn, Tensor
import torch.nn.functional as F

ENCODING_DIM = 9

_MIN_HALF_FOV_TANGENT = 1e-6


@dataclass(frozen=True, eq=False)
class Cameras:
    """
    Cameras of windows of views.

    :param extrinsics: (B, N, 3, 4) camera_T_world.
    :param intrinsics: (B, N, 3, 3) [px], corner-origin.
    """

    extrinsics: Tensor
    intrinsics: Tensor


class CameraDecoder(nn.Module):
    """Camera token to encoding."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU()
        )
        self.fc_t = nn.Linear(dim, 3)
        self.fc_qvec = nn.Linear(dim, 4)
        self.fc_fov = nn.Sequential(nn.Linear(dim, 2), nn.ReLU())

    def forward(self, feature: Tensor) -> Tensor:
        """Map (B, N, 2C) to encodings (B, N, 9), whose quaternion has any norm."""
        x = self.backbone(feature)
        return torch.cat((self.fc_t(x), self.fc_qvec(x), self.fc_fov(x)), dim=-1)


class CameraEncoder(nn.Module):
    """Given cameras to the camera tokens that replace the learnt ones."""

    def __init__(self, dim: int, *, num_blocks: int = 4, num_heads: int = 16) -> None:
        super().__init__()
        self.pose_branch = Mlp(ENCODING_DIM, dim // 2, dim)
        self.token_norm = nn.LayerNorm(dim)
        self.trunk = nn.Sequential(*(Block(dim, num_heads) for _ in range(num_blocks)))
        self.trunk_norm = nn.LayerNorm(dim)

    def forward(self, encoding: Tensor) -> Tensor:
        """Map encodings (B, N, 9) to tokens (B, N, C); views of a window see each other."""
        tokens = self.token_norm(self.pose_branch(encoding))
        result: Tensor = self.trunk_norm(self.trunk(tokens))
        return result


def encode_cameras(cameras: Cameras, image_size: tuple[int, int]) -> Tensor:
    """
    Encode cameras; the principal point does not enter.

    :param cameras: extrinsics may also be (B, N, 4, 4).
    :param image_size: height and width [px].
    :returns: (B, N, 9).
    """
    poses = invert_rigid(cameras.extrinsics)
    height, width = image_size
    fov_y = 2 * torch.atan(height / 2 / cameras.intrinsics[..., 1, 1])
    fov_x = 2 * torch.atan(width / 2 / cameras.intrinsics[..., 0, 0])
    quaternion = rotation_to_quaternion(poses[..., :3])
    fov = torch.stack((fov_y, fov_x), dim=-1)
    return torch.cat((poses[..., 3], quaternion, fov), dim=-1)


def decode_cameras(encoding: Tensor, image_size: tuple[int, int]) -> Cameras:
    """
    Turn encodings into cameras with the principal point in the image's middle.

    :param encoding: (B, N, 9).
    :param image_size: height and width [px].
    """
    height, width = image_size
    translation, quaternion, fov = encoding.split((3, 4, 2), dim=-1)
    poses = torch.cat((quaternion_to_rotation(quaternion), translation[..., None]), dim=-1)
    fov_y, fov_x = fov.unbind(-1)
    focal_y = height / 2 / torch.tan(fov_y / 2).clamp(_MIN_HALF_FOV_TANGENT)
    focal_x = width / 2 / torch.tan(fov_x / 2).clamp(_MIN_HALF_FOV_TANGENT)
    middle = (torch.full_like(focal_x, width / 2), torch.full_like(focal_y, height / 2))
    intrinsics = build_intrinsics(
        torch.stack((focal_x, focal_y), dim=-1), torch.stack(middle, dim=-1)
    )
    return Cameras(invert_rigid(poses), intrinsics)


def build_intrinsics(focal: Tensor, principal_point: Tensor) -> Tensor:
    """
    Build intrinsics without skew.

    :param focal: (..., 2) x, y [px].
    :param principal_point: (..., 2) x, y [px].
    :returns: (..., 3, 3).
    """
    bottom = F.pad(focal.new_ones(1), (2, 0)).expand(*focal.shape[:-1], 1, 3)
    top = torch.cat((torch.diag_embed(focal), principal_point[..., None]), dim=-1)
    return torch.cat((top, bottom), dim=-2)


def invert_rigid(a_T_b: Tensor) -> Tensor:
    """
    Invert rigid motions.

    :param a_T_b: (..., 3, 4) or (..., 4, 4).
    :returns: (..., 3, 4) ``b_T_a``.
    """
    b_R_a = a_T_b[..., :3, :3].mT
    return torch.cat((b_R_a, -b_R_a @ a_T_b[..., :3, 3:]), dim=-1)


def quaternion_to_rotation(quaternion: Tensor) -> Tensor:
    """
    Convert quaternions of any norm but zero to rotation matrices.

    :param quaternion: (..., 4) x, y, z, w.
    :returns: (..., 3, 3).
    """
    x, y, z, w = quaternion.unbind(-1)
    two_s = 2.0 / (quaternion * quaternion).sum(-1)
    rows = (
        1 - two_s * (y * y + z * z), two_s * (x * y - z * w), two_s * (x * z + y * w),
        two_s * (x * y + z * w), 1 - two_s * (x * x + z * z), two_s * (y * z - x * w),
        two_s * (x * z - y * w), two_s * (y * z + x * w), 1 - two_s * (x * x + y * y),
    )
    return torch.stack(rows, dim=-1).reshape(*quaternion.shape[:-1], 3, 3)


def rotation_to_quaternion(rotation: Tensor) -> Tensor:
    """
    Convert rotation matrices to unit quaternions.

    Shepperd's method: the largest of the four components divides, so it is stable everywhere.

    :param rotation: (..., 3, 3).
    :returns: (..., 4) x, y, z, w with w >= 0.
    """
    m = rotation
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    xy, xz, yz = (m[..., i, j] + m[..., j, i] for i, j in ((0, 1), (0, 2), (1, 2)))
    wx, wy, wz = (m[..., i, j] - m[..., j, i] for i, j in ((2, 1), (0, 2), (1, 0)))
    squares = torch.stack(
        (1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz, 1 + xx + yy + zz), dim=-1
    )
    doubles = squares.clamp(min=0.0).sqrt()
    x2, y2, z2, w2 = doubles.square().unbind(-1)
    # Row k is 4 * component k * (x, y, z, w).
    products = torch.stack((
        torch.stack((x2, xy, xz, wx), dim=-1),
        torch.stack((xy, y2, yz, wy), dim=-1),
        torch.stack((xz, yz, z2, wz), dim=-1),
        torch.stack((wx, wy, wz, w2), dim=-1),
    ), dim=-2)
    largest = doubles.argmax(dim=-1, keepdim=True)
    row = products.gather(-2, largest[..., None].expand(*largest.shape, 4)).squeeze(-2)
    quaternion = row / (2.0 * doubles.gather(-1, largest))
    return torch.where(quaternion[..., 3:] < 0, -quaternion, quaternion)
