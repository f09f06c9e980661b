# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Preprocessing: upstream's sizes, pixels and intrinsics."""

import weakref

import cv2
from da3_ros.inference.preprocessing import (
    normalize,
    plan_processing,
    preprocess,
    Preprocessor,
)
import numpy as np
import pytest
import torch

METHODS = ['upper_bound_resize', 'upper_bound_crop', 'lower_bound_resize', 'lower_bound_crop']


def random_images(count, height, width, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count)]


# Sizes written down from upstream's documentation of its methods, not from this code.
@pytest.mark.parametrize(('height', 'width', 'method', 'expected'), [
    (720, 1280, 'upper_bound_resize', (280, 504)),
    (480, 640, 'upper_bound_resize', (378, 504)),
    (376, 1241, 'upper_bound_resize', (154, 504)),
    (376, 504, 'upper_bound_resize', (378, 504)),
    (376, 504, 'upper_bound_crop', (364, 504)),
    (1280, 720, 'upper_bound_crop', (504, 280)),
    (480, 640, 'lower_bound_resize', (504, 672)),
    (120, 160, 'lower_bound_crop', (504, 672)),
])
def test_process_size(height, width, method, expected):
    assert plan_processing(height, width, method=method).size == expected


def test_a_side_between_two_multiples_goes_up():
    assert plan_processing(21, 28, size=28).size == (28, 28)


@pytest.mark.parametrize('method', METHODS)
def test_intrinsics_follow_the_pixels(method):
    """A bright dot stays where its ray goes."""
    height, width = 301, 453
    image = np.zeros((height, width, 3), np.uint8)
    dot = np.array([311.5, 102.5])
    image[92:113, 301:322] = 255
    intrinsics = np.array([[[420.0, 0.0, 230.0], [0.0, 410.0, 140.0], [0.0, 0.0, 1.0]]])
    window = preprocess([image], intrinsics=intrinsics, size=252, method=method)
    ray = np.linalg.inv(intrinsics[0]) @ [*dot, 1.0]
    expected = (window.intrinsics[0] @ ray)[:2]
    weights = window.images[0, :, :, 0].astype(float)
    rows, columns = np.indices(weights.shape)
    # Pixel centres are at half integers where the origin is the corner.
    found = np.array([(columns * weights).sum(), (rows * weights).sum()]) / weights.sum() + 0.5
    assert np.abs(found - expected).max() < 0.1


def test_different_sizes_are_cropped_to_the_smallest():
    images = random_images(1, 720, 1280) + random_images(1, 480, 640)
    intrinsics = np.tile(np.eye(3), (2, 1, 1))
    intrinsics[:, 0, 2], intrinsics[:, 1, 2] = [640.0, 320.0], [360.0, 240.0]
    window = preprocess(images, intrinsics=intrinsics)
    assert window.images.shape == (2, 280, 504, 3)
    assert np.allclose(window.intrinsics[:, :2, 2], [252.0, 140.0])


def test_normalize_undoes_imagenets_mean_and_deviation():
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = torch.from_numpy(random_images(1, 6, 8)[0])
    restored = normalize(pixels) * std[:, None, None] + mean[:, None, None]
    assert torch.allclose(restored.permute(1, 2, 0), pixels / 255.0, atol=1e-6)


@pytest.mark.parametrize('image', [
    np.zeros((10, 10, 3)),
    np.zeros((10, 10), np.uint8),
    np.zeros((10, 10, 4), np.uint8),
    np.zeros((0, 10, 3), np.uint8),
])
def test_other_images_are_refused(image):
    with pytest.raises(ValueError, match='images'):
        preprocess([image])


