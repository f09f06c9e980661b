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

"""How alike two pictures look, to find places that were seen before."""

import cv2
import numpy as np
from numpy.typing import NDArray

Descriptor = NDArray[np.float32]

_SIZE_PX = (96, 72)
_CELLS = (6, 8)
_ORIENTATIONS = 8


def describe(image: NDArray[np.uint8]) -> Descriptor:
    """
    Summarise a picture by where it has edges of which direction.

    Histograms of gradient directions in a grid of cells (Dalal and Triggs, CVPR 2005), which do
    not depend on the brightness; normalised so that the dot product of two is their correlation.

    :param image: (H, W, 3) uint8 RGB.
    :returns: (384,) float32.
    """
    gray = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(gray, _SIZE_PX, interpolation=cv2.INTER_AREA)
    x = cv2.Sobel(small, cv2.CV_32F, 1, 0)
    y = cv2.Sobel(small, cv2.CV_32F, 0, 1)
    direction = np.mod(np.arctan2(y, x), np.pi) * (_ORIENTATIONS / np.pi)
    strength = np.sqrt(np.hypot(x, y))
    lower = np.floor(direction)
    share = direction - lower
    rows, columns = _CELLS
    histograms = np.empty((rows, columns, _ORIENTATIONS), dtype=np.float32)
    for i in range(_ORIENTATIONS):
        votes = np.where(np.mod(lower, _ORIENTATIONS) == i, 1.0 - share, 0.0)
        votes += np.where(np.mod(lower + 1.0, _ORIENTATIONS) == i, share, 0.0)
        histograms[..., i] = cv2.resize(
            votes * strength, (columns, rows), interpolation=cv2.INTER_AREA
        )
    centred = histograms.ravel() - histograms.mean()
    descriptor: Descriptor = centred / max(float(np.linalg.norm(centred)), 1e-6)
    return descriptor
