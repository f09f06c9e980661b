# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Keyframes are made by what the camera sees, or by time."""

import cv2
from da3_ros.mapping.config import KeyframeConfig
from da3_ros.mapping.keyframe import Frame
from da3_ros.mapping.keyframe_selector import KeyframeSelector
import numpy as np
import pytest

HEIGHT, WIDTH = 240, 320
PERIOD_NS = 33_000_000


@pytest.fixture(scope='module')
def wall():
    """Return a wall with texture, larger than the picture."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (60, 240), dtype=np.uint8)
    return cv2.resize(coarse, (2400, 600), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def random():
    return np.random.default_rng(1)


def picture(wall, x_px, random, *, noise=4.0, blur_px=0, gain=1.0):
    part = cv2.getRectSubPix(wall, (WIDTH, HEIGHT), (200.0 + x_px, 300.0)).astype(np.float64)
    if blur_px:
        part = cv2.blur(part, (blur_px, 1))
    part = gain * part[..., None].repeat(3, axis=2)
    return np.clip(part + noise * random.standard_normal(part.shape), 0, 255).astype(np.uint8)


def run(selector, images, period_ns=PERIOD_NS, first_ns=0):
    """Return the positions of the frames that were kept."""
    kept = []
    for i, image in enumerate(images):
        if selector.select(Frame(first_ns + i * period_ns, image)):
            kept.append(i)
    return kept


def test_standing_still_makes_one_keyframe_in_spite_of_noise_and_flicker(wall, random):
    images = [
        picture(wall, 0.3 * np.sin(i), random, noise=8.0, gain=1.0 + 0.1 * np.sin(0.2 * i))
        for i in range(150)
    ]
    assert run(KeyframeSelector(KeyframeConfig()), images) == [0]


def test_keyframes_are_as_far_apart_as_the_parallax_asks(wall, random):
    speed_px = 2.0
    images = [picture(wall, speed_px * i, random) for i in range(100)]
    kept = run(KeyframeSelector(KeyframeConfig(min_parallax=0.05, min_interval_s=0.0)), images)
    assert np.diff(kept) == pytest.approx(0.05 * WIDTH / speed_px, abs=1.0)


def test_slow_motion_makes_a_keyframe_after_the_longest_interval(wall, random):
    images = [picture(wall, 0.05 * i, random) for i in range(140)]
    kept = run(KeyframeSelector(KeyframeConfig(max_interval_s=2.0)), images)
    gaps_s = np.diff(kept) * PERIOD_NS / 1e9
    assert len(kept) >= 2 and gaps_s.min() >= 2.0


def test_keyframes_keep_the_shortest_interval(wall, random):
    images = [picture(wall, 30.0 * i, random) for i in range(60)]
    kept = run(KeyframeSelector(KeyframeConfig(min_interval_s=0.2)), images)
    assert np.diff(kept).min() * PERIOD_NS >= 0.2e9
    assert len(kept) >= 60 * PERIOD_NS / 1e9 / 0.2 - 2


def test_a_blurred_frame_waits_for_a_sharp_one(wall, random):
    blurred = {8, 9, 10}
    images = [
        picture(wall, 2.0 * i, random, noise=1.0, blur_px=15 if i in blurred else 0)
        for i in range(20)
    ]
    kept = run(KeyframeSelector(KeyframeConfig(min_interval_s=0.0)), images)
    assert kept[:2] == [0, 11]


def test_time_mode_keeps_the_interval(wall, random):
    selector = KeyframeSelector(KeyframeConfig(mode='time', min_interval_s=0.1))
    image = picture(wall, 0.0, random)
    kept = [i for i in range(20) if selector.select(Frame(i * 40_000_000, image))]
    assert kept == [0, 3, 6, 9, 12, 15, 18]


def test_a_session_begins_with_a_keyframe(wall, random):
    selector = KeyframeSelector(KeyframeConfig())
    image = picture(wall, 0.0, random)
    assert selector.select(Frame(10_000_000_000, image))
    assert not selector.select(Frame(10_050_000_000, image))
    selector.restart()
    # Of another size, from another time, whatever it shows.
    assert selector.select(Frame(1_000_000_000, image[:200]))
    assert not selector.select(Frame(1_050_000_000, image[:200]))


def test_a_bare_wall_is_no_motion_but_a_new_scene_is(random):
    bare = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    images = [np.clip(bare + random.normal(0, 3, bare.shape), 0, 255).astype(np.uint8)
              for _ in range(60)]
    selector = KeyframeSelector(KeyframeConfig())
    assert run(selector, images) == [0]
    assert run(selector, [np.full_like(bare, 20)], first_ns=60 * PERIOD_NS) == [0]
