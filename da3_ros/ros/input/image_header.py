# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
What an encoded image says of itself, read without decoding it.

A few bytes may ask for gigabytes, so that the size has to be known first; and decoders take images
that were cut off, and fill them up with grey.
"""

from collections.abc import Callable
from dataclasses import dataclass
import struct

from da3_ros.errors import MessageError

_JPEG_START, _JPEG_END, _PNG_END = b'\xff\xd8', b'\xff\xd9', b'IEND\xaeB`\x82'
# The frame headers of JPEG, which hold the size; three numbers between them mean other things.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SCAN = 0xDA
_JPEG_WITHOUT_LENGTH = frozenset(range(0xD0, 0xD9)) | {0x01}
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_TIFF_FORMATS = {1: 'B', 3: 'H', 4: 'I'}


@dataclass(frozen=True)
class ImageHeader:
    """
    The header of an encoded image.

    :param width: [px].
    :param height: [px].
    :param is_complete: whether the data go on to where the format says that the image ends.
    """

    width: int
    height: int
    is_complete: bool = True


def read_image_header(data: bytes) -> ImageHeader:
    """
    Read the header of an image.

    :param data: the whole image, encoded.
    :raises MessageError: if it is of none of these formats, or ends before it tells its size.
    """
    for name, starts, read in _FORMATS:
        if data.startswith(starts):
            try:
                return read(data)
            except (struct.error, IndexError, KeyError) as error:
                raise MessageError(
                    f'compressed image: got {len(data)} bytes of a {name} image that do not tell '
                    'its size, expected a whole one') from error
    start = data[:8].hex(' ') or 'nothing'
    raise MessageError(
        f'compressed image: got {len(data)} bytes that begin with {start}, expected one of '
        f'{", ".join(name for name, _, _ in _FORMATS)}')


def _read_jpeg(data: bytes) -> ImageHeader:
    size, position = None, 2
    while True:
        if data[position] != 0xFF:
            raise IndexError('no marker')
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker in _JPEG_WITHOUT_LENGTH:
            position += 2
        elif marker == _JPEG_SCAN:
            break
        else:
            if marker in _JPEG_FRAMES:
                size = struct.unpack_from('>HH', data, position + 5)
            position += 2 + struct.unpack_from('>H', data, position + 2)[0]
    if size is None:
        raise KeyError('no frame header')
    # What follows the end, zeros mostly, is padding of the camera. Within a scan it cannot occur.
    return ImageHeader(size[1], size[0], data.find(_JPEG_END, position) >= 0)


def _read_png(data: bytes) -> ImageHeader:
    width, height = struct.unpack_from('>II', data, 16)
    return ImageHeader(width, height, data.rfind(_PNG_END) >= 0)


def _read_webp(data: bytes) -> ImageHeader:
    length, kind = struct.unpack_from('<I4x4s', data, 4)
    is_complete = len(data) >= length + 8
    if kind == b'VP8X':
        canvas, = struct.unpack_from('6s', data, 24)
        width = int.from_bytes(canvas[:3], 'little') + 1
        height = int.from_bytes(canvas[3:], 'little') + 1
    elif kind == b'VP8L':
        packed, = struct.unpack_from('<I', data, 21)
        width, height = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    elif kind == b'VP8 ':
        width, height = (value & 0x3FFF for value in struct.unpack_from('<HH', data, 26))
    else:
        raise KeyError(kind)
    return ImageHeader(width, height, is_complete)


def _read_bmp(data: bytes) -> ImageHeader:
    header_size, = struct.unpack_from('<I', data, 14)
    # Rows from the top down have a negative height.
    width, height = struct.unpack_from('<HH' if header_size == 12 else '<ii', data, 18)
    return ImageHeader(abs(width), abs(height))


def _read_tiff(data: bytes) -> ImageHeader:
    order = '<' if data[0] == 0x49 else '>'
    directory, = struct.unpack_from(f'{order}I', data, 4)
    num_entries, = struct.unpack_from(f'{order}H', data, directory)
    found = {}
    for start in range(directory + 2, directory + 2 + 12 * num_entries, 12):
        tag, kind = struct.unpack_from(f'{order}HH', data, start)
        if tag in (_TIFF_WIDTH, _TIFF_HEIGHT):
            found[tag], = struct.unpack_from(f'{order}{_TIFF_FORMATS[kind]}', data, start + 8)
    return ImageHeader(found[_TIFF_WIDTH], found[_TIFF_HEIGHT])


_FORMATS: tuple[tuple[str, bytes | tuple[bytes, ...], Callable[[bytes], ImageHeader]], ...] = (
    ('JPEG', _JPEG_START, _read_jpeg),
    ('PNG', b'\x89PNG\r\n\x1a\n', _read_png),
    ('WebP', b'RIFF', _read_webp),
    ('TIFF', (b'II*\0', b'MM\0*'), _read_tiff),
    ('BMP', b'BM', _read_bmp),
)
