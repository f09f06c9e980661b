# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Compressed images are what a decoder of the standard transports makes the images of again."""

import struct

import cv2
from da3_ros.ros.conversions import stamp_ns, to_header
from da3_ros.ros.output.compressed_images import to_depth_message, to_jpeg_message
from da3_ros.ros.parameters.settings import CompressedSettings
from hypothesis import given
from hypothesis import strategies as st
import numpy as np

HEADER = to_header(1_700_000_000_123_456_789, 'camera')


def decode_depth(message):
    """Decode as compressed_depth_image_transport documents it; pixel by pixel, in Python."""
    encoding, _, transport = message.format.partition(';')
    assert (encoding, transport.strip()) == ('32FC1', 'compressedDepth png')
    data = bytes(message.data)
    kind, a, b = struct.unpack_from('iff', data)
    assert kind == 0
    codes = cv2.imdecode(np.frombuffer(data[12:], np.uint8), cv2.IMREAD_UNCHANGED)
    assert codes.dtype == np.uint16
    flat = [a / (int(code) - b) if code else float('nan') for code in codes.ravel()]
    return np.array(flat).reshape(codes.shape)


@given(
    st.floats(1.0, 1000.0), st.floats(0.5, 1e4),
    st.lists(st.floats(0.0, 2e4, width=32), min_size=1, max_size=20))
def test_depth_is_exact_to_half_a_step_or_unknown(quantization, depth_max, values):
    """For all quantizations and ranges; a lost depth is one that has no code."""
    settings = CompressedSettings(depth_quantization=quantization, depth_max_m=depth_max)
    depth = np.array([values], np.float32)
    decoded = decode_depth(to_depth_message(depth, settings, HEADER))
    a = quantization * (quantization + 1.0)
    nearest = a / (65535.5 - 1.0 + a / depth_max)
    for z, got in zip(depth[0].astype(float), decoded[0], strict=True):
        if np.isnan(got):
            # Within rounding of single precision.
            assert z >= depth_max * (1.0 - 1e-3) or z <= nearest * (1.0 + 1e-3)
        else:
            assert z < depth_max
            code = a / z + 1.0 - a / depth_max
            slack = 0.51 + 1e-6 * (abs(code) + a / depth_max)
            assert abs(a / got - a / z) <= slack


def test_the_defaults_keep_indoor_depth_to_a_centimetre():
    """The range of a room, and what is not known in it."""
    depth = np.linspace(0.2, 14.0, 48 * 64).reshape(48, 64).astype(np.float32)
    depth[0, 0], depth[0, 1], depth[0, 2] = np.nan, np.inf, 1000.0
    decoded = decode_depth(to_depth_message(depth, CompressedSettings(), HEADER))
    assert np.isnan(decoded[0, :3]).all()
    np.testing.assert_allclose(decoded[1:], depth[1:], atol=0.01)


def test_a_finer_quantization_is_finer():
    """And reaches less near."""
    depth = np.array([[0.05, 5.0, 50.0]], np.float32)
    errors = {
        z: np.abs(decode_depth(to_depth_message(
            depth, CompressedSettings(depth_quantization=z), HEADER)) - depth)[0]
        for z in (30.0, 300.0)}
    assert errors[300.0][2] < errors[30.0][2] / 20.0
    assert np.isnan(errors[300.0][0])
    assert errors[30.0][0] < 1e-4


def test_pictures_are_jpeg_in_the_colours_of_the_image():
    """A red image stays red; the quality is that of the parameter."""
    random = np.random.default_rng(0)
    image = np.zeros((48, 64, 3), np.uint8)
    image[..., 0] = cv2.GaussianBlur(
        random.integers(0, 255, (48, 64)).astype(np.uint8), (7, 7), 2)
    messages = [
        to_jpeg_message(image, CompressedSettings(jpeg_quality=quality), HEADER)
        for quality in (95, 20)]
    fine, coarse = messages
    assert fine.format == 'rgb8; jpeg compressed bgr8'
    assert stamp_ns(fine.header.stamp) == 1_700_000_000_123_456_789
    assert fine.header.frame_id == 'camera'
    assert len(coarse.data) < 0.8 * len(fine.data)
    bgr = cv2.imdecode(np.frombuffer(fine.data, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(bgr[..., 2].astype(int) - image[..., 0]).mean() < 6
    assert bgr[..., :2].mean() < 8
