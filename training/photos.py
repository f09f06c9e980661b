# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Photographs on the surfaces of the training's scenes.

A photo's material has the 13 columns of ``da3_ros.simulation.scene``, read as:

    0 minus one minus the photo's number, 1-3 tint, 4-5 offset [tiles], 6 height of a tile over
    its width, 7 tiles per metre, 8 cosine and 9 sine of the angle, 10 seed of the shift from face
    to face (0: none; negative: every other tile is mirrored, so that tiles meet), 11 contrast,
    12 gloss.

On the device a photo is the levels of ``LEVELS``, box filtered in linear light, one texel a word:
bytes red, green and blue of 255 * sqrt(linear).
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
from da3_ros.simulation.scene import Shape
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

Floats = NDArray[np.float32]

SIZE = 160
LEVELS = (160, 80, 40, 20, 10, 5, 1)
TEXELS = sum(n * n for n in LEVELS)

# Sources whose photos show a surface from the front, and can be tiled.
SURFACES = ('ambientcg_tiles', 'gazebo_models', 'cc0_pbr', 'aws_worlds')
_PHOTO_SHARE = 0.6
_PLAIN_SHARE = 0.2
_LARGE_M = 1.6
_BATCH = 64


@dataclass(frozen=True)
class PhotoList:
    """
    Which photos there are; small enough to be sent to other processes.

    :param count: K.
    :param surfaces: numbers of those that can be tiled.
    """

    count: int = 0
    surfaces: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class PhotoBank:
    """
    Photos, coded.

    :param coded: (bytes,) JPEGs one after another.
    :param offsets: (K + 1,) where they begin.
    :param photos: which there are.
    """

    coded: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    photos: PhotoList

    @classmethod
    def empty(cls) -> 'PhotoBank':
        """Return a bank without photos."""
        return cls(np.zeros(0, np.uint8), np.zeros(1, np.int64), PhotoList())


def load_photos(path: Path) -> PhotoBank:
    """
    Read a bank.

    :param path: written by ``prepare_photos``.
    """
    with np.load(path) as file:
        names = file['source_names'].tolist()
        wanted = [names.index(name) for name in SURFACES if name in names]
        surfaces = np.flatnonzero(np.isin(file['source'], wanted))
        offsets = file['offsets']
        return PhotoBank(
            file['data'], offsets, PhotoList(len(offsets) - 1, tuple(map(int, surfaces))))


def decode(bank: PhotoBank, device: torch.device) -> Tensor:
    """
    Decode a bank to a device.

    :param bank: the photos.
    :param device: where.
    :returns: (K * TEXELS,) int32, at least one word.
    """
    count = bank.photos.count
    words = torch.zeros(max(count * TEXELS, 1), dtype=torch.int32, device=device)
    for first in range(0, count, _BATCH):
        images = [_decode(bank, number) for number in range(first, min(first + _BATCH, count))]
        packed = pack_levels(np.stack(images), device).flatten()
        words[first * TEXELS:first * TEXELS + len(packed)] = packed
    return words


