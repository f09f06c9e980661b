# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Encoded images, as OpenCV's encoders write them: decoded, or refused before they can hurt."""

import struct
import zlib

import cv2
from da3_ros.errors import MessageError
from da3_ros.ros.input.compressed_decoding import decode_compressed
from da3_ros.ros.input.image_header import read_image_header
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage

HEIGHT, WIDTH = 50, 70
FLAT = np.array([200, 60, 120], np.uint8)
OPTIONS = {
    '.jpg': (), 'progressive.jpg': (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    'restarts.jpg': (cv2.IMWRITE_JPEG_RST_INTERVAL, 2), '.png': (), '.bmp': (), '.tiff': (),
    'lossless.webp': (cv2.IMWRITE_WEBP_QUALITY, 101), '.webp': (cv2.IMWRITE_WEBP_QUALITY, 90),
}
PATTERNS = ('rggb', 'bggr', 'gbrg', 'grbg')


def noise(dtype=np.uint8):
    """Give a picture whose code is long."""
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (HEIGHT, WIDTH, 3), dtype)


def encode(image, kind='.jpg'):
    """Encode RGB or grey by OpenCV."""
    bgr = image[..., ::-1] if image.ndim == 3 else image
    done, data = cv2.imencode(f'.{kind.rsplit(".")[-1]}', bgr, list(OPTIONS[kind]))
    assert done
    return data.tobytes()


def decode(data, encoding='jpeg', **options):
    """Decode bytes as a message brings them."""
    return decode_compressed(CompressedImage(format=encoding, data=data), **options)


@pytest.mark.parametrize('kind', OPTIONS)
def test_what_opencv_wrote_comes_back(kind):
    """In the order red, green, blue; the header tells the size."""
    data = encode(np.tile(FLAT, (HEIGHT, WIDTH, 1)), kind)
    header = read_image_header(data)
    assert (header.width, header.height, header.is_complete) == (WIDTH, HEIGHT, True)
    assert np.abs(decode(data).astype(int) - FLAT).max() <= 3


def test_the_rarer_headers():
    """Fill bytes in a JPEG; a BMP from the top down, and one of OS/2; a TIFF of big numbers."""
    image = np.tile(FLAT, (HEIGHT, WIDTH, 1))
    jpeg = encode(image, '.jpg')
    filled = jpeg[:2] + b'\xff\xff' + jpeg[2:]
    assert np.abs(decode(filled).astype(int) - FLAT).max() <= 3
    bmp = encode(image, '.bmp')
    flipped = bmp[:22] + struct.pack('<i', -HEIGHT) + bmp[26:]
    np.testing.assert_array_equal(decode(flipped), image)
    small = struct.pack('<IHHHH', 12, WIDTH, HEIGHT, 1, 24)
    os2 = b'BM' + struct.pack('<IHHI', 26 + len(bmp) - 54, 0, 0, 26) + small + bmp[54:]
    np.testing.assert_array_equal(decode(os2), image)
    entries = struct.pack('>HHIHH', 256, 3, 1, WIDTH, 0) + struct.pack('>HHII', 257, 4, 1, HEIGHT)
    header = read_image_header(b'MM\0*' + struct.pack('>IH', 8, 2) + entries)
    assert (header.width, header.height) == (WIDTH, HEIGHT)


@pytest.mark.parametrize('kind', OPTIONS)
def test_too_many_pixels_are_refused(kind):
    """By the header alone."""
    data = encode(noise(), kind)
    decode(data, max_pixels=WIDTH * HEIGHT)
    with pytest.raises(MessageError, match=r'70x50, 3500 pixels, expected at most 3499'):
        decode(data, max_pixels=WIDTH * HEIGHT - 1)


