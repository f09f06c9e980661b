# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Cameras are held as people and robots hold them, and see as cameras do."""

import numpy as np
import torch

from training.camera_response import draw_exposure, expose, Response
from training.handling import handled, mounted_in_pairs, turned


def _level(num_views: int) -> np.ndarray:
    """Look along x of the world, upright."""
    poses = np.tile(np.eye(4), (num_views, 1, 1))
    poses[:, :3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    poses[:, 0, 3] = np.arange(num_views)
    return poses


def test_down_and_roll() -> None:
    """Looking down lowers the axis; a roll to the right lowers the right side of the camera."""
    down = turned(_level(1), down_deg=40.0, roll_deg=0.0)[0]
    np.testing.assert_allclose(down[2, 2], -np.sin(np.radians(40.0)), atol=1e-12)
    rolled = turned(_level(1), down_deg=0.0, roll_deg=20.0)[0]
    np.testing.assert_allclose(rolled[:3, 2], (1, 0, 0), atol=1e-12)
    np.testing.assert_allclose(rolled[2, 0], -np.sin(np.radians(20.0)), atol=1e-12)


def test_attitudes_cover_what_people_do() -> None:
    """Of many draws a good part looks 20 to 40 degrees down, and some are rolled."""
    rng = np.random.default_rng(0)
    axes = np.array([handled(rng, _level(2))[0, :3] for _ in range(400)])
    pitch = np.degrees(np.arcsin(-axes[:, 2, 2]))
    assert ((pitch > 20.0) & (pitch < 40.0)).mean() > 0.2
    assert (np.abs(axes[:, 2, 0]) > np.sin(np.radians(15.0))).mean() > 0.08
    rotation = axes[:, :, :3]
    np.testing.assert_allclose(rotation @ rotation.mT, np.tile(np.eye(3), (400, 1, 1)), atol=1e-9)


def test_pairs_are_rigid() -> None:
    """Where there are two cameras, each pair differs by the same motion."""
    rng = np.random.default_rng(0)
    draws = [mounted_in_pairs(rng, _level(7)) for _ in range(100)]
    rigs = [poses for poses in draws if not np.array_equal(poses, _level(7))]
    assert 3 < len(rigs) < 40
    for poses in rigs:
        offsets = np.linalg.inv(poses[0:6:2]) @ poses[1:6:2]
        np.testing.assert_allclose(offsets, np.tile(offsets[0], (3, 1, 1)), atol=1e-9)
        assert np.linalg.norm(offsets[0, :3, 3]) < 0.25


def test_the_plain_response_is_the_sensors() -> None:
    """Without draws, an image is the gamma curve of what was exposed."""
    radiance = torch.rand(2, 3, 3, 8, 10, generator=torch.Generator().manual_seed(0))
    exposure = draw_exposure(2, 3, torch.Generator().manual_seed(1))
    image = expose(radiance, exposure, Response.plain(2))
    expected = ((radiance * exposure[..., None, None]).clamp(0, 1) ** (1 / 2.2) * 255).round()
    assert (image.float() - expected).abs().max() <= 1


def test_drawn_responses_repeat_and_differ() -> None:
    """A seed gives the same cameras; some of them see grey, some darken corners."""
    first, again = (Response.draw(200, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first.gamma, again.gamma)
    assert 0.05 < (first.saturation == 0).double().mean() < 0.3
    radiance = torch.full((200, 1, 3, 9, 9), 0.5)
    radiance[:, :, 0] = 0.2
    image = expose(radiance, torch.ones(200, 1, 3), first).float()
    grey = first.saturation == 0
    assert torch.equal(image[grey, :, 0], image[grey, :, 1])
    darker = image[:, 0, 1, 0, 0] < image[:, 0, 1, 4, 4]
    assert torch.equal(darker, first.vignette > 0.02) or (darker == (first.vignette > 0.0)).double(
        ).mean() > 0.95
