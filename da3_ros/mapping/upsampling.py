# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Depth at the size of a larger image of the same camera.

Joint bilateral upsampling (Kopf et al. 2007) over the four pixels around, with one change: only
depths that agree with that of the pixel whose colour fits best are averaged, so that between two
surfaces no point hangs in the air.
"""

import cv2
from da3_ros.geometry.arrays import Array
from da3_ros.geometry.camera import DepthImage
import numpy as np
from numpy.typing import NDArray

RgbImage = NDArray[np.uint8]

# Standard deviation of the colour of one surface, in grey levels.
_COLOUR_SIGMA = 10.0
# Depths that differ by less than this share are of one surface.
_MAX_STEP = 0.05
_MIN_WEIGHT = 1e-6
_WEIGHTS = (np.exp(-0.5 * (np.arange(256) / _COLOUR_SIGMA) ** 2) + _MIN_WEIGHT).astype(np.float32)
_MEAN = np.full((1, 3), 1.0 / 3.0, np.float32)


def upsample_depth(
    depth: DepthImage, image: RgbImage, larger: RgbImage, small_T_large: Array
) -> DepthImage:
    """
    Bring depth to the size of a larger image, along that image's edges.

    :param depth: (h, w), NaN unknown, +inf sky.
    :param image: (h, w, 3) RGB, what the depth is of.
    :param larger: (H, W, 3) RGB, of the same camera.
    :param small_T_large: (3, 3) from its pixels to those of the depth, both counted from the
        corner: a scaling and a shift.
    :returns: (H, W); NaN also where the depth does not reach.
    """
    height, width = larger.shape[:2]
    rows, down, in_rows = _neighbours(height, depth.shape[0], *small_T_large[1, 1:])
    columns, right, in_columns = _neighbours(
        width, depth.shape[1], small_T_large[0, 0], small_T_large[0, 2])
    with np.errstate(divide='ignore'):
        inverse = (1.0 / depth).astype(np.float32)
    weights, values = [], []
    for row, row_share in zip(rows, (1.0 - down, down), strict=True):
        for column, column_share in zip(columns, (1.0 - right, right), strict=True):
            difference = cv2.transform(cv2.absdiff(larger, image[row][:, column]), _MEAN)
            near = np.outer(row_share, column_share).astype(np.float32)
            weights.append(cv2.LUT(difference, _WEIGHTS) * near)
            values.append(inverse[row][:, column])
    result = _mean_of_one_surface(weights, values)
    result[~in_rows] = np.nan
    result[:, ~in_columns] = np.nan
    return result


def upsample_confidence(
    confidence: NDArray[np.float32], size: tuple[int, int], small_T_large: Array
) -> NDArray[np.float32]:
    """
    Bring confidence to a larger size: that of the nearest pixel.

    :param confidence: (h, w).
    :param size: H and W.
    :param small_T_large: as in ``upsample_depth``.
    :returns: (H, W).
    """
    rows, columns = (
        np.clip(_positions(length, scale, shift).round(), 0, limit - 1).astype(np.intp)
        for length, limit, scale, shift in zip(
            size, confidence.shape, small_T_large[[1, 0], [1, 0]], small_T_large[[1, 0], 2],
            strict=True))
    return np.ascontiguousarray(confidence[rows][:, columns])


def _positions(length: int, scale: float, shift: float) -> Array:
    """Return where pixels lie among the small ones, centres at integers."""
    return np.asarray((np.arange(length) + 0.5) * scale + shift - 0.5)


def _neighbours(
    length: int, limit: int, scale: float, shift: float
) -> tuple[tuple[NDArray[np.intp], NDArray[np.intp]], Array, NDArray[np.bool_]]:
    """Return the small pixels on both sides, the share of the second, and who has any."""
    position = _positions(length, scale, shift)
    inside = (position > -1.0) & (position < limit)
    position = np.clip(position, 0.0, limit - 1.0)
    first = np.floor(position).astype(np.intp)
    return (first, np.minimum(first + 1, limit - 1)), position - first, inside


def _mean_of_one_surface(
    weights: list[NDArray[np.float32]], inverse: list[NDArray[np.float32]]
) -> DepthImage:
    """Average the inverse depths (H, W) that agree with the one of the largest weight."""
    best, most = inverse[0].copy(), weights[0].copy()
    for weight, value in zip(weights[1:], inverse[1:], strict=True):
        is_better = weight > most
        np.copyto(best, value, where=is_better)
        np.copyto(most, weight, where=is_better)
    step = np.float32(_MAX_STEP) * best
    total, mean = np.zeros_like(best), np.zeros_like(best)
    with np.errstate(divide='ignore', invalid='ignore'):
        for weight, value in zip(weights, inverse, strict=True):
            # Not so where either is unknown: then nothing is added, and 0 / 0 is unknown too.
            agrees = np.abs(value - best) <= step
            np.add(total, weight, out=total, where=agrees)
            np.add(mean, weight * value, out=mean, where=agrees)
        return np.asarray(total / mean, dtype=np.float32)
