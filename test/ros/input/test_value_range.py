# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Whatever part of 16 bits a camera uses, the picture is bright, whole and does not flicker."""

import cv2
from da3_ros.mapping.config import KeyframeConfig
from da3_ros.mapping.keyframe import Frame
from da3_ros.mapping.keyframe_selector import KeyframeSelector
from da3_ros.ros.input.value_range import ValueRange
import numpy as np
import pytest

HEIGHT, WIDTH = 48, 64
SECOND_NS = 10**9
# From a corner in the dark to a lamp, as shares of what the sensor can tell.
RAMP = np.linspace(0.02, 0.98, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH, 1).repeat(3, axis=2)


class Camera:
    """A camera whose images are scaled."""

    def __init__(self, bits=0):
        """Begin."""
        self.warnings = []
        self._range = ValueRange(bits, max_gap_s=10.0, warn=self.warnings.append)
        self.time_ns = 0

    def send(self, values, stream='mono16', gap_s=0.1):
        """Scale the next image."""
        self.time_ns += round(gap_s * SECOND_NS)
        return self._range.to_8_bits(
            np.asarray(values).astype(np.uint16), stream=stream, stamp_ns=self.time_ns)


@pytest.mark.parametrize('bits', [10, 12, 14, 16])
def test_a_sensor_of_few_bits_gives_the_picture_that_8_bits_give(bits):
    """To one grey level, for every image, and one warning that names range and parameter."""
    camera = Camera()
    for share in (1.0, 0.7, 1.0):
        scaled = camera.send(RAMP * share * (2**bits - 1)).astype(int)
        assert scaled.dtype == int
        assert np.abs(scaled - RAMP * share * 255).max() <= 1.0
    assert camera.warnings == ([] if bits == 16 else [
        f'images of 16 bits use 0 to {2**bits - 1}, which is scaled to 8 bits; where that is not '
        'the right range, set camera.bits'])


@pytest.mark.parametrize('bits', [10, 12, 14])
def test_the_same_keyframes_are_found_as_in_8_bits(bits):
    """A camera that pans along a wall."""
    random = np.random.default_rng(0)
    wall = cv2.resize(random.integers(0, 256, (24, 100, 1), np.uint8), (1600, 240),
                      interpolation=cv2.INTER_CUBIC)[..., None].repeat(3, axis=2)
    camera, num_kept = Camera(), {}
    for name, to_8_bits in (
            ('8 bits', lambda image: image),
            ('more', lambda image: camera.send(image.astype(np.uint16) << (bits - 8)))):
        selector = KeyframeSelector(KeyframeConfig())
        num_kept[name] = sum(
            selector.select(Frame(index * SECOND_NS // 10, np.ascontiguousarray(
                to_8_bits(wall[:, 20 * index:20 * index + 320])))) for index in range(60))
    assert num_kept['8 bits'] > 20
    assert num_kept['more'] == num_kept['8 bits']


def test_values_in_the_upper_bits_are_taken_as_they_are():
    """Twelve bits that a driver has moved to the top."""
    camera = Camera()
    scaled = camera.send((RAMP * 4095).astype(np.uint16) * 16)
    assert np.abs(scaled - RAMP * 255).max() <= 1.0
    assert camera.warnings == []


def test_the_parameter_decides():
    """No search, no warning; what is beyond is white."""
    camera = Camera(bits=12)
    assert np.abs(camera.send(RAMP * 1000) - RAMP * 1000 * 255 / 4095).max() <= 1.0
    assert camera.send(np.full((2, 2, 3), 5000)).min() == 255
    assert camera.warnings == []


def test_temperatures_fill_the_picture():
    """A room in hundredths of a kelvin: a few per cent of the range, far from zero."""
    camera = Camera()
    room = 29_300 + RAMP * 1500
    scaled = camera.send(room)
    assert scaled.max() - scaled.min() > 100
    assert 40 < scaled.min() < scaled.max() < 215
    # Small changes of the scene leave every grey value where it was.
    again = camera.send(np.where(RAMP > 0.9, room + 300, room))
    np.testing.assert_array_equal(again[RAMP <= 0.9], scaled[RAMP <= 0.9])


def test_a_picture_in_fog_is_not_stretched():
    """Far from zero, but no temperatures: the sensor's range is filled."""
    assert np.abs(Camera().send(900 + RAMP * 3000) - (900 + RAMP * 3000) * 255 / 4095).max() <= 1.0


def test_a_picture_of_one_temperature_is_grey():
    """Not one of the noise of the sensor, and then a room."""
    camera = Camera()
    noise = 29_300 + np.random.default_rng(0).integers(0, 3, RAMP.shape)
    scaled = camera.send(noise).astype(int)
    assert 100 < scaled.min() <= scaled.max() < 155
    assert camera.send(29_300 + RAMP * 1500).astype(int).std() > 20


def test_a_range_that_grows_down_to_zero_stays():
    """A shutter before a thermal camera gives zeros: the pictures after it are alike."""
    camera = Camera()
    room = 29_300 + RAMP * 1500
    camera.send(room)
    zeros = room.copy()
    zeros[:10] = 0
    seen = {int(camera.send(zeros)[-1, -1, 0]) for _ in range(5)}
    assert len(seen) == 1


def test_a_range_that_is_too_small_grows_a_few_times_and_never_shrinks():
    """A hot thing comes nearer and nearer, and goes."""
    camera = Camera()
    background = 29_300 + RAMP * 1500
    seen = []
    for hot in [*range(0, 20_000, 100), 0, 0]:
        image = background.copy()
        image[:10, :10] += hot
        scaled = camera.send(image)
        seen.append(int(scaled[-1, -1, 0]))
    assert len(set(seen)) < 8
    assert seen[-1] == seen[-3]


def test_a_dark_beginning_is_not_the_sensors_range():
    """The camera starts behind its cap; later images are not white."""
    camera = Camera()
    camera.send(np.full((HEIGHT, WIDTH, 3), 40))
    scaled = camera.send(RAMP * 4095)
    assert np.abs(scaled - RAMP * 255).max() <= 1.0


def test_dead_and_hot_pixels_do_not_count():
    """One in ten thousand says nothing."""
    image = np.tile(RAMP * 4095, (4, 4, 1))
    image[::90, ::90] = 65535
    scaled = Camera().send(image)
    assert np.abs(scaled - np.tile(RAMP * 255, (4, 4, 1))).mean() < 1.0


@pytest.mark.parametrize('change', [{'stream': 'bayer_rggb16'}, {'gap_s': 20.0}])
def test_another_session_begins_anew(change):
    """Another kind of image, or a long gap."""
    camera = Camera()
    camera.send(RAMP * 16383)
    assert camera.send(RAMP * 1023).max() < 20
    assert camera.send(RAMP * 1023, **change).max() > 240
    assert len(camera.warnings) == 2
