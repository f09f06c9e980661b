# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Real lenses, and wrong calibrations of them: the rectified camera is right or refused."""

import calibrations
import cv2
from da3_ros.errors import MessageError
from da3_ros.geometry.camera import rays_of
from da3_ros.ros.input.camera_model import CameraModel, read_camera_model
from da3_ros.ros.input.lens import distort
from da3_ros.ros.input.rectification import Rectifier
from da3_ros.ros.input.rectified_camera import rectified_intrinsics
import numpy as np
import pytest

# All fourteen: radial, decentring, thin prism, tilted sensor.
TILTED = (-0.2, 0.1, 0.001, -0.002, 0.01, 0.02, -0.03, 0.01, 0.002, 0.001, -0.001, 0.002, 0.02,
          -0.03)


def by_opencv(model, rays):
    """Project rays by OpenCV, and put the skew in that it leaves out."""
    k, d = model.intrinsics, np.array(model.distortion)
    if model.distortion_model == 'equidistant':
        return cv2.fisheye.distortPoints(rays[:, None], k, d, alpha=k[0, 1] / k[0, 0])[:, 0]
    points = np.column_stack([rays, np.ones(len(rays))])
    pixels = cv2.projectPoints(points, np.zeros(3), np.zeros(3), k, d)[0][:, 0]
    return pixels + np.outer((pixels[:, 1] - k[1, 2]) / k[1, 1], (k[0, 1], 0.0))


def model_of(name, d):
    """Give a camera of 640x480 with other coefficients."""
    k = np.array([[400.0, 0.0, 310.0], [0.0, 410.0, 250.0], [0.0, 0.0, 1.0]])
    return CameraModel(640, 480, k, name, d)


@pytest.mark.parametrize('model', [
    *map(calibrations.camera_model, calibrations.NAMES), model_of('plumb_bob', TILTED[:4]),
    model_of('rational_polynomial', TILTED[:12]), model_of('rational_polynomial', TILTED),
], ids=[*calibrations.NAMES, 'four', 'twelve', 'fourteen'])
def test_rays_go_where_opencv_brings_them(model):
    """For every model and number of coefficients, on the axis too."""
    rays = np.vstack([np.random.default_rng(0).uniform(-0.4, 0.4, (200, 2)), np.zeros((1, 2))])
    np.testing.assert_allclose(distort(model, rays), by_opencv(model, rays), atol=1e-6)


@pytest.mark.parametrize('name', calibrations.NAMES)
def test_every_pixel_shows_what_its_ray_meets(name):
    """An image of its own coordinates tells where each pixel was taken from; the skew counts."""
    model = calibrations.camera_model(name)
    rectifier = Rectifier(model, size=(64, 48))
    v, u = np.mgrid[:model.height, :model.width].astype(np.float32)
    taken = rectifier.rectify(np.dstack([u, v]))
    v, u = np.mgrid[:48, :64]
    expected = distort(model, rays_of(np.dstack([u, v]), rectifier.intrinsics)[..., :2])
    np.testing.assert_allclose(taken, expected, atol=0.1)


