# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Whatever message a camera sends becomes a picture, a camera model, or one clear error."""

from itertools import product

from da3_ros.errors import MessageError
from da3_ros.ros.input.camera_model import read_camera_model
from da3_ros.ros.input.image_decoding import decode_image, ENCODINGS
from da3_ros.ros.input.rectification import Rectifier
from hypothesis import given
import numpy as np
import pytest
from sensor_msgs.msg import Image
from strange_messages import (
    IMAGES,
    INFOS,
    num_rows,
    row_bytes,
    sound_image,
    sound_infos,
)

SIZES = ((1, 1), (2, 2), (1, 7), (7, 1), (3, 3), (4, 6), (17, 12), (64, 48))


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_every_size_step_and_length(encoding):
    """A picture comes out exactly where the data suffice for it; else the error says what for."""
    half_high = encoding in ('nv12', 'nv21')
    half_wide = half_high or encoding.startswith(('yu', 'uyvy'))
    for (width, height), padding, lacking in product(SIZES, (-1, 0, 1, 5), (-3, 0, 1, 4, 6)):
        message = sound_image(encoding, width, height, padding=padding, lacking=lacking)
        needed = (num_rows(encoding, height) - 1) * message.step + row_bytes(encoding, width)
        is_whole = not ((half_wide and width % 2) or (half_high and height % 2))
        if padding >= 0 and len(message.data) >= needed and is_whole:
            image = decode_image(message)
            assert image.shape == (height, width, 3)
            assert image.dtype == np.uint8
        else:
            with pytest.raises(MessageError, match=f'{width}x{height}.*expected'):
                decode_image(message)


@given(message=IMAGES)
def test_any_image_gives_a_picture_or_a_message_error(message):
    """Nothing else is ever raised, and what comes out has the size that the message names."""
    try:
        image = decode_image(message)
    except MessageError as error:
        assert 'expected' in str(error)
        return
    assert image.shape == (message.height, message.width, 3)
    assert image.dtype == np.uint8


@given(info=sound_infos())
def test_every_sound_calibration_is_taken(info):
    """So the fuzz of the next test starts from what is accepted."""
    model = read_camera_model(info, width=64, height=48, is_rectified=False)
    assert_rectifies(model)


@given(info=INFOS)
@pytest.mark.parametrize('is_rectified', [False, True])
def test_any_calibration_gives_a_camera_that_rectifies_or_a_message_error(info, is_rectified):
    """Nothing else is ever raised."""
    try:
        model = read_camera_model(info, width=64, height=48, is_rectified=is_rectified)
        assert_rectifies(model)
    except MessageError as error:
        assert str(error).startswith('CameraInfo: ')


def assert_rectifies(model):
    """Check that a model has sound intrinsics and that pictures pass through it, whole."""
    rectifier = Rectifier(model)
    k = rectifier.intrinsics
    assert np.isfinite(k).all()
    assert k[0, 0] > 0.0
    assert k[1, 1] > 0.0
    image = rectifier.rectify(np.full((48, 64, 3), 200, np.uint8))
    assert image.shape == (48, 64, 3)
    assert (image > 190).mean() > 0.99


def test_an_empty_message_is_refused():
    """As a node sends it that was never told its camera's size."""
    with pytest.raises(MessageError, match="got ''"):
        decode_image(Image())
