# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What cv_bridge knows of the encodings of images, and how it converts between them."""

from dataclasses import dataclass
import re

import cv2
import numpy as np

_GENERIC = re.compile(r'(8U|8S|16U|16S|32S|32F|64F)(?:C([0-9]+))?')
_DTYPES = {
    '8U': 'uint8', '8S': 'int8', '16U': 'uint16', '16S': 'int16',
    '32S': 'int32', '32F': 'float32', '64F': 'float64',
}
# OpenCV names a Bayer pattern by its second row.
_OPENCV_BAYER = {'rggb': 'BayerBG', 'bggr': 'BayerRG', 'gbrg': 'BayerGR', 'grbg': 'BayerGB'}


class CvBridgeError(TypeError):
    """The conversion is not possible."""


@dataclass(frozen=True)
class Encoding:
    """
    Memory layout of one encoding, and its colour where it has one.

    :param colour: OpenCV's name of the colour (GRAY, RGB, ...), None for generic encodings.
    """

    name: str
    dtype: np.dtype
    num_channels: int
    colour: str | None = None

    @property
    def opencv_type(self) -> str:
        """Name of OpenCV's type, such as 8UC3."""
        depth = next(key for key, name in _DTYPES.items() if name == self.dtype.name)
        return f'{depth}C{self.num_channels}'


def parse_encoding(name: str) -> Encoding:
    """
    Look an encoding up by its ROS name.

    :raises CvBridgeError: if cv_bridge does not know it.
    """
    if name in _NAMED:
        return _NAMED[name]
    match = _GENERIC.fullmatch(name)
    if match is None:
        raise CvBridgeError(f'Unrecognized image encoding [{name}]')
    return Encoding(name, np.dtype(_DTYPES[match[1]]), int(match[2] or 1))


def convert(image: np.ndarray, source: Encoding, target: Encoding) -> np.ndarray:
    """
    Convert colour first, then depth.

    :raises CvBridgeError: if the conversion makes no sense or is not supported.
    """
    if source.name == target.name:
        return image.copy()
    if source.colour is None and target.colour is not None:
        raise CvBridgeError(f'[{source.name}] is not a color format. but [{target.name}] is. '
                            'The conversion does not make sense')
    if target.colour is None:
        if source.num_channels != target.num_channels:
            raise CvBridgeError(f'[{source.name}] and [{target.name}] do not have the same '
                                'number of channels')
    elif source.colour != target.colour or source.colour.startswith('Bayer'):
        image = cv2.cvtColor(image, _colour_code(source, target))
    return _convert_depth(image, target.dtype)


def _colour_code(source: Encoding, target: Encoding) -> int:
    if target.colour.startswith('YUV2'):
        name = None
    elif source.colour.startswith('YUV2'):
        name = f'COLOR_YUV2{target.colour}_{source.colour.removeprefix("YUV2")}'
    else:
        name = f'COLOR_{source.colour}2{target.colour}'
    if source.colour.startswith('Bayer') and target.colour not in ('GRAY', 'RGB', 'BGR'):
        name = None
    code = getattr(cv2, name, None) if name else None
    if code is None:
        raise CvBridgeError(f'Unsupported conversion from [{source.name}] to [{target.name}]')
    return code


def _convert_depth(image: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Scale between 8 and 16 bits (any signedness, as cv_bridge does), saturate the rest."""
    if image.dtype == dtype:
        return image.copy()
    scaled = image
    if image.dtype.itemsize == 1 and dtype.itemsize == 2:
        scaled = image * (65535.0 / 255.0)
    elif image.dtype.itemsize == 2 and dtype.itemsize == 1:
        scaled = image * (255.0 / 65535.0)
    if dtype.kind == 'f':
        return scaled.astype(dtype)
    limits = np.iinfo(dtype)
    rounded = np.rint(scaled.astype(np.float64))
    return np.clip(rounded, limits.min, limits.max).astype(dtype)


def _named_encodings() -> dict[str, Encoding]:
    named = [
        Encoding('yuv422', np.dtype('uint8'), 2, 'YUV2UYVY'),
        Encoding('yuv422_yuy2', np.dtype('uint8'), 2, 'YUV2YUY2'),
    ]
    for bits in (8, 16):
        dtype = np.dtype(f'uint{bits}')
        named.append(Encoding(f'mono{bits}', dtype, 1, 'GRAY'))
        for colour in ('rgb', 'bgr', 'rgba', 'bgra'):
            named.append(Encoding(f'{colour}{bits}', dtype, len(colour), colour.upper()))
        for pattern, colour in _OPENCV_BAYER.items():
            named.append(Encoding(f'bayer_{pattern}{bits}', dtype, 1, colour))
    return {encoding.name: encoding for encoding in named}


_NAMED = _named_encodings()
