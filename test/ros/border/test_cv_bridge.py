# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What da3_ros relies on in cv_bridge: the real one and the stand-in must pass."""

from cv_bridge import CvBridge, CvBridgeError
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

BRIDGE = CvBridge()
COLOUR = (200, 120, 40)  # red, green, blue
# ITU-R BT.601, limited range, from 8 bit red, green, blue.
BT601 = np.array([
    [65.74, 129.06, 25.06], [-37.95, -74.49, 112.44], [112.44, -94.15, -18.29],
]) / 256
ENCODINGS = {
    'mono8': (np.uint8, ()), 'mono16': (np.uint16, ()),
    'rgb8': (np.uint8, (3,)), 'bgr8': (np.uint8, (3,)),
    'rgba8': (np.uint8, (4,)), 'bgra8': (np.uint8, (4,)),
    'rgb16': (np.uint16, (3,)), 'bgra16': (np.uint16, (4,)),
    'bayer_rggb8': (np.uint8, ()), 'bayer_grbg16': (np.uint16, ()),
    'yuv422': (np.uint8, (2,)), 'yuv422_yuy2': (np.uint8, (2,)),
    '8UC3': (np.uint8, (3,)), '16UC1': (np.uint16, ()),
    '32FC1': (np.float32, ()), '64FC2': (np.float64, (2,)),
}


def random_image(encoding: str, height: int = 6, width: int = 8) -> np.ndarray:
    dtype, channels = ENCODINGS[encoding]
    generator = np.random.default_rng(7)
    values = generator.integers(0, 256, (height, width, *channels))
    return (values * 257 if dtype is np.uint16 else values).astype(dtype)