@pytest.mark.parametrize('name', calibrations.NAMES)
def test_a_real_lens_is_rectified_to_a_camera_that_looks_the_same_way(name):
    """The axis is K's, the pixels have K's shape, nothing is unknown, nothing is too wide."""
    model = calibrations.camera_model(name)
    k, rectified = model.intrinsics, Rectifier(model, size=(64, 48))
    white = np.full((model.height, model.width, 3), 255, np.uint8)
    assert rectified.rectify(white).min() >= 250
    assert rectified.intrinsics[0, 1] == 0.0
    scale = np.diag([64 / model.width, 48 / model.height, 1.0])
    corner = np.array([[0.0, 0.0, 0.5], [0.0, 0.0, 0.5], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(
        (rectified.intrinsics + corner)[:2, 2], (scale @ (k + corner))[:2, 2], atol=1e-6)
    focal = rectified.intrinsics[[0, 1], [0, 1]] / (64 / model.width, 48 / model.height)
    assert focal[1] / focal[0] == pytest.approx(k[1, 1] / k[0, 0])
    sides = np.array([k[0, 2], model.width - 1 - k[0, 2]]) / focal[0]
    assert np.degrees(np.arctan(sides)).max() <= 60.01
    assert np.degrees(np.arctan(sides)).sum() > 28.0


@pytest.mark.parametrize(('name', 'focal'), [
    ('Basler pylon 1920x1200', 993.3), ('RealSense T265 a', 249.27),
    ('vehicle camera of 120 degrees', 1256.1),
])
def test_as_much_is_seen_as_can_be(name, focal):
    """The focal length is the shortest without unknown pixels, or that of the widest view."""
    found = rectified_intrinsics(calibrations.camera_model(name))[0, 0]
    assert found == pytest.approx(focal, rel=0.002)


def test_a_narrow_lens_is_found_as_exactly():
    """Its view is far from the widest that a pinhole shows."""
    k = np.array([[40_000.0, 0.0, 320.0], [0.0, 40_000.0, 240.0], [0.0, 0.0, 1.0]])
    rectified = rectified_intrinsics(CameraModel(640, 480, k, 'plumb_bob', (-300.0, 0.0, 0, 0)))
    # At the corners of the image the lens draws by 3 % less; at its upper edge by 1 %.
    assert rectified[0, 0] == pytest.approx(40_000 * (1.0 - 300.0 * (240 / 40_000) ** 2), rel=1e-3)


def test_a_lens_that_sees_far_to_one_side_is_cut_and_not_refused():
    """The axis lies at a quarter of the width, and 150 degrees of the view are beyond it."""
    k = np.array([[180.0, 0.0, 160.0], [0.0, 180.0, 240.0], [0.0, 0.0, 1.0]])
    rectified = rectified_intrinsics(CameraModel(640, 480, k, 'equidistant', (0.0,) * 4))
    assert np.degrees(np.arctan(479 / rectified[0, 0])) == pytest.approx(60.0, abs=0.1)


@pytest.mark.parametrize('name', [
    'OAK-D a', 'Azure Kinect colour', 'vehicle camera of 120 degrees'])
def test_coefficients_of_another_model_are_refused(name):
    """A rational lens under plumb_bob, of which a driver keeps the first five numbers."""
    info = calibrations.camera_info(name)
    info.distortion_model, info.d = 'plumb_bob', info.d[:5]
    model = read_camera_model(info, width=info.width, height=info.height, is_rectified=False)
    with pytest.raises(
            MessageError, match=r'plumb_bob, by which \d+ % of the view of K are left .* 70 %'):
        Rectifier(model)


@pytest.mark.parametrize('d', [
    (-1.5, 0.0, 0.0, 0.0), (0.0, -50.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.8, 0.0, 0.0),
    (0.0,) * 5 + (-9.0, 0.0, 0.0),
])
def test_a_model_that_folds_in_the_image_is_refused(d):
    """Radially, by decentring, and at a pole."""
    with pytest.raises(MessageError, match='of the view of K are left'):
        Rectifier(model_of('rational_polynomial', d))


def test_an_equidistant_lens_without_coefficients_bends_lines_all_the_same():
    """As simulators send it: the image height is the angle times the focal length."""
    info = calibrations.camera_info('RealSense T265 a')
    for d in ([0.0] * 4, [0.0] * 5, []):
        info.d = d
        model = read_camera_model(info, width=848, height=800, is_rectified=False)
        assert model.distortion == (0.0,) * 4
        ray = np.array([1.0, 0.0])
        assert distort(model, ray)[0] - model.intrinsics[0, 2] == pytest.approx(
            np.pi / 4 * model.intrinsics[0, 0])
        assert rectified_intrinsics(model)[0, 0] < model.intrinsics[0, 0]


@pytest.mark.parametrize('name', ['fisheye', 'Fisheye', 'kannala_brandt', 'Kannala Brandt4'])
@pytest.mark.parametrize('factor', [1.0, 0.0])
def test_a_fisheye_by_another_name_is_one(name, factor):
    """Taken for a pinhole, its corners would be tens of pixels away, and nobody told."""
    info = calibrations.camera_info('RealSense T265 a')
    info.d = [factor * value for value in info.d]
    expected = read_camera_model(info, width=848, height=800, is_rectified=False)
    info.distortion_model = name
    model = read_camera_model(info, width=848, height=800, is_rectified=False)
    assert model.distortion_model == expected.distortion_model == 'equidistant'
    assert model.distortion == expected.distortion and len(model.distortion) == 4


@pytest.mark.parametrize(('model', 'sent', 'used'), [
    ('plumb_bob', 8, 8), ('rational_polynomial', 5, 5), ('plumb_bob', 14, 14),
    ('rational_polynomial', 12, 12), ('plumb_bob', 4, 4), ('plumb_bob', 6, 5),
    ('equidistant', 5, 4), ('equidistant', 8, 4), ('rational_polynomial', 10, 8),
])
def test_drivers_fill_d_up_with_zeros(model, sent, used):
    """And send all numbers of the pinhole model under either name."""
    info = calibrations.camera_info('RealSense T265 a')
    info.distortion_model = model
    info.d = [0.01] * min(sent, used) + [0.0] * (sent - used)
    read = read_camera_model(info, width=848, height=800, is_rectified=False)
    assert read.distortion == (0.01,) * used


def test_numbers_that_mean_nothing_are_refused():
    """A fifth coefficient of an equidistant lens, and a number too few."""
    info = calibrations.camera_info('RealSense T265 a')
    for model, d in (('equidistant', [0.01] * 5), ('plumb_bob', [0.01] * 3)):
        info.distortion_model, info.d = model, d
        with pytest.raises(MessageError, match='finite numbers, and zeros behind them'):
            read_camera_model(info, width=848, height=800, is_rectified=False)
