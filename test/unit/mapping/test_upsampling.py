# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Depth at the size of a larger image: exact on planes, sharp at edges, nothing in between."""

import cv2
from da3_ros.mapping.upsampling import upsample_confidence, upsample_depth
import numpy as np
import pytest

SMALL, LARGE = (36, 48), (120, 160)


def scaling(large=LARGE, small=SMALL, shift=(0.0, 0.0)):
    """Map pixels of the large image to the small one."""
    return np.array([
        [small[1] / large[1], 0.0, shift[1]], [0.0, small[0] / large[0], shift[0]], [0, 0, 1]])


def scene(size, unit=1.0):
    """Draw a disc before a slanted wall: depth and colours, at a size."""
    v, u = ((np.arange(n) + 0.5) / n for n in size)
    u, v = np.meshgrid(u, v)
    disc = np.hypot((u - 0.45) * 4 / 3, v - 0.52) < 0.27
    wall = 1.0 / (0.12 + 0.1 * u + 0.05 * v)
    depth = unit * np.where(disc, 1.5, wall)
    image = np.where(disc[..., None], (200, 60, 40), (70, 110, 150)) + 12 * np.sin(
        25 * u + 17 * v)[..., None]
    return depth.astype(np.float32), image.round().astype(np.uint8)


def small_scene(unit=1.0):
    """Draw it small, as a network sees it: each pixel by its centre, colours averaged."""
    depth, _ = scene(SMALL, unit)
    return depth, cv2.resize(scene(LARGE)[1], SMALL[::-1], interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize('unit', [1e-3, 1.0, 1e3])
def test_edges_lie_where_the_large_image_has_them(unit):
    """Four times better than without it, in whatever unit; nothing hangs in the air."""
    truth, large = scene(LARGE, unit)
    depth, image = small_scene(unit)
    found = upsample_depth(depth, image, large, scaling())
    blurred = cv2.resize(depth, LARGE[::-1], interpolation=cv2.INTER_LINEAR)

    def wrong(candidate):
        return (np.abs(candidate - truth) > 0.1 * truth).mean()

    assert wrong(found) < wrong(blurred) / 4
    repeated = cv2.resize(depth, LARGE[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    assert wrong(found) < wrong(repeated) / 3
    between = (found > 1.6 * unit) & (found < 3.5 * unit)
    assert not between.any()


def test_a_plane_stays_a_plane():
    """The inverse of the depth of a plane is linear in the pixels, whatever its colours."""
    u, v = np.meshgrid(np.arange(SMALL[1]) + 0.5, np.arange(SMALL[0]) + 0.5)
    plane = (1.0 / (0.1 + 0.002 * u + 0.001 * v)).astype(np.float32)
    grey = np.full((*SMALL, 3), 100, np.uint8)
    found = upsample_depth(plane, grey, np.full((*LARGE, 3), 100, np.uint8), scaling())
    u, v = np.meshgrid((np.arange(LARGE[1]) + 0.5) * SMALL[1] / LARGE[1],
                       (np.arange(LARGE[0]) + 0.5) * SMALL[0] / LARGE[0])
    inner = np.s_[4:-4, 4:-4]
    np.testing.assert_allclose(
        found[inner], (1.0 / (0.1 + 0.002 * u + 0.001 * v))[inner], rtol=1e-4)


def test_the_same_size_changes_nothing():
    """Neither depth nor confidence."""
    depth, image = scene(SMALL)
    np.testing.assert_allclose(
        upsample_depth(depth, image, image, np.eye(3)), depth, rtol=1e-6)
    np.testing.assert_array_equal(upsample_confidence(depth, SMALL, np.eye(3)), depth)


def test_unknown_and_sky_stay_what_they_are():
    """A hole is not filled up, and the sky has no distance."""
    depth, image = small_scene()
    depth[:, :12], depth[:, 12:24] = np.nan, np.inf
    image[:, :12], image[:, 12:24], image[:, 24:] = 0, 100, 200
    large = cv2.resize(image, LARGE[::-1], interpolation=cv2.INTER_NEAREST)
    found = upsample_depth(depth, image, large, scaling())
    assert np.isnan(found[:, :40]).all()
    assert np.isposinf(found[:, 40:80]).all()
    assert np.isfinite(found[:, 80:]).all()


def test_what_the_network_did_not_see_is_unknown():
    """A view that was cut out of the image's middle."""
    depth, image = scene(SMALL)
    large = np.zeros((60, 80, 3), np.uint8)
    found = upsample_depth(depth, image, large, np.array(
        [[1.0, 0.0, -16.0], [0.0, 1.0, -12.0], [0.0, 0.0, 1.0]]))
    inside = np.zeros((60, 80), bool)
    inside[12:48, 16:64] = True
    assert np.isnan(found[:11]).all()
    assert np.isnan(found[:, 65:]).all()
    np.testing.assert_allclose(found[inside].reshape(SMALL), depth, rtol=1e-6)


def test_confidence_is_that_of_the_nearest_pixel():
    """Of a larger size, registered as the depth is."""
    confidence = np.arange(6, dtype=np.float32).reshape(2, 3) + 1.0
    found = upsample_confidence(confidence, (4, 6), scaling((4, 6), (2, 3)))
    np.testing.assert_array_equal(found, confidence.repeat(2, axis=0).repeat(2, axis=1))