def flat_mosaic(pattern: str, dtype: type = np.uint8, size: int = 12) -> np.ndarray:
    values = dict(zip('rgb', COLOUR, strict=True))
    tile = np.array([values[letter] for letter in pattern]).reshape(2, 2)
    scale = 257 if dtype is np.uint16 else 1
    return (np.tile(tile, (size // 2, size // 2)) * scale).astype(dtype)


def message_of(image: np.ndarray, encoding: str) -> Image:
    return BRIDGE.cv2_to_imgmsg(image, encoding)


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_round_trip_is_exact(encoding: str) -> None:
    image = random_image(encoding)
    message = BRIDGE.cv2_to_imgmsg(image, encoding, Header(frame_id='camera'))
    assert (message.height, message.width, message.encoding) == (6, 8, encoding)
    assert message.step == image[0].nbytes
    assert message.header.frame_id == 'camera'
    assert not message.is_bigendian
    for desired in ('passthrough', encoding):
        back = BRIDGE.imgmsg_to_cv2(message, desired)
        assert back.dtype == image.dtype
        np.testing.assert_array_equal(back, image)


def test_passthrough_names_the_type_of_the_array() -> None:
    assert BRIDGE.cv2_to_imgmsg(np.zeros((2, 3), np.float32)).encoding == '32FC1'
    assert BRIDGE.cv2_to_imgmsg(np.zeros((2, 3, 3), np.uint8)).encoding == '8UC3'


@pytest.mark.parametrize('encoding', ['mono8', 'rgb8', 'bgra8', 'mono16', '32FC1', 'yuv422'])
def test_row_padding_of_whole_pixels_is_cut(encoding: str) -> None:
    image = random_image(encoding)
    padded = np.concatenate([image, image[:, :3]], axis=1)
    message = message_of(padded, encoding)
    message.width = image.shape[1]
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(message), image)


@pytest.mark.parametrize('encoding', ['mono16', '16UC1', 'rgb16', '32FC1'])
def test_big_endian_comes_out_in_native_order(encoding: str) -> None:
    image = random_image(encoding)
    message = message_of(image.astype(image.dtype.newbyteorder('>')), encoding)
    assert message.is_bigendian
    back = BRIDGE.imgmsg_to_cv2(message)
    assert back.dtype.isnative
    np.testing.assert_array_equal(back, image)


def test_big_endian_flag_means_nothing_for_bytes() -> None:
    message = message_of(random_image('rgb8'), 'rgb8')
    message.is_bigendian = 1
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(message), random_image('rgb8'))


@pytest.mark.parametrize('source, target, order', [
    ('rgb8', 'bgr8', [2, 1, 0]), ('bgr8', 'rgb8', [2, 1, 0]),
    ('rgba8', 'rgb8', [0, 1, 2]), ('bgra8', 'rgb8', [2, 1, 0]), ('bgra8', 'rgba8', [2, 1, 0, 3]),
])
def test_channels_are_reordered(source: str, target: str, order: list[int]) -> None:
    image = random_image(source)
    converted = BRIDGE.imgmsg_to_cv2(message_of(image, source), target)
    np.testing.assert_array_equal(converted, image[:, :, order])


def test_an_added_alpha_is_opaque() -> None:
    converted = BRIDGE.imgmsg_to_cv2(message_of(random_image('rgb8'), 'rgb8'), 'rgba8')
    np.testing.assert_array_equal(converted[:, :, :3], random_image('rgb8'))
    assert (converted[:, :, 3] == 255).all()


@pytest.mark.parametrize('source, target', [
    ('mono16', 'mono8'), ('mono16', 'rgb8'), ('rgb16', 'rgb8'), ('rgb16', 'bgr8'),
    ('bgra16', 'rgb8'),
])
def test_sixteen_bits_scale_to_eight(source: str, target: str) -> None:
    deep = random_image(source)
    shallow = {'mono16': 'mono8', 'rgb16': 'rgb8', 'bgra16': 'bgra8'}[source]
    expected = BRIDGE.imgmsg_to_cv2(message_of((deep // 257).astype(np.uint8), shallow), target)
    converted = BRIDGE.imgmsg_to_cv2(message_of(deep, source), target)
    assert converted.dtype == np.uint8
    np.testing.assert_array_equal(converted, expected)


def test_sixteen_bits_are_rounded_and_eight_bits_fill_the_range() -> None:
    deep = np.array([[0, 128, 129, 65535]], np.uint16)
    np.testing.assert_array_equal(
        BRIDGE.imgmsg_to_cv2(message_of(deep, 'mono16'), 'mono8'), [[0, 0, 1, 255]])
    shallow = np.array([[0, 1, 255]], np.uint8)
    np.testing.assert_array_equal(
        BRIDGE.imgmsg_to_cv2(message_of(shallow, 'mono8'), 'mono16'), [[0, 257, 65535]])


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_bayer_mosaic_of_one_colour_gives_that_colour(pattern: str, bits: int) -> None:
    mosaic = flat_mosaic(pattern, np.uint16 if bits == 16 else np.uint8)
    message = message_of(mosaic, f'bayer_{pattern}{bits}')
    colours = BRIDGE.imgmsg_to_cv2(message, 'rgb8')
    assert colours.shape == (12, 12, 3)
    assert colours.dtype == np.uint8
    assert (colours == COLOUR).all()
    assert (BRIDGE.imgmsg_to_cv2(message, 'bgr8') == COLOUR[::-1]).all()


def test_both_orders_of_yuv422_give_the_colour() -> None:
    y, u, v = BT601 @ COLOUR + (16.0, 128.0, 128.0)
    uyvy = np.empty((4, 6, 2), np.uint8)
    uyvy[:, 0::2, 0], uyvy[:, 1::2, 0], uyvy[:, :, 1] = round(u), round(v), round(y)
    yuyv = np.ascontiguousarray(uyvy[:, :, ::-1])
    for image, encoding in ((uyvy, 'yuv422'), (yuyv, 'yuv422_yuy2')):
        converted = BRIDGE.imgmsg_to_cv2(message_of(image, encoding), 'rgb8')
        assert np.abs(converted - np.array(COLOUR)).max() <= 3


def test_generic_types_change_depth_without_colour() -> None:
    depth_mm = np.array([[0, 1500, 65535]], np.uint16)
    converted = BRIDGE.imgmsg_to_cv2(message_of(depth_mm, '16UC1'), '32FC1')
    assert converted.dtype == np.float32
    np.testing.assert_array_equal(converted, depth_mm)
    image = random_image('bgr8')
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(message_of(image, 'bgr8'), '8UC3'), image)


@pytest.mark.parametrize('source, target', [
    ('16UC1', 'mono16'), ('8UC3', 'rgb8'), ('32FC1', 'mono8'), ('rgb8', '8UC1'),
    ('rgb8', 'bayer_rggb8'), ('bayer_grbg16', 'bayer_grbg8'), ('bayer_rggb8', 'rgba8'),
    ('rgb8', 'yuv422'), ('rgb8', 'nonsense'),
])
def test_senseless_conversions_are_refused(source: str, target: str) -> None:
    dtype, channels = ENCODINGS[source]
    with pytest.raises(CvBridgeError):
        BRIDGE.imgmsg_to_cv2(message_of(np.zeros((4, 4, *channels), dtype), source), target)


@pytest.mark.parametrize('encoding', ['', 'nonsense', 'RGB8', 'nv12', 'uyvy', 'yuyv'])
def test_unknown_encodings_are_refused(encoding: str) -> None:
    message = message_of(random_image('yuv422'), 'yuv422')
    message.encoding = encoding
    with pytest.raises(CvBridgeError):
        BRIDGE.imgmsg_to_cv2(message, 'rgb8')


def test_data_that_are_too_short_are_refused() -> None:
    message = message_of(random_image('rgb8'), 'rgb8')
    message.data = message.data[:-1]
    with pytest.raises(TypeError):
        BRIDGE.imgmsg_to_cv2(message, 'rgb8')


def test_an_array_must_have_the_type_of_its_encoding() -> None:
    with pytest.raises(CvBridgeError):
        BRIDGE.cv2_to_imgmsg(np.zeros((4, 4), np.float64), '32FC1')
    with pytest.raises(TypeError):
        BRIDGE.cv2_to_imgmsg([[0, 1]], 'mono8')


@pytest.mark.parametrize('encoding', ['rgb8', 'mono8', '16UC1', '32FC1'])
def test_rows_of_a_view_are_sent_without_gaps(encoding: str) -> None:
    image = random_image(encoding)
    message = message_of(image[1:5, 2:7], encoding)
    np.testing.assert_array_equal(BRIDGE.imgmsg_to_cv2(message), image[1:5, 2:7])


def test_png_is_exact_and_rgb_is_asked_for_by_name() -> None:
    bgr = random_image('bgr8')
    message = BRIDGE.cv2_to_compressed_imgmsg(bgr, 'png')
    assert message.format == 'png'
    np.testing.assert_array_equal(BRIDGE.compressed_imgmsg_to_cv2(message), bgr)
    rgb = BRIDGE.compressed_imgmsg_to_cv2(message, 'rgb8')
    np.testing.assert_array_equal(rgb, bgr[:, :, ::-1])


def test_jpeg_is_near() -> None:
    flat = np.full((16, 16, 3), COLOUR, np.uint8)
    message = BRIDGE.cv2_to_compressed_imgmsg(flat)
    assert isinstance(message, CompressedImage)
    decoded = BRIDGE.compressed_imgmsg_to_cv2(message)
    assert np.abs(decoded.astype(int) - flat).max() <= 4
