# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""How far the picture has moved since a reference picture, cheaply."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

GrayImage = NDArray[np.uint8]

# Motion is measured on images of this width: a 1080p frame costs as much as a VGA one.
_WIDTH_PX = 320
# Narrow images are made smaller than that, and not larger than this in their height.
_MAX_HEIGHT_PX = 640
_MAX_FEATURES = 200
_MIN_FEATURES = 12
# Smallest eigenvalue of a corner, in OpenCV's unit: what noise of 6 grey levels does not reach.
_MIN_CORNER = 1e-4
_FLOW_WINDOW_PX = (15, 15)
_FLOW_LEVELS = 3
# Tracks that do not return to where they came from are wrong.
_MAX_ROUND_TRIP_PX = 1.0
# Without features, a mean change of the grey values this large counts as leaving the view.
_MAX_GRAY_CHANGE = 40.0


@dataclass(frozen=True)
class Motion:
    """
    Motion of the picture since the reference.

    :param parallax: median displacement of what is still in view, as a share of the image width.
    :param overlap: share of the reference's features that are still in view.
    """

    parallax: float
    overlap: float


def small_gray(image: NDArray[np.uint8]) -> GrayImage:
    """
    Shrink an image for motion and sharpness, and smooth the sensor's noise away.

    :param image: (H, W, 3) uint8 RGB.
    :returns: (h, w) uint8, w = 320 unless the image is more than twice as high as it is wide.
    """
    height, width = image.shape[:2]
    scale = min(_WIDTH_PX / width, _MAX_HEIGHT_PX / height)
    # Skipping pixels first makes the cost of averaging independent of the camera's resolution.
    step = max(1, int(0.5 / scale))
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    gray = cv2.cvtColor(np.ascontiguousarray(image[::step, ::step]), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, (5, 5), 0), dtype=np.uint8)


def sharpness(gray: GrayImage) -> float:
    """
    Measure the sharpness of a picture: how much its slopes vary, where they vary least.

    Motion blurs in one direction, so that the two axes are judged apart.

    :param gray: from ``small_gray``.
    """
    return min(
        float(cv2.Sobel(gray, cv2.CV_32F, dx=dx, dy=dy).var()) for dx, dy in ((2, 0), (0, 2))
    )


class ImageMotion:
    """
    Track corners of a reference picture through the pictures that follow.

    Every picture is compared with the reference itself, not with the one before, so that
    nothing drifts while the camera stands still.
    """

    def __init__(self, reference: GrayImage) -> None:
        """
        Find the corners to track.

        :param reference: from ``small_gray``.
        """
        self._reference = reference
        corners = cv2.goodFeaturesToTrack(
            reference, maxCorners=_MAX_FEATURES, qualityLevel=0.01, minDistance=8
        )
        found = np.empty((0, 1, 2), np.float32) if corners is None else corners
        x, y = found[:, 0].astype(np.intp).T
        is_corner = cv2.cornerMinEigenVal(reference, 3)[y, x] > _MIN_CORNER
        self._corners = found[is_corner]
        self._guess = self._corners.copy()

    def measure(self, gray: GrayImage) -> Motion:
        """
        Compare a picture with the reference.

        :param gray: of the reference's size.
        """
        if len(self._corners) < _MIN_FEATURES:
            return self._measure_without_features(gray)
        tracked, found = self._track(gray)
        self._guess = np.where(found[:, None, None], tracked, self._guess)
        overlap = float(found.mean())
        if not found.any():
            return Motion(1.0, 0.0)
        displacement = np.linalg.norm((tracked - self._corners)[found, 0], axis=1)
        return Motion(float(np.median(displacement)) / gray.shape[1], overlap)

    def _track(self, gray: GrayImage) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return where the corners are now (M, 1, 2), and which are still in view (M,)."""
        forth, found = _flow(self._reference, gray, self._corners, guess=self._guess)
        back, returned = _flow(gray, self._reference, forth, guess=self._corners)
        round_trip = np.linalg.norm((back - self._corners)[:, 0], axis=1)
        height, width = gray.shape
        x, y = forth[:, 0, 0], forth[:, 0, 1]
        inside = (x >= 0.0) & (x < width) & (y >= 0.0) & (y < height)
        is_steady = round_trip < _MAX_ROUND_TRIP_PX
        return forth, found & returned & inside & is_steady

    def _measure_without_features(self, gray: GrayImage) -> Motion:
        """Judge a bare picture (a white wall) by its grey values."""
        change = float(cv2.absdiff(gray, self._reference).mean())
        overlap = max(0.0, 1.0 - change / _MAX_GRAY_CHANGE)
        return Motion(0.0, overlap)


def _flow(
    source: GrayImage,
    target: GrayImage,
    points: NDArray[np.float32],
    *,
    guess: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Follow points (M, 1, 2) from one picture to another; say which were found, (M,)."""
    moved, status, _ = cv2.calcOpticalFlowPyrLK(
        source, target, points, guess.copy(), winSize=_FLOW_WINDOW_PX, maxLevel=_FLOW_LEVELS,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    return np.asarray(moved, dtype=np.float32), np.asarray(status)[:, 0] > 0
