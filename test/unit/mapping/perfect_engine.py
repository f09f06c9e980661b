# Copyright 2026 The da3_ros authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""
An engine that knows the truth: exact depth and cameras, but in a gauge of its own per window.

Frames carry their index in their first pixels, so that the engine can look their truth up.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from da3_ros.geometry import camera, rigid
from da3_ros.inference.prediction import WindowPrediction
from da3_ros.mapping.keyframe import Frame
import numpy as np
from scipy.spatial.transform import Rotation

HEIGHT, WIDTH = 48, 64
INTRINSICS = np.array([[50.0, 0.0, 31.5], [0.0, 50.0, 23.5], [0.0, 0.0, 1.0]])
PERIOD_NS = 100_000_000


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
        rays = camera.unproject(np.ones((HEIGHT, WIDTH), np.float32), INTRINSICS)
        directions = rays.reshape(-1, 3).astype(np.float64) @ world_T_camera[:3, :3].T
        walls = np.where(directions > 0.0, self.upper, self.lower) - world_T_camera[:3, 3]
        with np.errstate(divide='ignore'):
            distance = np.where(directions == 0.0, np.inf, walls / directions)
        return distance.min(axis=1).reshape(HEIGHT, WIDTH)


def level_camera(position, heading_rad):
    """Return world_T_camera of a level camera that looks along a heading (0 = x)."""
    rotation = Rotation.from_euler('z', heading_rad).as_matrix() @ rigid.BODY_R_OPTICAL
    return rigid.from_rotation_translation(rotation, np.asarray(position, dtype=np.float64))


def frames(count, *, first=0, intrinsics=INTRINSICS):
    """Make frames that name their own index."""
    for index in range(first, first + count):
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        image[0, 0] = index >> 16, index >> 8 & 255, index & 255
        yield Frame(stamp_ns=1_000 + index * PERIOD_NS, image=image, intrinsics=intrinsics)


def index_of(image):
    """Read the index that a frame carries."""
    high, middle, low = (int(value) for value in image[0, 0])
    return high << 16 | middle << 8 | low


class PerfectEngine:
    """Answer with the truth, moved and scaled at random per window, plus the asked noise."""

    def __init__(
        self, poses, *, room=None, noise=0.0, outliers=0.0, camera_noise=0.0, random_gauge=True,
        is_metric=False, seed=0,
    ):
        """
        Remember the truth.

        :param poses: (N, 4, 4) world_T_camera of the frames by their index.
        :param noise: relative standard deviation of the depth.
        :param outliers: share of pixels with a depth that is far too large.
        :param camera_noise: standard deviation of the cameras' angles [rad] and positions [m].
        :param random_gauge: whether every window has a frame and a unit of its own.
        :param is_metric: whether to claim metres (with a unit gauge, rightly).
        """
        self.poses = np.asarray(poses)
        self.room = Room() if room is None else room
        self.noise, self.outliers, self.camera_noise = noise, outliers, camera_noise
        self.random_gauge, self.is_metric = random_gauge, is_metric
        self.random = np.random.default_rng(seed)
        self.windows: list[list[int]] = []

    def infer(self, images: Sequence, *, poses=None, intrinsics=None):
        """Infer one window; poses to condition on are ignored."""
        del poses
        indices = [index_of(image) for image in images]
        self.windows.append(indices)
        scale, window_T_world = self._gauge()
        truth = np.stack([self.room.depth(self.poses[index]) for index in indices])
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
        return camera.to_network(np.stack([INTRINSICS] * count)) if given is None else given
