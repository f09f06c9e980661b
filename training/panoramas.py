# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Panoramas of real places: cameras that turn on the spot in them, and their light.

A panorama is equirectangular: row 0 is straight up, and columns turn to the right over 360
degrees. Its world has z up, and its middle column looks along x.

Turning cameras see real images with exact rotations and no translation. Depth is not known (NaN),
so that no loss asks for it.

Shapes: K panoramas, N views, h w pixels of a panorama, H W pixels of a view.
"""

from collections.abc import Sequence
from dataclasses import dataclass
import math
from pathlib import Path

import cv2
from da3_ros.geometry.arrays import Array
from da3_ros.geometry.rigid import BODY_R_OPTICAL
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor
import torch.nn.functional as F

from training.handling import rotations, turned

Floats = NDArray[np.float32]

NUM_LIGHT_COLUMNS = 27
_GAMMA = 2.2
_HEIGHT = 512
_LIGHT_HEIGHT = 16
_FOV_X_DEG = (70.0, 100.0)
_TURN_DEG = 12.0
_WOBBLE_DEG = 2.0
_DOWN_DEG = (-15.0, 40.0)
_ROLL_DEG = 8.0
# Cosine lobe over pi, by degree (Ramamoorthi and Hanrahan 2001).
_LOBE = (1.0, 2.0 / 3.0, 0.25)


@dataclass(frozen=True, eq=False)
class PanoramaBank:
    """
    Panoramas.

    :param images: (K, h, w, 3) uint8 RGB.
    """

    images: NDArray[np.uint8]

    @classmethod
    def empty(cls) -> 'PanoramaBank':
        """Return a bank without panoramas."""
        return cls(np.zeros((0, 2, 4, 3), np.uint8))

    @property
    def lights(self) -> Floats:
        """Return small ones for ``light_row``: (K, 16, 32, 3) linear, mean 1."""
        size = (2 * _LIGHT_HEIGHT, _LIGHT_HEIGHT)
        linear = [cv2.resize((image / np.float32(255.0)) ** _GAMMA, size,
                             interpolation=cv2.INTER_AREA) for image in self.images]
        shape = (len(linear), *size[::-1], 3)
        lights = np.array(linear, dtype=np.float32).reshape(shape)
        weights = _solid_angles(_LIGHT_HEIGHT)[:, None, None]
        mean = (lights * weights).sum(axis=(1, 2)).mean(axis=1) / (weights.sum() * size[0])
        result: Floats = lights / np.maximum(mean, 1e-6)[:, None, None, None]
        return result


def load_panoramas(folder: Path) -> PanoramaBank:
    """
    Read panoramas.

    :param folder: of JPEG or PNG files, twice as wide as high.
    :raises ValueError: if there are none, or one is no panorama.
    """
    images = []
    for path in sorted([*folder.glob('*.jpg'), *folder.glob('*.png')]):
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None or image.shape[1] != 2 * image.shape[0]:
            got = 'no image' if image is None else f'{image.shape[1]} x {image.shape[0]}'
            raise ValueError(f'{path}: got {got}, expected an image twice as wide as high')
        size = (2 * _HEIGHT, _HEIGHT)
        images.append(cv2.resize(image, size, interpolation=cv2.INTER_AREA)[..., ::-1])
    if not images:
        raise ValueError(f'{folder}: got no JPEG or PNG, expected panoramas')
    return PanoramaBank(np.ascontiguousarray(np.stack(images), dtype=np.uint8))


@dataclass(frozen=True, eq=False)
class Turn:
    """
    A camera that turns on the spot.

    :param panorama: number of the place.
    :param world_T_camera: (N, 4, 4), all in the origin.
    :param fov_x_rad: horizontal field of view.
    """

    panorama: int
    world_T_camera: Array
    fov_x_rad: float

    def focal_px(self, width: int) -> float:
        """
        Return the focal length.

        :param width: of the views [px].
        """
        return width / (2.0 * math.tan(self.fov_x_rad / 2.0))


def draw_turn(seed: Sequence[int], count: int, num_views: int) -> Turn:
    """
    Draw how a camera turns.

    :param seed: of everything.
    :param count: K.
    :param num_views: N.
    """
    rng = np.random.default_rng(seed)
    steps = rng.uniform(-1.0, 1.0) * _TURN_DEG * rng.uniform(0.5, 1.5, num_views)
    yaw = np.radians(rng.uniform(0.0, 360.0) + np.cumsum(steps))
    poses = np.tile(np.eye(4), (num_views, 1, 1))
    poses[:, :3, :3] = rotations(np.stack(
        [np.zeros(num_views), np.zeros(num_views), yaw], axis=1)) @ BODY_R_OPTICAL
    poses = turned(
        poses, down_deg=rng.uniform(*_DOWN_DEG), roll_deg=_ROLL_DEG * rng.normal())
    wobble = np.cumsum(np.radians(_WOBBLE_DEG) * rng.normal(size=(num_views, 3)), axis=0)
    poses[:, :3, :3] = poses[:, :3, :3] @ rotations(wobble)
    return Turn(int(rng.integers(count)), poses, math.radians(rng.uniform(*_FOV_X_DEG)))


def look(panorama: Tensor, turn: Turn, size: tuple[int, int]) -> Tensor:
    """
    Render what a turning camera sees.

    :param panorama: (h, w, 3) uint8 RGB, on any device.
    :param turn: N views.
    :param size: H, W.
    :returns: (N, 3, H, W) linear RGB in [0, 1].
    """
    device = panorama.device
    rotation = torch.from_numpy(turn.world_T_camera[:, :3, :3]).float().to(device)
    focal = turn.focal_px(size[1])
    y, x = (((torch.arange(side, device=device) + 0.5) - side / 2.0) / focal for side in size)
    rays = torch.stack((x.expand(size), y[:, None].expand(size), torch.ones(size, device=device)))
    rays = torch.einsum('nij,jhw->inhw', rotation, F.normalize(rays, dim=0))
    # One more column on each side, so that the picture goes on where it begins.
    image = panorama.permute(2, 0, 1).float()[None] / 255.0
    image = torch.cat((image[..., -1:], image, image[..., :1]), dim=-1)
    width = panorama.shape[1]
    column = -torch.atan2(rays[1], rays[0]) / math.pi * width / (width + 2)
    row = 2.0 * torch.acos(rays[2].clamp(-1.0, 1.0)) / math.pi - 1.0
    grid = torch.stack((column, row), dim=-1)
    seen = F.grid_sample(
        image.expand(len(grid), -1, -1, -1), grid, mode='bilinear', padding_mode='border',
        align_corners=False)
    return seen.clamp_min(0.0) ** _GAMMA


def light_row(light: Floats, yaw_rad: float) -> Floats:
    """
    Return the light that falls on surfaces from all around, for ``render.cu``.

    :param light: (h, w, 3) small linear panorama.
    :param yaw_rad: how the panorama is turned about z.
    :returns: (27,): nine coefficients of RGB, of the functions of the normal ``harmonics``; their
        sum is the radiance of a white surface.
    """
    height, width = light.shape[:2]
    up = math.pi * (np.arange(height) + 0.5) / height
    around = yaw_rad - 2.0 * math.pi * ((np.arange(width) + 0.5) / width - 0.5)
    directions = np.stack([
        np.outer(np.sin(up), np.cos(around)), np.outer(np.sin(up), np.sin(around)),
        np.repeat(np.cos(up)[:, None], width, axis=1)], axis=-1).reshape(-1, 3)
    weights = np.repeat(_solid_angles(height), width)
    weights = weights / weights.sum()
    functions = harmonics(directions)
    lobes = np.repeat(_LOBE, (1, 3, 5))
    coefficients = lobes[:, None] * ((functions * weights[:, None]).T @ light.reshape(-1, 3))
    return coefficients.astype(np.float32).ravel()


def harmonics(normals: Array) -> Array:
    """
    Return the real spherical harmonics up to degree 2, scaled to a mean square of 1.

    :param normals: (N, 3) unit.
    :returns: (N, 9).
    """
    x, y, z = normals.T
    a, b = math.sqrt(3.0), math.sqrt(15.0)
    return np.stack([
        np.ones_like(x), a * x, a * y, a * z, b * x * y, b * y * z,
        math.sqrt(5.0) / 2.0 * (3.0 * z * z - 1.0), b * x * z, b / 2.0 * (x * x - y * y)], axis=1)


def _solid_angles(height: int) -> Array:
    """Return (h,) what a pixel of each row covers, up to a factor."""
    edges = np.cos(np.linspace(0.0, math.pi, height + 1))
    result: Array = edges[:-1] - edges[1:]
    return result
