# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Pinhole cameras.

Intrinsics are K in pixels of their own image with pixel centres at integers (OpenCV, ROS). The
network counts from the image's corner (pixel centres at half integers): ``from_network`` and
``to_network`` are the only places where the two conventions meet.
"""

from da3_ros.geometry.arrays import Array
import numpy as np
from numpy.typing import NDArray

DepthImage = NDArray[np.float32]

_HALF_PIXEL: Array = np.array([[0.0, 0.0, 0.5], [0.0, 0.0, 0.5], [0.0, 0.0, 0.0]])


def from_network(intrinsics: Array) -> Array:
    """
    Turn corner-origin intrinsics into ones with pixel centres at integers.

    :param intrinsics: (..., 3, 3) [px], as the network takes and gives them.
    :returns: (..., 3, 3) [px].
    """
    return np.asarray(intrinsics, dtype=np.float64) - _HALF_PIXEL


def to_network(intrinsics: Array) -> Array:
    """
    Turn intrinsics with pixel centres at integers into corner-origin ones.

    :param intrinsics: (..., 3, 3) [px].
    :returns: (..., 3, 3) [px], as the network takes and gives them.
    """
    return np.asarray(intrinsics, dtype=np.float64) + _HALF_PIXEL


def unproject(depth: DepthImage, intrinsics: Array) -> DepthImage:
    """
    Back-project a depth image.

    :param depth: (H, W) z along the optical axis; NaN stays NaN.
    :param intrinsics: (3, 3) [px] of that image.
    :returns: (H, W, 3) in the camera's optical frame, in the unit of the depth.
    """
    height, width = depth.shape
    k = np.asarray(intrinsics, dtype=np.float64)
    v = ((np.arange(height) - k[1, 2]) / k[1, 1])[:, None]
    u = (np.arange(width) - k[0, 2] - k[0, 1] * v) / k[0, 0]
    points = np.empty((height, width, 3), dtype=np.float32)
    points[..., 0] = u * depth
    points[..., 1] = v * depth
    points[..., 2] = depth
    return points


def rays_of(pixels: Array, intrinsics: Array) -> Array:
    """
    Back-project pixels to depth 1.

    :param pixels: (..., 2) pixel coordinates u, v.
    :param intrinsics: (3, 3) [px].
    :returns: (..., 3) in the camera's optical frame, z = 1.
    """
    k = np.asarray(intrinsics, dtype=np.float64)
    y = (pixels[..., 1] - k[1, 2]) / k[1, 1]
    x = (pixels[..., 0] - k[0, 2] - k[0, 1] * y) / k[0, 0]
    return np.stack([x, y, np.ones_like(x)], axis=-1)


def project(points: Array, intrinsics: Array) -> Array:
    """
    Project points of the camera's optical frame.

    :param points: (..., 3); points at or behind the camera give NaN.
    :param intrinsics: (3, 3) [px].
    :returns: (..., 2) pixel coordinates u, v.
    """
    z = points[..., 2:3]
    safe = np.where(z > 0.0, z, np.nan)
    pixels: Array = (points / safe) @ np.asarray(intrinsics, dtype=np.float64).T
    return pixels[..., :2]


def rescale(intrinsics: Array, *, scale_x: float, scale_y: float) -> Array:
    """
    Carry intrinsics along when an image is resized.

    :param intrinsics: (3, 3) [px] of the old image.
    :param scale_x: new width over old width.
    :param scale_y: new height over old height.
    :returns: (3, 3) [px] of the new image.
    """
    scaled = np.diag([scale_x, scale_y, 1.0]) @ to_network(intrinsics)
    return from_network(scaled)
