# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Images of every shape are compared at about the same cost."""

import cv2
from da3_ros.mapping.image_motion import ImageMotion, small_gray
import numpy as np
import pytest


@pytest.mark.parametrize(('height', 'width', 'shape'), [
    (480, 640, (240, 320)), (1080, 1920, (180, 320)), (1920, 1080, (569, 320)),
    (48, 64, (240, 320)), (3000, 64, (640, 14)), (64, 3000, (7, 320)), (5000, 1, (640, 1)),
    (1, 5000, (1, 320)), (1, 1, (320, 320)),
])
def test_no_image_is_made_large(height, width, shape):
    """A narrow one neither: its height is limited."""
    assert small_gray(np.zeros((height, width, 3), np.uint8)).shape == shape


@pytest.mark.parametrize(('height', 'width'), [(480, 640), (1600, 400)])
def test_motion_is_a_share_of_the_width(height, width):
    """Whatever the shape."""
    random = np.random.default_rng(0)
    shift = width // 20
    wall = cv2.resize(
        random.integers(0, 256, (height // 25, (width + shift) // 20, 3), np.uint8),
        (width + shift, height), interpolation=cv2.INTER_CUBIC)
    motion = ImageMotion(small_gray(wall[:, shift:])).measure(small_gray(wall[:, :width]))
    assert motion.parallax == pytest.approx(0.05, abs=0.01)
