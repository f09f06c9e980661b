# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Images as the standard transports of image_transport send them, for networks that are thin.

``compressed`` is JPEG. ``compressedDepth`` is a header of twelve bytes (the number 0, then the
floats A and B) before a PNG of 16-bit codes; a code c stands for the depth A / (c - B), and the
code 0 for none. Codes are thus even in the inverse of the depth: exact nearby, coarse far away.
"""

import array
import struct

import cv2
from da3_ros.mapping.picture import to_jpeg
from da3_ros.ros.message_types import CompressedImage, Header
from da3_ros.ros.parameters.settings import CompressedSettings
import numpy as np
from numpy.typing import NDArray

_INVERSE_DEPTH = 0
_MAX_CODE = 65535
# Stronger compression takes several times as long and saves little.
_PNG_LEVEL = 1


def to_jpeg_message(
    image: NDArray[np.uint8], settings: CompressedSettings, header: Header
) -> CompressedImage:
    """
    Make what the transport ``compressed`` sends for an rgb8 image.

    :param image: (H, W, 3) uint8 RGB.
    :param settings: quality.
    :param header: of the message.
    """
    jpeg = to_jpeg(image, settings.jpeg_quality)
    return _to_message('rgb8; jpeg compressed bgr8', jpeg, header)


def to_depth_message(
    depth: NDArray[np.float32], settings: CompressedSettings, header: Header
) -> CompressedImage:
    """
    Make what the transport ``compressedDepth`` sends for a 32FC1 image.

    :param depth: (H, W); what is not finite, beyond the range, or too near for a code is lost.
    :param settings: quantization and range.
    :param header: of the message.
    """
    a = settings.depth_quantization * (settings.depth_quantization + 1.0)
    b = 1.0 - a / settings.depth_max_m
    with np.errstate(divide='ignore', over='ignore', invalid='ignore'):
        codes = np.rint(np.float32(a) / depth + np.float32(b))
        has_code = (codes >= 1.0) & (codes <= _MAX_CODE) & (depth < settings.depth_max_m)
    codes = np.where(has_code, codes, 0.0).astype(np.uint16)
    _, png = cv2.imencode('.png', codes, [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL])
    data = struct.pack('<iff', _INVERSE_DEPTH, a, b) + png.tobytes()
    return _to_message('32FC1; compressedDepth png', data, header)


def _to_message(encoding: str, data: bytes, header: Header) -> CompressedImage:
    return CompressedImage(header=header, format=encoding, data=array.array('B', data))
