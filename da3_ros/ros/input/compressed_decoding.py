# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""CompressedImage messages become RGB arrays, or one clear error."""

from collections.abc import Callable
import re
from typing import TYPE_CHECKING

import cv2
from da3_ros.errors import MessageError
from da3_ros.ros.input.image_decoding import (
    BAYER_CODES,
    by_whole_range,
    check_num_pixels,
    RgbImage,
    WideImage,
)
from da3_ros.ros.input.image_header import read_image_header
from da3_ros.ros.parameters.settings import CameraSettings
import numpy as np

if TYPE_CHECKING:
    from sensor_msgs.msg import CompressedImage

_FLAGS = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
_BAYER = re.compile(r'bayer_(rggb|bggr|gbrg|grbg)(8|16)\b')


def decode_compressed(
    message: 'CompressedImage', *, max_pixels: int = CameraSettings.max_pixels,
    to_8_bits: Callable[[WideImage], RgbImage] = by_whole_range,
) -> RgbImage:
    """
    Decode an image.

    As in image_transport, the format begins with what the pixels were before: one channel of a
    Bayer pattern is a mosaic, while three channels have their colours already.

    :param message: JPEG, PNG, WebP, TIFF or BMP.
    :param max_pixels: larger images are refused before they are decoded.
    :param to_8_bits: scales images of 16 bits.
    :returns: (H, W, 3) uint8 RGB.
    :raises MessageError: if it is too large, cut off, or cannot be read.
    """
    data = bytes(message.data)
    header = read_image_header(data)
    check_num_pixels(header.width, header.height, max_pixels)
    if not header.is_complete:
        raise MessageError(
            f'compressed image of {header.width}x{header.height}: got {len(data)} bytes without '
            'the end of the image, expected a whole one')
    bayer = _BAYER.match(message.format)
    # Asked for any colour, OpenCV takes some pictures for grey ones.
    colours = cv2.IMREAD_COLOR if bayer is None else cv2.IMREAD_ANYCOLOR
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS | colours)
    except cv2.error as error:
        raise MessageError(f'compressed image: {error}') from error
    if image is None or image.dtype not in (np.uint8, np.uint16):
        got = 'nothing' if image is None else str(image.dtype)
        raise MessageError(
            f'compressed image of format {message.format!r}: got {got} from the decoder, expected '
            '8 or 16 bits per value')
    is_mosaic = bayer is not None and image.ndim == 2
    rgb = cv2.cvtColor(image, BAYER_CODES[bayer[1]] if is_mosaic else cv2.COLOR_BGR2RGB)
    return rgb if rgb.dtype == np.uint8 else to_8_bits(rgb)
