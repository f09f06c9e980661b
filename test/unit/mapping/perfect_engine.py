# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
An engine that knows the truth: exact depth and cameras, but in a gauge of its own per window.

Frames carry their index in their top rows, so that the engine can look their truth up.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
from da3_ros.geometry import camera, rigid
from da3_ros.inference.prediction import WindowPrediction
from da3_ros.mapping.keyframe import Frame
import numpy as np
from scipy.spatial.transform import Rotation

HEIGHT, WIDTH = 48, 64
INTRINSICS = np.array([[50.0, 0.0, 31.5], [0.0, 50.0, 23.5], [0.0, 0.0, 1.0]])
PERIOD_NS = 100_000_000
_BIT_PX = 4


@dataclass(frozen=True)
class Room:
    """
    The inside of an axis-aligned box, seen from within.

    :param lower: corner with the smallest coordinates.
    :param upper: opposite corner.
    """

    lower: tuple[float, float, float] = (-8.0, -6.0, -1.2)
    upper: tuple[float, float, float] = (9.0, 7.0, 1.8)

    def depth(self, world_T_camera):
        """Render the exact z-depth, (HEIGHT, WIDTH)."""
        walls = np.where(
            self._directions(world_T_camera) > 0.0, self.upper, self.lower
        ) - world_T_camera[:3, 3]
        with np.errstate(divide='ignore', invalid='ignore'):
            distance = walls / self._directions(world_T_camera)
        return np.where(np.isnan(distance), np.inf, distance).min(axis=1).reshape(HEIGHT, WIDTH)

    def image(self, world_T_camera):
        """Render walls with a pattern that nowhere repeats, (HEIGHT, WIDTH, 3) uint8."""
        distance = self.depth(world_T_camera).reshape(-1, 1)
        x, y, z = (world_T_camera[:3, 3] + distance * self._directions(world_T_camera)).T
        gray = (
            np.sin(1.3 * x + 0.4 * y * y) + np.sin(2.1 * y + 0.3 * x * x) + np.sin(4.0 * z + x * y)
        )
        levels = np.clip(128.0 + 40.0 * gray, 0, 255).astype(np.uint8)
        return np.repeat(levels.reshape(HEIGHT, WIDTH, 1), 3, axis=2)

    @staticmethod
    def _directions(world_T_camera):
        rays = camera.unproject(np.ones((HEIGHT, WIDTH), np.float32), INTRINSICS)
        return rays.reshape(-1, 3).astype(np.float64) @ world_T_camera[:3, :3].T


def level_camera(position, heading_rad):
    """Return world_T_camera of a level camera that looks along a heading (0 = x)."""
    rotation = Rotation.from_euler('z', heading_rad).as_matrix() @ rigid.BODY_R_OPTICAL
    return rigid.from_rotation_translation(rotation, np.asarray(position, dtype=np.float64))


def frames(count, *, first=0, intrinsics=INTRINSICS, pictures=None):
    """Make frames that name their own index; black, or with given pictures."""
    for index in range(first, first + count):
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8) if pictures is None else pictures[index]
        bits = np.array([index >> bit & 1 for bit in range(WIDTH // _BIT_PX)], dtype=np.uint8)
        image[:_BIT_PX] = 255 * bits.repeat(_BIT_PX)[None, :, None]
        yield Frame(stamp_ns=1_000 + index * PERIOD_NS, image=image, intrinsics=intrinsics)


def index_of(image):
    """Read the index that a frame carries; JPEG does not hurt it."""
    row = image[:_BIT_PX, :WIDTH].mean(axis=(0, 2)).reshape(-1, _BIT_PX).mean(axis=1)
    return sum(1 << bit for bit, level in enumerate(row) if level > 127.0)


def _appearance(image):
    """Summarise what the room looks like, (48,)."""
    small = cv2.resize(image[_BIT_PX:, :, 0], (8, 6), interpolation=cv2.INTER_AREA)
    return small.ravel().astype(np.float32)


class PerfectEngine:
    """Answer with the truth, moved and scaled at random per window, plus the asked noise."""

    def __init__(
        self, poses, *, room=None, noise=0.0, outliers=0.0, camera_noise=0.0, drift=0.0,
        random_gauge=True, is_metric=False, seed=0,
    ):
        """
        Remember the truth.

        :param poses: (N, 4, 4) world_T_camera of the frames by their index.
        :param noise: relative standard deviation of the depth.
        :param outliers: share of pixels with a depth that is far too large.
        :param camera_noise: standard deviation of the cameras' angles [rad] and positions [m].
        :param drift: relative error of the depth at the end of a window against its beginning.
        :param random_gauge: whether every window has a frame and a unit of its own.
        :param is_metric: whether to claim metres (with a unit gauge, rightly).
        """
        self.poses = np.asarray(poses)
        self.room = Room() if room is None else room
        self.noise, self.outliers, self.camera_noise = noise, outliers, camera_noise
        self.drift, self.random_gauge, self.is_metric = drift, random_gauge, is_metric
        self.random = np.random.default_rng(seed)
        self.windows: list[list[int]] = []

    def infer(self, images: Sequence, *, poses=None, intrinsics=None):
        """Infer one window; poses to condition on are ignored."""
        del poses
        indices = [index_of(image) for image in images]
        self.windows.append(indices)
        scale, window_T_world = self._gauge()
        truth = np.stack([self.room.depth(self.poses[index]) for index in indices])
        truth *= np.linspace(1.0, 1.0 + self.drift, len(indices))[:, None, None]
        window_T_camera = window_T_world @ self.poses[indices] @ self._shake(len(indices))
        window_T_camera[:, :3, 3] *= scale
        return WindowPrediction(
            images=np.stack(images),
            depth=(scale * self._spoil(truth)).astype(np.float32),
            confidence=np.full(truth.shape, 2.0, np.float32),
            sky=None,
            intrinsics=self._intrinsics(len(images), intrinsics),
            poses=window_T_camera,
            is_metric=self.is_metric,
            appearance=np.stack([_appearance(image) for image in images]),
        )

    def _gauge(self):
        if not self.random_gauge:
            return 1.0, np.eye(4)
        rotation = Rotation.random(random_state=self.random).as_matrix()
        gauge = rigid.from_rotation_translation(rotation, self.random.normal(size=3))
        return float(np.exp(self.random.uniform(-0.7, 0.7))), gauge

    def _shake(self, count):
        shake = np.tile(np.eye(4), (count, 1, 1))
        angles = self.camera_noise * self.random.standard_normal((count, 3))
        shake[:, :3, :3] = Rotation.from_rotvec(angles).as_matrix()
        shake[:, :3, 3] = self.camera_noise * self.random.standard_normal((count, 3))
        return shake

    def _spoil(self, depth):
        depth = depth * (1.0 + self.noise * self.random.standard_normal(depth.shape))
        wrong = self.random.random(depth.shape) < self.outliers
        return np.where(wrong, depth * self.random.uniform(1.2, 3.0, depth.shape), depth)

    @staticmethod
    def _intrinsics(count, given):
        own = camera.to_network(np.stack([INTRINSICS] * count))
        return own if given is None else np.where(np.isnan(given), own, given)
