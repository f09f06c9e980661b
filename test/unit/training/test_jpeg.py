# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Images come out of the training's JPEG as they come out of libjpeg."""

import cv2
from da3_ros.simulation.generator import generate_scene
from da3_ros.simulation.lens import Lens
from da3_ros.simulation.renderer import render
from da3_ros.simulation.trajectory import Motion, plan_path
import numpy as np
import pytest
import torch

from training.jpeg import through_jpeg


@pytest.fixture(scope='module')
def image() -> np.ndarray:
    """Render a furnished room, 126 x 210: neither side is a multiple of 16."""
    scene = generate_scene(3)
    path = plan_path(scene, 3, motion=Motion.ARC, num_frames=1, rate_hz=1.0)
    radiance = render(scene, Lens(210, 126, 80.0), path.world_T_camera[0]).radiance
    return np.rint(255 * np.clip(radiance, 0, 1) ** (1 / 2.2)).astype(np.uint8)


@pytest.mark.parametrize('quality', [15, 40, 75, 95])
def test_images_are_libjpegs(image: np.ndarray, quality: int) -> None:
    """Pixels differ by about a level, and far less than the coding changes them."""
    coded = cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    expected = cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1].astype(float)
    pixels = torch.from_numpy(image.transpose(2, 0, 1).copy())
    both = through_jpeg(torch.stack((pixels, 255 - pixels)), quality)
    found = both[0].permute(1, 2, 0).numpy().astype(float)
    assert both.dtype == torch.uint8 and not torch.equal(both[0], both[1])
    change = np.abs(expected - image).mean()
    assert np.abs(found - expected).mean() < min(1.3, 0.3 * change)
    assert abs(np.abs(found - image).mean() - change) < 0.1 * change
