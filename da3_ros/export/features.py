# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Spots of an image that are found again in others, and where they lie in the world."""

from dataclasses import dataclass

import cv2
from da3_ros.geometry import camera, rigid
from da3_ros.geometry.arrays import Array
from da3_ros.mapping.keyframe import PosedKeyframe
import numpy as np
from numpy.typing import NDArray

# Around a spot the depth differs by less than this share, or it lies on an edge.
_MAX_STEP = 0.1


@dataclass(frozen=True, eq=False)
class Shown:
    """
    An image as it is shown in a model.

    :param image: (H, W, 3) uint8 RGB.
    :param intrinsics: (3, 3) [px] of it, pixel centres at integers.
    """

    image: NDArray[np.uint8]
    intrinsics: Array


@dataclass(frozen=True, eq=False)
class Features:
    """
    What is known of the spots of one image.

    :param pixels: (M, 2) measured in the image, pixel centres at integers.
    :param descriptors: (M, 128) uint8.
    :param colours: (M, 3) uint8.
    :param positions: (M, 3) in the frame, by depth and pose.
    :param frame_T_camera: (4, 4).
    :param intrinsics: (3, 3) [px] of the image.
    :param size: width and height of the image.
    """

    pixels: Array
    descriptors: NDArray[np.uint8]
    colours: NDArray[np.uint8]
    positions: Array
    frame_T_camera: Array
    intrinsics: Array
    size: tuple[int, int]

    def __len__(self) -> int:
        """Return the number of spots."""
        return len(self.pixels)

    def project(self, positions: Array) -> Array:
        """
        Return where points of the frame would be in the image.

        :param positions: (N, 3).
        :returns: (N, 2) [px], NaN behind the camera.
        """
        camera_T_frame = rigid.inverse(self.frame_T_camera)
        return camera.project(rigid.transform_points(camera_T_frame, positions), self.intrinsics)


def find_features(
    keyframe: PosedKeyframe, shown: Shown, count: int, *, min_confidence: float
) -> Features:
    """
    Find spots whose depth is known (SIFT, Lowe 2004).

    :param keyframe: with depth and pose in the frame.
    :param shown: its image, of any size.
    :param count: most spots.
    :param min_confidence: of the depth.
    """
    grey = cv2.cvtColor(shown.image, cv2.COLOR_RGB2GRAY)
    points, descriptors = cv2.SIFT.create(nfeatures=count).detectAndCompute(grey, None)
    pixels = np.array([point.pt for point in points], np.float64).reshape(-1, 2)[:count]
    rays = camera.rays_of(pixels, shown.intrinsics)
    depth = _depth_at(keyframe, camera.project(rays, keyframe.intrinsics), min_confidence)
    known = np.flatnonzero(np.isfinite(depth))
    # One spot may come in several orientations: once is enough.
    _, first = np.unique(pixels[known], axis=0, return_index=True)
    known = known[np.sort(first)]
    found = np.zeros((0, 128)) if descriptors is None else descriptors
    columns, rows = np.round(pixels[known]).astype(np.intp).T
    return Features(
        pixels[known], found[known].astype(np.uint8), shown.image[rows, columns],
        rigid.transform_points(keyframe.odom_T_camera, rays[known] * depth[known, None]),
        keyframe.odom_T_camera, shown.intrinsics, grey.shape[::-1])


def _depth_at(keyframe: PosedKeyframe, pixels: Array, min_confidence: float) -> Array:
    """Return the depth at some pixels, NaN where it is not sure."""
    height, width = keyframe.depth.shape
    columns, rows = np.round(pixels).astype(np.intp).T
    is_inside = (columns >= 0) & (rows >= 0) & (columns < width) & (rows < height)
    columns, rows = np.where(is_inside, (columns, rows), 0)
    # Of what is not known, neither its surroundings are.
    known = np.where(np.isfinite(keyframe.depth), keyframe.depth, np.float32(np.inf))
    square = np.ones((3, 3), np.uint8)
    low, high = cv2.erode(known, square), cv2.dilate(known, square)
    is_sure = is_inside & (high[rows, columns] < (1.0 + _MAX_STEP) * low[rows, columns])
    if keyframe.confidence is not None:
        is_sure &= keyframe.confidence[rows, columns] >= min_confidence
    return np.where(is_sure, keyframe.depth[rows, columns].astype(np.float64), np.nan)
