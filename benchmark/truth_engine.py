# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""An engine that knows the truth of a stream and spoils it as asked: mapping without a network."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
from da3_ros.geometry import camera, rigid
from da3_ros.geometry.arrays import Array
from da3_ros.inference.prediction import WindowPrediction
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from streams import Stream


@dataclass(frozen=True)
class Faults:
    """
    How far an answer is from the truth, besides the window's own frame and unit.

    :param noise: relative standard deviation of every pixel's depth.
    :param outliers: share of pixels whose depth is up to three times too far.
    :param camera_noise: standard deviation of the cameras' angles [rad] and positions [m].
    :param drift: relative error of the depth at the end of a window against its beginning.
    :param metres: standard deviation of the logarithm of a window's unit, which is then called a
        metre; 0 for units at random.
    """

    noise: float = 0.01
    outliers: float = 0.2
    camera_noise: float = 0.0
    drift: float = 0.0
    metres: float = 0.0


class TruthEngine:
    """Answer every window with the truth, moved and scaled at random, plus faults."""

    def __init__(self, stream: Stream, faults: Faults, *, seed: int = 0) -> None:
        """
        Prepare to recognise a stream's images.

        :param stream: with depth.
        :param faults: how wrong to be.
        :param seed: of everything random.
        """
        self._stream = stream
        self._faults = faults
        self._random = np.random.default_rng(seed)
        self._thumbnails = np.stack([_thumbnail(frame.image) for frame in stream.frames])

    def infer(
        self,
        images: Sequence[NDArray[np.uint8]],
        *,
        poses: Array | None = None,
        intrinsics: Array | None = None,
    ) -> WindowPrediction:
        """Infer one window; poses to condition on are ignored."""
        del poses
        numbers = [self._recognise(image) for image in images]
        metres = self._faults.metres
        unit = metres * self._random.standard_normal() if metres else (
            self._random.uniform(-0.7, 0.7))
        scale = float(np.exp(unit))
        window_T_world = rigid.from_rotation_translation(
            Rotation.random(random_state=self._random).as_matrix(), self._random.normal(size=3)
        )
        window_T_camera = window_T_world @ self._stream.poses[numbers] @ self._shake(len(numbers))
        window_T_camera[:, :3, 3] *= scale
        truth = np.stack([self._stream.depths[number] for number in numbers])
        if intrinsics is None:
            known = [self._stream.frames[number].intrinsics for number in numbers]
            intrinsics = camera.to_network(np.stack(known))
        return WindowPrediction(
            images=np.stack(images),
            depth=(scale * self._spoil(truth)).astype(np.float32),
            confidence=None,
            sky=None,
            intrinsics=intrinsics,
            poses=window_T_camera,
            is_metric=metres > 0.0,
            appearance=np.stack([_thumbnail(image).ravel() for image in images]),
        )

    def _recognise(self, image: NDArray[np.uint8]) -> int:
        """Find an image, however it was compressed meanwhile."""
        difference = np.abs(self._thumbnails - _thumbnail(image)).sum(axis=(1, 2))
        return int(np.argmin(difference))

    def _spoil(self, depth: NDArray[np.float32]) -> Array:
        drift = np.linspace(1.0, 1.0 + self._faults.drift, len(depth))[:, None, None]
        noise = self._faults.noise * self._random.standard_normal(depth.shape)
        noisy = depth * drift * (1.0 + noise)
        is_outlier = self._random.random(depth.shape) < self._faults.outliers
        return np.where(is_outlier, noisy * self._random.uniform(1.2, 3.0, depth.shape), noisy)

    def _shake(self, count: int) -> Array:
        shake = np.tile(np.eye(4), (count, 1, 1))
        angles = self._faults.camera_noise * self._random.standard_normal((count, 3))
        shake[:, :3, :3] = Rotation.from_rotvec(angles).as_matrix()
        shake[:, :3, 3] = self._faults.camera_noise * self._random.standard_normal((count, 3))
        return shake


def _thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    gray = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    return cv2.resize(gray, (32, 24), interpolation=cv2.INTER_AREA).astype(np.float32)
