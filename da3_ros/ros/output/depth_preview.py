# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Depth as a picture that a person can look at: near is red, far is blue, unknown is black."""

import cv2
import numpy as np
from numpy.typing import NDArray

# The share of the pixels that may be nearer or farther than the ends of the colours.
_OUTLIERS = 0.02
# How much of the way to its own range a picture moves that of the colours.
_FOLLOW = 0.2
_MIN_SPAN = 1e-6


class DepthPreview:
    """
    Draw the depth images of one camera.

    Colours are even in the inverse of the depth. Their range follows the images slowly, so that a
    thing does not change its colour because another comes into view.
    """

    def __init__(self) -> None:
        """Know no range yet."""
        self._range: NDArray[np.float64] | None = None

    def draw(self, depth: NDArray[np.float32]) -> NDArray[np.uint8]:
        """
        Draw a depth image.

        :param depth: (H, W); NaN is unknown, infinity is sky.
        :returns: (H, W, 3) uint8 RGB.
        """
        is_known = depth > 0.0
        inverse = 1.0 / np.where(is_known, depth, np.inf)
        self._follow(inverse[is_known & np.isfinite(depth)])
        far, near = (0.0, 1.0) if self._range is None else self._range
        share = (inverse - far) / max(near - far, _MIN_SPAN)
        grey = np.rint(255.0 * np.clip(share, 0.0, 1.0)).astype(np.uint8)
        colours = cv2.cvtColor(cv2.applyColorMap(grey, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
        colours[~is_known] = 0
        return np.asarray(colours)

    def _follow(self, inverse: NDArray[np.float64]) -> None:
        if not inverse.size:
            return
        found = np.quantile(inverse, (_OUTLIERS, 1.0 - _OUTLIERS))
        if self._range is None:
            self._range = found
        self._range = self._range + _FOLLOW * (found - self._range)