def _decode(bank: PhotoBank, number: int) -> NDArray[np.uint8]:
    part = bank.coded[bank.offsets[number]:bank.offsets[number + 1]]
    image = cv2.cvtColor(cv2.imdecode(part, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return np.asarray(image, dtype=np.uint8)


def pack_levels(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """
    Filter photos and pack their levels.

    :param images: (K, SIZE, SIZE, 3) sRGB.
    :param device: where to.
    :returns: (K, TEXELS) int32.
    """
    coded = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float() / 255.0
    linear = torch.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    levels = [torch.nn.functional.adaptive_avg_pool2d(linear, n).flatten(2) for n in LEVELS]
    parts = (255.0 * torch.cat(levels, dim=2).clamp(0.0, 1.0).sqrt()).round().to(torch.int32)
    return parts[:, 0] | (parts[:, 1] << 8) | (parts[:, 2] << 16)


def paint(
    photos: PhotoList, primitives: Floats, materials: Floats, rng: np.random.Generator
) -> Floats:
    """
    Give surfaces photos or plain colours; nothing but the looks changes.

    Rows that share a material share the new one, as the walls of a room do.

    :param photos: which there are.
    :param primitives: (P, 16).
    :param materials: (P, 13).
    :param rng: source of randomness.
    :returns: (P, 13).
    """
    painted = materials.copy()
    if not photos.count:
        return painted
    _, group = np.unique(materials, axis=0, return_inverse=True)
    group = np.asarray(group).reshape(-1)
    framed = _pictures(primitives)
    for number in range(int(group.max()) + 1):
        rows = np.flatnonzero(group == number)
        kind = rng.uniform()
        if framed[rows[0]]:
            painted[rows] = _picture(rng, photos, primitives[rows[0]])
        elif kind < _PHOTO_SHARE:
            painted[rows] = _surface(rng, photos, 2.0 * float(primitives[rows, 4:7].max()))
        elif kind < _PHOTO_SHARE + _PLAIN_SHARE:
            painted[rows, 0] = 0.0
            painted[rows, 4:7] = painted[rows, 1:4] * (1.0 - rng.uniform(0.0, 0.1))
            painted[rows, 11] = rng.uniform(0.0, 0.1)
        painted[rows, 12] = materials[rows[0], 12]
    return painted


def _surface(rng: np.random.Generator, photos: PhotoList, extent_m: float) -> Floats:
    """Draw a photo for something of some size: tiled, or wrapped around it."""
    is_large = extent_m > _LARGE_M
    is_tiled = len(photos.surfaces) > 0 and rng.uniform() < (0.7 if is_large else 0.2)
    if is_tiled:
        metres = float(np.exp(rng.uniform(np.log(0.4), np.log(2.0))))
    elif is_large:
        metres = float(np.exp(rng.uniform(np.log(1.5), np.log(4.0))))
    else:
        metres = float(np.clip(extent_m * np.exp(rng.uniform(-0.3, 0.7)), 0.1, 3.0))
    turn = rng.uniform()
    angle = 0.0 if turn < 0.6 else (
        0.5 * np.pi * int(rng.integers(1, 4)) if turn < 0.85 else rng.uniform(0.0, 2.0 * np.pi))
    number = photos.surfaces[rng.integers(len(photos.surfaces))] if is_tiled else (
        rng.integers(photos.count))
    seed = 1 + int(rng.integers((1 << 20) - 1))
    return _row(
        rng, int(number), metres, float(angle), offset=(rng.uniform(), rng.uniform()),
        aspect=float(np.exp(rng.uniform(-0.3, 0.3))), seed=seed if is_tiled else -seed)


def _picture(rng: np.random.Generator, photos: PhotoList, primitive: Floats) -> Floats:
    """Draw a photo for what hangs in a frame: one, in its middle."""
    width, height = 2.0 * float(primitive[5]), 2.0 * float(primitive[6])  # its face looks along x
    fills = rng.uniform() < 0.5
    return _row(
        rng, int(rng.integers(photos.count)), width if fills else max(width, height), 0.0,
        offset=(0.5, 0.5), aspect=height / width if fills else 1.0, seed=0)


def _row(
    rng: np.random.Generator, number: int, tile_m: float, angle: float, *,
    offset: tuple[float, float], aspect: float, seed: int,
) -> Floats:
    tint = np.exp(rng.uniform(np.log(0.7), np.log(1.4))) * rng.uniform(0.9, 1.1, 3)
    return np.array([
        -1.0 - number, *tint, *offset, aspect, 1.0 / tile_m, np.cos(angle), np.sin(angle), seed,
        rng.uniform(0.6, 1.2), 0.0], dtype=np.float32)


def _pictures(primitives: Floats) -> NDArray[np.bool_]:
    """Find what ``furniture.picture`` puts into frames: it follows its frame, a little smaller."""
    marks = np.zeros(len(primitives), dtype=np.bool_)
    size = primitives[:, 4:7]
    flat = (primitives[:, 0] == Shape.BOX) & np.isclose(size[:, 0], 0.015, atol=1e-5)
    rims = size[:-1, 1:] - size[1:, 1:]
    marks[1:] = flat[:-1] & flat[1:] & np.isclose(rims, 0.05, atol=1e-4).all(axis=1)
    return marks
