# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Image messages become RGB arrays, or one clear error.

Layout and length are checked here. The colours are cv_bridge's, for the formats that it knows;
nothing here needs ROS, so that recordings are decoded by the same code as live images.
"""

from collections.abc import Callable
from dataclasses import dataclass
import sys
from typing import TYPE_CHECKING

import cv2
from da3_ros.errors import MessageError
from da3_ros.ros.parameters.settings import CameraSettings
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sensor_msgs.msg import Image

RgbImage = NDArray[np.uint8]
WideImage = NDArray[np.uint16]

_BIG_ENDIAN_HOST = int(sys.byteorder == 'big')
_NV24 = 'nv24'
# From Y, U, V in limited range to RGB (BT.601), as OpenCV does it for the formats that it knows.
_YUV_TO_RGB = np.array([
    [1.164, 0.0, 1.596], [1.164, -0.391, -0.813], [1.164, 2.018, 0.0]])
_YUV_ZERO = np.array([16.0, 128.0, 128.0])


# OpenCV names a pattern by its second row.
BAYER_CODES = {
    'rggb': cv2.COLOR_BayerBG2RGB, 'bggr': cv2.COLOR_BayerRG2RGB,
    'gbrg': cv2.COLOR_BayerGR2RGB, 'grbg': cv2.COLOR_BayerGB2RGB,
}


@dataclass(frozen=True)
class _Layout:
    """
    Memory of one encoding.

    :param channels: values per pixel.
    :param itemsize: bytes per value.
    :param opencv_code: conversion to RGB, or None where there is none to do.
    :param halves: rows of ``width`` values per two image rows: 3 share colours among four pixels.
    """

    channels: int
    itemsize: int = 1
    opencv_code: int | None = None
    halves: int = 2

    @property
    def has_half_colours(self) -> bool:
        """Tell whether two pixels of a row share their colour."""
        return self.channels == 2 or self.halves == 3

    def num_rows(self, height: int) -> int:
        """Return the rows in memory of an image of that height."""
        return height * self.halves // 2


def _layouts() -> dict[str, _Layout]:
    layouts = {
        '8UC1': _Layout(1, 1, cv2.COLOR_GRAY2RGB),
        '8UC3': _Layout(3, 1, cv2.COLOR_BGR2RGB),
        '8UC4': _Layout(4, 1, cv2.COLOR_BGRA2RGB),
        '16UC1': _Layout(1, 2, cv2.COLOR_GRAY2RGB),
        'yuv422': _Layout(2, 1, cv2.COLOR_YUV2RGB_UYVY),
        'uyvy': _Layout(2, 1, cv2.COLOR_YUV2RGB_UYVY),
        'yuv422_yuy2': _Layout(2, 1, cv2.COLOR_YUV2RGB_YUY2),
        'yuyv': _Layout(2, 1, cv2.COLOR_YUV2RGB_YUY2),
        'nv12': _Layout(1, 1, cv2.COLOR_YUV2RGB_NV12, 3),
        'nv21': _Layout(1, 1, cv2.COLOR_YUV2RGB_NV21, 3),
        _NV24: _Layout(1, 1, None, 6),
    }
    for bits in (8, 16):
        size = bits // 8
        layouts[f'rgb{bits}'] = _Layout(3, size)
        layouts[f'bgr{bits}'] = _Layout(3, size, cv2.COLOR_BGR2RGB)
        layouts[f'rgba{bits}'] = _Layout(4, size, cv2.COLOR_RGBA2RGB)
        layouts[f'bgra{bits}'] = _Layout(4, size, cv2.COLOR_BGRA2RGB)
        layouts[f'mono{bits}'] = _Layout(1, size, cv2.COLOR_GRAY2RGB)
        for pattern, code in BAYER_CODES.items():
            layouts[f'bayer_{pattern}{bits}'] = _Layout(1, size, code)
    return layouts


_LAYOUTS = _layouts()
ENCODINGS = tuple(sorted(_LAYOUTS))
"""The encodings that can be decoded."""


def by_whole_range(image: WideImage) -> RgbImage:
    """
    Scale all of 16 bits to 8.

    :param image: (H, W, 3) uint16.
    """
    return np.asarray(np.rint(image * (255.0 / 65535.0)), dtype=np.uint8)


def decode_image(
    message: 'Image', *, max_pixels: int = CameraSettings.max_pixels,
    to_8_bits: Callable[[WideImage], RgbImage] = by_whole_range,
) -> RgbImage:
    """
    Decode an image.

    :param message: of any encoding in ``ENCODINGS``, any row padding, any byte order.
    :param max_pixels: larger images are refused.
    :param to_8_bits: scales images of 16 bits.
    :returns: (H, W, 3) uint8.
    :raises MessageError: if the encoding is unknown, or size, step and data do not fit.
    """
    layout = _LAYOUTS.get(message.encoding)
    if layout is None:
        raise MessageError(
            f'image encoding: got {message.encoding!r}, expected one of {", ".join(ENCODINGS)}'
        )
    check_num_pixels(message.width, message.height, max_pixels)
    _check_size(message, layout)
    values = _tight_values(message, layout)
    try:
        if message.encoding == _NV24:
            return _decode_nv24(values, message.height)
        pixels = values if layout.channels == 1 else values.reshape(
            message.height, message.width, layout.channels)
        image = np.asarray(
            pixels if layout.opencv_code is None else cv2.cvtColor(pixels, layout.opencv_code))
        return image if layout.itemsize == 1 else to_8_bits(image)
    except cv2.error as error:
        raise MessageError(
            f'image of {message.encoding}, {message.width}x{message.height}: {error}'
        ) from error


def check_num_pixels(width: int, height: int, max_pixels: int) -> None:
    """
    Refuse what would take the machine's memory.

    :param width: of an image [px].
    :param height: of it [px].
    :param max_pixels: of an image.
    :raises MessageError: if it has more.
    """
    if width * height > max_pixels:
        raise MessageError(
            f'image size: got {width}x{height}, {width * height} pixels, expected at most '
            f'{max_pixels} (camera.max_pixels)')


def _decode_nv24(values: NDArray[np.unsignedinteger], height: int) -> RgbImage:
    """Decode a plane of Y and one of U and V in turn, all of full size."""
    colours = values[height:].reshape(*values[:height].shape, 2)
    yuv = np.dstack([values[:height], colours])
    offset = -_YUV_TO_RGB @ _YUV_ZERO
    return np.asarray(cv2.transform(yuv, np.column_stack([_YUV_TO_RGB, offset])), dtype=np.uint8)


def _check_size(message: 'Image', layout: _Layout) -> None:
    width, height, step = message.width, message.height, message.step
    size = f'{width}x{height} {message.encoding}'
    if width == 0 or height == 0:
        raise MessageError(f'image size: got {size}, expected at least one pixel')
    if (layout.has_half_colours and width % 2) or (layout.halves == 3 and height % 2):
        raise MessageError(f'image size: got {size}, expected even numbers')
    row = width * layout.channels * layout.itemsize
    if step < row:
        raise MessageError(f'image step: got {step} bytes for {size}, expected at least {row}')
    needed = step * (layout.num_rows(height) - 1) + row
    if len(message.data) < needed:
        raise MessageError(
            f'image data: got {len(message.data)} bytes for {size} with step {step}, expected '
            f'at least {needed}'
        )


def _tight_values(message: 'Image', layout: _Layout) -> NDArray[np.unsignedinteger]:
    """Return the values without padding, (rows, W * C), in the machine's byte order."""
    num_rows = layout.num_rows(message.height)
    row = message.width * layout.channels * layout.itemsize
    data = np.frombuffer(message.data, np.uint8)
    rows = np.lib.stride_tricks.as_strided(
        data, (num_rows, row), (message.step, 1), writeable=False
    )
    values = np.ascontiguousarray(rows).view(f'u{layout.itemsize}')
    if layout.itemsize > 1 and bool(message.is_bigendian) != bool(_BIG_ENDIAN_HOST):
        values = values.byteswap()
    return values
