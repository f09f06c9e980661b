# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Pinhole cameras: there and back, in both pixel conventions and at every size."""

import cv2
from da3_ros.geometry import camera
import numpy as np
import pytest

INTRINSICS = np.array([[60.0, 0.5, 30.0], [0.0, 55.0, 20.0], [0.0, 0.0, 1.0]])


@pytest.fixture
def depth():
    return np.random.default_rng(0).uniform(0.5, 4.0, (40, 60)).astype(np.float32)


def test_projecting_what_was_unprojected_gives_the_pixel(depth):
    points = camera.unproject(depth, INTRINSICS)
    assert points.dtype == np.float32
    v, u = np.mgrid[:40, :60]
    pixels = camera.project(points.astype(np.float64), INTRINSICS)
    np.testing.assert_allclose(pixels, np.stack([u, v], axis=-1), atol=1e-4)
    np.testing.assert_array_equal(points[..., 2], depth)


def test_unknown_depth_stays_unknown_and_what_is_behind_has_no_pixel(depth):
    depth[3, 4] = np.nan
    assert np.isnan(camera.unproject(depth, INTRINSICS)[3, 4]).all()
    behind = np.array([[0.1, 0.2, -1.0], [0.1, 0.2, 0.0]])
    assert np.isnan(camera.project(behind, INTRINSICS)).all()


def test_rays_are_points_at_depth_one():
    v, u = np.mgrid[:40, :60]
    expected = camera.unproject(np.ones((40, 60), np.float32), INTRINSICS)
    rays = camera.rays_of(np.stack([u, v], axis=-1), INTRINSICS)
    np.testing.assert_allclose(rays, expected, atol=1e-6)


def test_the_two_pixel_conventions_are_half_a_pixel_apart():
    from_corner = camera.to_network(INTRINSICS)
    assert from_corner[0, 2] == INTRINSICS[0, 2] + 0.5
    assert from_corner[1, 2] == INTRINSICS[1, 2] + 0.5
    np.testing.assert_array_equal(camera.from_network(from_corner), INTRINSICS)
    stacked = np.stack([INTRINSICS] * 3)
    np.testing.assert_array_equal(camera.from_network(camera.to_network(stacked)), stacked)


def test_rescaled_intrinsics_follow_what_opencv_does_to_the_picture():
    """A bright spot must lie where the rescaled camera says."""
    image = np.zeros((40, 60), np.float32)
    image[24:26, 36:40] = 1.0
    small = cv2.resize(image, (30, 20), interpolation=cv2.INTER_AREA)

    def center(picture):
        v, u = np.mgrid[:picture.shape[0], :picture.shape[1]]
        return np.array([(u * picture).sum(), (v * picture).sum()]) / picture.sum()

    ray = camera.rays_of(center(image), INTRINSICS)
    rescaled = camera.rescale(INTRINSICS, scale_x=0.5, scale_y=0.5)
    np.testing.assert_allclose(camera.project(ray, rescaled), center(small), atol=1e-6)


def test_an_estimated_principal_point_is_the_middle_of_the_picture():
    from_corner = np.array([[50.0, 0.0, 30.0], [0.0, 50.0, 20.0], [0.0, 0.0, 1.0]])
    ros = camera.from_network(from_corner)
    assert (ros[0, 2], ros[1, 2]) == ((60 - 1) / 2, (40 - 1) / 2)
