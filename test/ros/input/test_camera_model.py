# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Calibrations are read, checked and used to rectify."""

import cv2
from da3_ros.errors import MessageError
from da3_ros.ros.input.camera_model import read_camera_model
from da3_ros.ros.input.rectification import Rectifier
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, RegionOfInterest

WIDTH, HEIGHT = 160, 120
K = np.array([[110.0, 0.0, 78.5], [0.0, 112.0, 61.5], [0.0, 0.0, 1.0]])
LENSES = {
    'plumb_bob': (-0.25, 0.08, 0.001, -0.002, -0.01),
    'rational_polynomial': (0.6, -0.2, 0.001, 0.0005, 0.05, 0.9, -0.15, 0.02),
    'equidistant': (-0.02, 0.01, -0.005, 0.001),
}


def camera_info(*, model='plumb_bob', d=(0.0,) * 5, k=K, width=WIDTH, height=HEIGHT, **fields):
    """Make a message."""
    message = CameraInfo(width=width, height=height, distortion_model=model, **fields)
    message.k = [float(value) for value in k.ravel()]
    message.d = [float(value) for value in d]
    return message


def read(message, *, width=WIDTH, height=HEIGHT, is_rectified=False):
    """Read a message for images of the usual size."""
    return read_camera_model(message, width=width, height=height, is_rectified=is_rectified)


def distort(points, model, d):
    """Project points of the camera's frame through a lens, by OpenCV."""
    if model == 'equidistant':
        pixels, _ = cv2.fisheye.projectPoints(
            points[:, None], np.zeros(3), np.zeros(3), K, np.array(d))
    else:
        pixels, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, np.array(d))
    return pixels.reshape(-1, 2)


def draw_dots(pixels):
    """Draw a soft dot at each pixel position."""
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    image = np.zeros((HEIGHT, WIDTH))
    for x, y in pixels:
        image += np.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * 1.5**2))
    return np.repeat((255 * np.clip(image, 0, 1)).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize('model', LENSES)
def test_rectified_points_lie_where_the_pinhole_puts_them(model):
    """A dot that the lens moved comes back to where the rectified intrinsics say."""
    rectifier = Rectifier(read(camera_info(model=model, d=LENSES[model])))
    k = rectifier.intrinsics
    assert not np.allclose(k, K)
    for point in np.array([[-0.4, -0.3, 1.0], [0.45, 0.2, 1.0], [0.0, 0.35, 1.0], [-0.5, 0.1, 1]]):
        raw = draw_dots(distort(point[None], model, LENSES[model]))
        rectified = rectifier.rectify(raw)[..., 0].astype(float)
        v, u = np.mgrid[:HEIGHT, :WIDTH]
        found = np.array([(u * rectified).sum(), (v * rectified).sum()]) / rectified.sum()
        expected = (k @ point)[:2] / point[2]
        assert np.linalg.norm(found - expected) < 0.25, (found, expected)


@pytest.mark.parametrize('model', LENSES)
def test_no_unknown_pixels_at_the_border(model):
    """A white image stays white up to its edge."""
    rectifier = Rectifier(read(camera_info(model=model, d=LENSES[model])))
    white = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    assert rectifier.rectify(white).min() >= 200


@pytest.mark.parametrize('model', LENSES)
def test_smaller_images_show_the_same_through_their_own_intrinsics(model):
    """A pixel of the small picture shows what its ray meets in the large one."""
    camera_model = read(camera_info(model=model, d=LENSES[model]))
    large, small = Rectifier(camera_model), Rectifier(camera_model, size=(100, 70))
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    waves = 127 + 60 * np.sin(u / 9) + 60 * np.cos(v / 11)
    image = np.repeat(waves.astype(np.uint8)[..., None], 3, axis=2)
    reference, found = large.rectify(image)[..., 0], small.rectify(image)[..., 0]
    assert found.shape == (70, 100)
    rows, columns = np.mgrid[4:66, 4:96]
    rays = np.linalg.inv(small.intrinsics) @ np.stack(
        [columns.ravel(), rows.ravel(), np.ones(rows.size)])
    pixels = (large.intrinsics @ rays)[:2].reshape(2, *rows.shape).astype(np.float32)
    expected = cv2.remap(reference, *pixels, cv2.INTER_LINEAR)
    assert np.abs(found[rows, columns].astype(float) - expected).mean() < 1.5


def test_images_are_never_enlarged():
    """A camera that is smaller than wanted keeps its size."""
    rectifier = Rectifier(
        read(camera_info(d=LENSES['plumb_bob'])), size=(2 * WIDTH, 2 * HEIGHT))
    assert rectifier.rectify(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).shape == (HEIGHT, WIDTH, 3)


def test_no_distortion_changes_nothing():
    """Neither image nor intrinsics."""
    rectifier = Rectifier(read(camera_info()), size=(100, 70))
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    assert rectifier.rectify(image) is image
    np.testing.assert_array_equal(rectifier.intrinsics, K)


def test_rectified_images_are_described_by_p():
    """The raw camera's K and D do not matter then."""
    message = camera_info(d=LENSES['plumb_bob'])
    message.p = [100.0, 0.0, 80.0, -7.0, 0.0, 101.0, 60.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    model = read(message, is_rectified=True)
    assert model.distortion == ()
    np.testing.assert_array_equal(
        model.intrinsics, [[100.0, 0.0, 80.0], [0.0, 101.0, 60.0], [0.0, 0.0, 1.0]])


def test_binning_and_region_of_interest():
    """A ray meets the same scene point through the cropped, binned image."""
    roi = RegionOfInterest(x_offset=20, y_offset=10, width=120, height=100)
    message = camera_info(roi=roi, binning_x=2, binning_y=2)
    model = read(message, width=60, height=50)
    pixel = np.array([100.0, 50.0])
    # Centres at integers: the middle of the 2x2 block of pixels 2i, 2i + 1 is 2i + 0.5.
    binned = (pixel - (20, 10) - 0.5) / 2
    ray = np.linalg.inv(K) @ (*pixel, 1.0)
    np.testing.assert_allclose((model.intrinsics @ ray)[:2], binned, atol=1e-9)


@pytest.mark.parametrize(('message', 'complaint'), [
    (camera_info(k=np.zeros((3, 3))), 'got K of zeros'),
    (camera_info(width=320, height=240), 'got one for 320x240 pixels, expected 160x120'),
    (camera_info(k=K * np.nan), 'expected plausible'),
    (camera_info(k=np.diag([1.0, 1.0, 1.0])), 'expected plausible'),
    (camera_info(k=np.diag([-110.0, 110.0, 1.0])), 'expected plausible'),
    (camera_info(model='mystery', d=(1.0,)), "got distortion model 'mystery'"),
    (camera_info(model='equidistant', d=(1.0,) * 5), 'for equidistant, expected 4 finite'),
    (camera_info(d=(np.inf,) * 5), 'expected 4 or 5 or 8 or 12 or 14 finite'),
])
def test_absurd_calibrations_are_named(message, complaint):
    """The error names what was got and what was expected."""
    with pytest.raises(MessageError) as error:
        read(message)
    assert complaint in str(error.value)
