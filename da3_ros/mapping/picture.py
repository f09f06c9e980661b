# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Pictures, compressed."""

import functools

import cv2
import numpy as np
from numpy.typing import NDArray

_KEPT_QUALITY = 95


def to_jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """
    Compress a picture.

    :param image: (H, W, 3) uint8 RGB.
    :param quality: 1 to 100.
    """
    bgr = np.ascontiguousarray(image[..., ::-1])
    _, jpeg = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(jpeg)


def from_jpeg(jpeg: bytes) -> NDArray[np.uint8]:
    """
    Restore a picture.

    :param jpeg: from ``to_jpeg``.
    :returns: (H, W, 3) uint8 RGB.
    """
    bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    return np.ascontiguousarray(bgr[..., ::-1], dtype=np.uint8)


class Picture:
    """A picture that is compressed once, however many keep it, and only if one does."""

    def __init__(self, image: NDArray[np.uint8]) -> None:
        """
        Hold the picture.

        :param image: (H, W, 3) uint8 RGB.
        """
        self._image = image

    @functools.cached_property
    def jpeg(self) -> bytes:
        """Return it compressed."""
        return to_jpeg(self._image, _KEPT_QUALITY)
