# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Preprocessing beside upstream's own, where it is installed."""

import importlib
import importlib.util
import sys
import types

from da3_ros.inference.preprocessing import normalize, preprocess
import numpy as np
import pytest
import torch

METHODS = ['upper_bound_resize', 'upper_bound_crop', 'lower_bound_resize', 'lower_bound_crop']


class ToTensor:
    """What torchvision's transform of the same name does with 8 bit images."""

    def __call__(self, image):
        return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255.0


class Normalize:
    """What torchvision's transform of the same name does."""

    def __init__(self, mean, std):
        self.mean, self.std = torch.tensor(mean), torch.tensor(std)

    def __call__(self, image):
        return (image - self.mean[:, None, None]) / self.std[:, None, None]


class CenterCrop:
    """What torchvision's transform of the same name does with images that are large enough."""

    def __init__(self, size):
        self.size = size

    def __call__(self, image):
        height, width = self.size
        top = round((image.shape[-2] - height) / 2)
        left = round((image.shape[-1] - width) / 2)
        return image[..., top:top + height, left:left + width]


@pytest.fixture
def upstream(monkeypatch):
    """Import upstream's processor; what we do not need of what it imports may be missing."""
    pytest.importorskip('depth_anything_3')
    if importlib.util.find_spec('imageio') is None:
        # Imported for writing pictures, which the processor never does.
        monkeypatch.setitem(sys.modules, 'imageio', types.ModuleType('imageio'))
    if importlib.util.find_spec('torchvision') is None:
        transforms = types.ModuleType('torchvision.transforms')
        transforms.ToTensor, transforms.Normalize = ToTensor, Normalize
        transforms.CenterCrop = CenterCrop
        package = types.ModuleType('torchvision')
        package.transforms = transforms
        monkeypatch.setitem(sys.modules, 'torchvision', package)
        monkeypatch.setitem(sys.modules, 'torchvision.transforms', transforms)
    try:
        module = importlib.import_module('depth_anything_3.utils.io.input_processor')
    except ImportError as error:
        pytest.skip(f'upstream is incomplete: {error}')
    yield module.InputProcessor()
    sys.modules.pop('depth_anything_3.utils.io.input_processor', None)


def smooth_images(sizes, seed=3):
    """Noise with structure on many scales, so that every resampling filter shows."""
    rng = np.random.default_rng(seed)
    images = []
    for height, width in sizes:
        image = np.zeros((height, width, 3))
        for cell in (1, 3, 9, 27):
            noise = rng.uniform(-1, 1, (height // cell + 1, width // cell + 1, 3))
            image += np.kron(noise, np.ones((cell, cell, 1)))[:height, :width]
        images.append(np.clip(128 + 50 * image, 0, 255).astype(np.uint8))
    return images


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('sizes', [
    [(480, 640)], [(720, 1280)], [(1208, 680)], [(504, 504)], [(120, 161)], [(376, 504)],
    [(480, 640), (720, 1280)],
])
def test_pixels_and_intrinsics_equal_upstreams(upstream, method, sizes):
    images = smooth_images(sizes)
    intrinsics = np.array([
        [[0.9 * width, 0.0, 0.48 * width], [0.0, 0.95 * width, 0.53 * height], [0.0, 0.0, 1.0]]
        for height, width in sizes
    ])
    expected, _, expected_intrinsics = upstream(
        images, None, intrinsics.copy(), 252, method, sequential=True
    )
    window = preprocess(images, intrinsics=intrinsics, size=252, method=method)
    found = normalize(torch.from_numpy(window.images))
    assert found.shape == expected.shape
    one_level = 1.0 / 255.0 / 0.224
    assert (found - expected).abs().max() < one_level
    assert np.abs(window.intrinsics - expected_intrinsics.numpy()).max() < 1e-3
