# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Images of every encoding, layout and length become RGB, or one clear error."""

import cv2
from da3_ros.errors import MessageError
from da3_ros.ros.conversions import to_bytes
from da3_ros.ros.input.image_decoding import decode_image, ENCODINGS
import numpy as np
import pytest
from sensor_msgs.msg import Image

HEIGHT, WIDTH = 8, 12
FLAT = np.array([200, 60, 120], np.uint8)


def flat_image():
    """Give an image of one colour, which every encoding can carry."""
    return np.tile(FLAT, (HEIGHT, WIDTH, 1))


def encode(rgb, encoding):
    """Give the values of an encoding, (rows, values per row)."""
    if encoding.endswith('16') or encoding == '16UC1':
        eight = {'16UC1': 'mono8'}.get(encoding, encoding[:-2] + '8')
        return encode(rgb, eight).astype(np.uint16) * 257
    name = {'8UC1': 'mono8', '8UC3': 'bgr8', '8UC4': 'bgra8'}.get(encoding, encoding)
    if name.startswith('bayer'):
        channels = {'r': 0, 'g': 1, 'b': 2}
        pattern = [channels[letter] for letter in name[6:10]]
        values = np.empty(rgb.shape[:2], np.uint8)
        for index, channel in enumerate(pattern):
            values[index // 2::2, index % 2::2] = rgb[index // 2::2, index % 2::2, channel]
        return values
    if name.startswith(('nv', 'yu', 'uyvy')):
        return encode_yuv(rgb, name)
    codes = {'rgb8': None, 'bgr8': cv2.COLOR_RGB2BGR, 'rgba8': cv2.COLOR_RGB2RGBA,
             'bgra8': cv2.COLOR_RGB2BGRA, 'mono8': cv2.COLOR_RGB2GRAY}
    values = rgb if codes[name] is None else cv2.cvtColor(rgb, codes[name])
    return values.reshape(rgb.shape[0], -1)


def encode_yuv(rgb, name):
    """Give one of the encodings with half the colours, in limited range (BT.601)."""
    planar = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
    y, chroma = planar[:HEIGHT], planar[HEIGHT:]
    u, v = int(chroma.ravel()[0]), int(chroma.ravel()[-1])
    if name == 'nv24':
        return np.vstack([y, np.tile(np.uint8((u, v)), (HEIGHT, WIDTH)).reshape(-1, WIDTH)])
    if name.startswith('nv'):
        pair = (u, v) if name == 'nv12' else (v, u)
        return np.vstack([y, np.tile(np.uint8(pair), (HEIGHT // 2, WIDTH // 2))])
    values = np.empty((HEIGHT, 2 * WIDTH), np.uint8)
    luma, colour = (1, 0) if name in ('uyvy', 'yuv422') else (0, 1)
    values[:, luma::2] = y
    values[:, colour::4], values[:, colour + 2::4] = u, v
    return values


def to_message(values, encoding, *, height=HEIGHT, width=WIDTH, padding=0, is_bigendian=False):
    """Make a message of values, with padding after each row."""
    if is_bigendian:
        values = values.byteswap()
    rows = values.view(np.uint8).reshape(values.shape[0], -1)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=173)
    message = Image(height=height, width=width, encoding=encoding, step=padded.shape[1])
    message.is_bigendian = int(is_bigendian)
    message.data = to_bytes(padded)
    return message


@pytest.mark.parametrize('is_bigendian', [False, True])
@pytest.mark.parametrize('padding', [0, 1, 5, 64])
@pytest.mark.parametrize('encoding', ENCODINGS)
def test_every_encoding_padding_and_byte_order(encoding, padding, is_bigendian):
    """A flat colour survives, or becomes its grey where the encoding has no colours."""
    values = encode(flat_image(), encoding)
    decoded = decode_image(
        to_message(values, encoding, padding=padding, is_bigendian=is_bigendian))
    assert decoded.dtype == np.uint8
    assert decoded.shape == (HEIGHT, WIDTH, 3)
    is_grey = encoding in ('mono8', 'mono16', '8UC1', '16UC1')
    grey = cv2.cvtColor(flat_image(), cv2.COLOR_RGB2GRAY)[0, 0]
    expected = np.full(3, grey) if is_grey else FLAT
    # Half colours in eight bits lose a little.
    tolerance = 3 if encoding.startswith(('nv', 'yu', 'uyvy')) else 0
    difference = np.abs(decoded.astype(int) - expected)
    assert difference.max() <= tolerance, decoded[0, 0]


def test_pixels_stay_where_they_are():
    """Padding that is no whole pixel does not shear the picture."""
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    decoded = decode_image(to_message(image.reshape(HEIGHT, -1), 'rgb8', padding=7))
    np.testing.assert_array_equal(decoded, image)


def test_last_row_may_lack_its_padding():
    """Some drivers send exactly the pixels."""
    message = to_message(encode(flat_image(), 'rgb8'), 'rgb8', padding=4)
    message.data = message.data[:-4]
    np.testing.assert_array_equal(decode_image(message), flat_image())


@pytest.mark.parametrize(('fields', 'complaint'), [
    ({'encoding': '32FC1'}, "image encoding: got '32FC1', expected one of 16UC1"),
    ({'encoding': ''}, "image encoding: got ''"),
    ({'height': 0}, 'image size: got 12x0 rgb8, expected at least one pixel'),
    ({'width': 0}, 'image size: got 0x8 rgb8, expected at least one pixel'),
    ({'step': 35}, 'image step: got 35 bytes for 12x8 rgb8, expected at least 36'),
    ({'height': 9}, 'image data: got 288 bytes for 12x9 rgb8 with step 36, expected at least 324'),
])
def test_what_cannot_be_is_named(fields, complaint):
    """The error names what was got and what was expected."""
    message = to_message(encode(flat_image(), 'rgb8'), 'rgb8')
    for name, value in fields.items():
        setattr(message, name, value)
    with pytest.raises(MessageError) as error:
        decode_image(message)
    assert complaint in str(error.value)


def test_odd_size_has_no_half_colours():
    """NV12 of an odd size does not exist."""
    message = to_message(np.zeros((12, 11), np.uint8), 'nv12', width=11)
    with pytest.raises(MessageError, match='expected even numbers'):
        decode_image(message)


def test_nv24_has_colours_for_every_pixel():
    """Each pixel has its own; the values are OpenCV's for the same colours at half size."""
    random = np.random.default_rng(0)
    y = random.integers(16, 236, (HEIGHT, WIDTH)).astype(np.uint8)
    half = random.integers(16, 241, (HEIGHT // 2, WIDTH // 2, 2)).astype(np.uint8)
    full = half.repeat(2, axis=0).repeat(2, axis=1)
    nv12 = to_message(np.vstack([y, half.reshape(-1, WIDTH)]), 'nv12')
    nv24 = to_message(np.vstack([y, full.reshape(-1, WIDTH)]), 'nv24')
    difference = decode_image(nv24).astype(int) - decode_image(nv12)
    assert np.abs(difference).max() <= 2


def test_more_pixels_than_allowed_are_refused():
    """Before anything is made of them."""
    message = to_message(encode(flat_image(), 'rgb8'), 'rgb8')
    assert decode_image(message, max_pixels=WIDTH * HEIGHT).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(MessageError, match=r'12x8, 96 pixels, expected at most 95 \(camera.max_p'):
        decode_image(message, max_pixels=WIDTH * HEIGHT - 1)