def test_a_small_file_cannot_ask_for_gigabytes():
    """A PNG of 30000x30000 has 100 KB when it is black."""
    def chunk(name, content):
        body = name + content
        return struct.pack('>I', len(content)) + body + struct.pack('>I', zlib.crc32(body))

    packer = zlib.compressobj()
    rows = b''.join(packer.compress(bytes(1 + 30000 // 8) * 300) for _ in range(100))
    data = b'\x89PNG\r\n\x1a\n' + chunk(
        b'IHDR', struct.pack('>IIBBBBB', 30000, 30000, 1, 0, 0, 0, 0)) + chunk(
        b'IDAT', rows + packer.flush()) + chunk(b'IEND', b'')
    assert len(data) < 200_000
    with pytest.raises(MessageError, match='30000x30000'):
        decode(data)


@pytest.mark.parametrize('kind', ['.jpg', 'progressive.jpg', 'restarts.jpg', '.png', '.webp'])
def test_images_that_were_cut_off_are_refused(kind):
    """Wherever they were cut: OpenCV fills some of them up with grey."""
    data = encode(noise(), kind)
    for length in range(1, len(data) - 8, max(1, len(data) // 40)):
        with pytest.raises(MessageError, match='expected'):
            decode(data[:length])
    with pytest.raises(MessageError, match='without the end of the image'):
        decode(data[:len(data) - 40])


@pytest.mark.parametrize('kind', ['.jpg', '.png'])
def test_padding_behind_the_end_does_no_harm(kind):
    """Cameras send whole packets."""
    image = decode(encode(noise(), kind))
    np.testing.assert_array_equal(decode(encode(noise(), kind) + bytes(500)), image)


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('pattern', PATTERNS)
def test_one_channel_of_a_bayer_pattern_is_a_mosaic(pattern, bits):
    """The format names the pixels that were compressed, as image_transport writes it."""
    mosaic = np.empty((HEIGHT, WIDTH), np.uint8)
    for index, letter in enumerate(pattern):
        mosaic[index // 2::2, index % 2::2] = FLAT['rgb'.index(letter)]
    values = mosaic if bits == 8 else mosaic.astype(np.uint16) * 257
    for encoding in (f'bayer_{pattern}{bits}; png compressed ',
                     f'bayer_{pattern}{bits}; png compressed bayer_{pattern}{bits}'):
        decoded = decode(encode(values, '.png'), encoding)
        assert decoded.shape == (HEIGHT, WIDTH, 3)
        np.testing.assert_array_equal(decoded.reshape(-1, 3), np.tile(FLAT, (HEIGHT * WIDTH, 1)))


def test_a_mosaic_may_be_a_jpeg():
    """As image_transport's jpeg makes one of a machine vision camera's raw image."""
    mosaic = np.tile(np.array([[200, 60], [60, 120]], np.uint8), (HEIGHT // 2, WIDTH // 2))
    decoded = decode(encode(mosaic, '.jpg'), 'bayer_rggb8; jpeg compressed ')
    assert np.abs(decoded.reshape(-1, 3).mean(axis=0) - FLAT).max() < 5


def test_three_channels_stay_as_they_are():
    """Whatever the pixels were before."""
    image = np.tile(FLAT, (HEIGHT, WIDTH, 1))
    for encoding in ('bayer_rggb8; jpeg compressed bgr8', 'rgb8; jpeg compressed ', 'mono8', ''):
        np.testing.assert_array_equal(decode(encode(image, '.png'), encoding), image)


def test_16_bits_are_scaled_by_whom_the_caller_names():
    """Not cut to their upper half by OpenCV."""
    image = noise(np.uint16)
    seen = []

    def to_8_bits(wide):
        seen.append(wide)
        return (wide % 256).astype(np.uint8)

    decoded = decode(encode(image, '.png'), to_8_bits=to_8_bits)
    np.testing.assert_array_equal(seen[0], image)
    np.testing.assert_array_equal(decoded, image % 256)


@pytest.mark.parametrize(('data', 'complaint'), [
    (b'', 'got 0 bytes that begin with nothing, expected one of JPEG, PNG, WebP, TIFF, BMP'),
    (b'GIF89a', 'begin with 47 49 46 38'), (b'\xff\xd8', 'of a JPEG image that do not tell'),
    (b'\x89PNG\r\n\x1a\n', 'of a PNG image'), (b'RIFF\x10\0\0\0WEBPVP9 ', 'of a WebP image'),
    (b'II*\0\x08\0\0\0\x01\0', 'of a TIFF image'), (b'BM', 'of a BMP image'),
])
def test_what_is_no_image_is_named(data, complaint):
    """The error names what was got and what was expected, and shows no assertion of OpenCV."""
    with pytest.raises(MessageError) as error:
        decode(data)
    assert complaint in str(error.value)


def test_numbers_that_are_no_image_are_refused():
    """A TIFF of floating point numbers is somebody's measurement."""
    _, data = cv2.imencode('.tiff', np.ones((HEIGHT, WIDTH), np.float32))
    with pytest.raises(MessageError, match='from the decoder, expected 8 or 16 bits'):
        decode(data.tobytes())


@given(st.binary(max_size=200), st.sampled_from(sorted(OPTIONS)), st.integers(0, 200))
def test_rubbish_is_refused(data, kind, num_kept):
    """Whatever is no picture gives one clear error, whatever it begins with."""
    with pytest.raises(MessageError, match=r'compressed image|image size'):
        decode(encode(noise(), kind)[:num_kept] + data)
