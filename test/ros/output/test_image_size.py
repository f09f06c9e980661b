# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A keyframe at the size of the camera's image has depth and intrinsics that fit that image."""

from dataclasses import replace

import cv2
from da3_ros.geometry import camera
from da3_ros.inference.preprocessing import plan_processing, Preprocessor
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.ros.output.image_size import at_image_size, camera_image
from da3_ros.ros.parameters.settings import PreprocessSettings
import numpy as np
import pytest

K = np.array([[300.0, 0.0, 150.0], [0.0, 310.0, 105.0], [0.0, 0.0, 1.0]])
SIZE = (211, 300)


def wall(size, intrinsics):
    """Give the depth of a slanted wall."""
    v, u = np.mgrid[:size[0], :size[1]]
    rays = camera.rays_of(np.stack([u, v], axis=-1), intrinsics)
    return (2.0 / (rays @ np.array([0.3, 0.2, 1.0]))).astype(np.float32)


def keyframe(settings, *, with_source=True):
    """Give what the network would make of an image of the wall, by the real preprocessing."""
    image = np.random.default_rng(0).integers(90, 110, (*SIZE, 3), np.uint8)
    image = cv2.GaussianBlur(image, (5, 5), 0)
    processed = Preprocessor(settings.size, settings.method).process(
        [image], camera.to_network(K)[None])
    intrinsics = camera.from_network(processed.intrinsics[0])
    depth = wall(processed.images[0].shape[:2], intrinsics)
    return PosedKeyframe(
        id=0, stamp_ns=0, frame_id='camera', image=processed.images[0], depth=depth,
        confidence=np.full(depth.shape, 2.0, np.float32), intrinsics=intrinsics,
        odom_T_camera=np.eye(4), segment=0, is_metric=True,
        source=image if with_source else None)


@pytest.mark.parametrize('method', [
    'upper_bound_resize', 'upper_bound_crop', 'lower_bound_resize', 'lower_bound_crop'])
def test_depth_and_intrinsics_are_those_of_the_camera(method):
    """However the image became a view: the wall stands where it stood, in every pixel seen."""
    settings = PreprocessSettings(size=112, method=method)
    fine = at_image_size(keyframe(settings), settings)
    assert fine.image.shape == (*SIZE, 3)
    np.testing.assert_allclose(fine.intrinsics, K, atol=1e-9)
    is_seen = np.isfinite(fine.depth)
    assert is_seen.mean() > 0.8
    assert is_seen[10:-10, 10:-10].mean() > 0.85
    error = np.abs(fine.depth / wall(SIZE, K) - 1.0)[is_seen]
    assert np.quantile(error, 0.99) < 0.01
    assert fine.confidence.shape == SIZE
    assert (fine.confidence == 2.0).all()


def test_a_resolution_that_was_found_automatically_fits_too():
    """The settings say another one than the views have."""
    coarse = keyframe(PreprocessSettings(size=84))
    fine = at_image_size(coarse, PreprocessSettings(size=112))
    np.testing.assert_allclose(fine.intrinsics, K, atol=1e-9)
    assert np.nanmedian(np.abs(fine.depth / wall(SIZE, K) - 1.0)) < 0.01
    assert plan_processing(*SIZE, size=112).size != coarse.depth.shape


def test_nothing_is_made_of_nothing():
    """No image, or one of the view's size."""
    settings = PreprocessSettings(size=112)
    without = keyframe(settings, with_source=False)
    assert at_image_size(without, settings) is without
    assert camera_image(without, settings) is None
    seen = replace(without, source=without.image)
    assert at_image_size(seen, settings) is seen
    assert camera_image(seen, settings) is None


@pytest.mark.parametrize('method', ['upper_bound_resize', 'lower_bound_crop'])
def test_the_image_of_the_camera_is_kept_with_its_intrinsics(method):
    """Compressed, and however it became a view."""
    settings = PreprocessSettings(size=112, method=method)
    coarse = keyframe(settings)
    kept = camera_image(coarse, settings)
    assert (kept.height, kept.width) == SIZE
    np.testing.assert_allclose(kept.intrinsics, K, atol=1e-9)
    picture = cv2.imdecode(np.frombuffer(kept.jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert picture.shape == coarse.source.shape
    assert np.abs(picture.astype(int) - coarse.source).mean() < 3.0