def test_bad_arguments_are_named():
    images = random_images(2, 60, 80)
    with pytest.raises(ValueError, match='images'):
        preprocess([])
    with pytest.raises(ValueError, match='method'):
        preprocess(images, method='bilinear')
    with pytest.raises(ValueError, match='intrinsics'):
        preprocess(images, intrinsics=np.eye(3)[None])
    with pytest.raises(ValueError, match='intrinsics'):
        preprocess(images, intrinsics=np.diag([np.nan, 50.0, 1.0]) * np.ones((2, 1, 1)))
    with pytest.raises(ValueError, match='size'):
        preprocess(random_images(1, 10, 2000), size=504)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize(('height', 'width', 'size', 'text'), [
    (0, 0, 504, 'images: got 0x0, expected'),
    (0, 640, 504, 'images: got 640x0, expected'),
    (-480, 640, 504, 'images: got 640x-480, expected'),
    (480, 640, 0, 'size: got 0 for images of 640x480'),
    (480, 640, -504, 'size: got -504 for images'),
    (480, 640, 6, 'size: got 6 for images'),
    (1, 100_000, 504, 'size: got 504 for images of 100000x1'),
])
def test_sizes_of_no_image_and_no_view_are_named(height, width, size, text, method):
    if text.endswith('100000x1') and method.startswith('lower'):
        # Its shortest side is what is asked for.
        assert min(plan_processing(height, width, size=size, method=method).size) == size
        return
    with pytest.raises(ValueError, match=text):
        plan_processing(height, width, size=size, method=method)


def test_views_of_a_larger_array_are_taken():
    """Messages give arrays with padding and flipped channels."""
    image = random_images(1, 60, 80)[0]
    padded = np.zeros((60, 96, 3), np.uint8)
    padded[:, :80] = image[:, :, ::-1]
    assert np.array_equal(
        preprocess([padded[:, :80, ::-1]], size=98).images, preprocess([image], size=98).images
    )


def test_images_that_come_again_are_not_resized_again(monkeypatch):
    """A window that slides costs its new images only, and is the same to the last bit."""
    resized = []
    resize = cv2.resize

    def count(image, *args, **kwargs):
        resized.append(image.shape)
        return resize(image, *args, **kwargs)

    monkeypatch.setattr(cv2, 'resize', count)
    images = random_images(6, 60, 80) + random_images(1, 80, 80, seed=1)
    rng = np.random.default_rng(2)
    intrinsics = np.tile(np.diag([70.0, 72.0, 1.0]), (7, 1, 1))
    intrinsics[:, :2, 2] = rng.uniform(20, 60, (7, 2))
    preprocessor = Preprocessor(size=28)
    for start, stop, num_new in ((0, 4, 4), (1, 5, 1), (1, 5, 0), (3, 7, 2), (0, 2, 2)):
        resized.clear()
        found = preprocessor.process(images[start:stop], intrinsics[start:stop])
        # Two resizes each, but for squares, where the first one is enough.
        assert len(resized) in (2 * num_new, 2 * num_new - 1)
        expected = preprocess(images[start:stop], intrinsics=intrinsics[start:stop], size=28)
        assert np.array_equal(found.images, expected.images)
        assert np.array_equal(found.intrinsics, expected.intrinsics)


def test_images_that_do_not_come_again_are_forgotten():
    preprocessor = Preprocessor(size=28)
    images = random_images(3, 60, 80)
    gone = weakref.ref(images[0])
    preprocessor.process(images)
    del images[0]
    preprocessor.process(images)
    assert gone() is None


def test_an_image_in_the_place_of_one_that_is_gone_is_another_image():
    """Python gives the id of a freed array to the next one."""
    preprocessor, ids = Preprocessor(size=28), set()
    for seed in range(50):
        image = random_images(1, 60, 80, seed)[0]
        ids.add(id(image))
        found = preprocessor.process([image]).images
        assert np.array_equal(found, preprocess([image], size=28).images)
        del image
    assert len(ids) < 50, 'no id came again: nothing is tested'


def test_images_that_are_prepared_for_no_window_are_forgotten():
    preprocessor = Preprocessor(size=28)
    images = random_images(65, 30, 40)
    gone = weakref.ref(images[0])
    for image in images:
        preprocessor.prepare(image)
    del image, images[0]
    assert gone() is None


def test_images_that_do_not_come_again_leave_what_is_kept_as_it_is():
    preprocessor = Preprocessor(size=28)
    images = random_images(4, 60, 80)
    kept = preprocessor.process(images[:2]).keys
    preprocessor.prepare(images[2])
    passing = preprocessor.process(images[1:], keep=False).keys
    assert passing[0] == kept[1] and passing[1] is not None and passing[2] is None
    again = preprocessor.process(images[:3]).keys
    assert again[:2] == kept and again[2] == passing[1]
    gone = weakref.ref(images[3])
    del images[3]
    assert gone() is None
