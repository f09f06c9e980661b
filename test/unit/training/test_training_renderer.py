# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The training's kernel and the simulation's numpy renderer make the same pictures."""

from dataclasses import replace

from da3_ros.simulation.generator import generate_scene, Place
from da3_ros.simulation.lens import Lens
from da3_ros.simulation.renderer import render
from da3_ros.simulation.scene import Shape
from da3_ros.simulation.trajectory import Motion, plan_path
import numpy as np
import pytest

from training.handling import Handling
from training.renderer import HostRenderer
from training.windows import draw_window, draw_windows, stack_windows, Window

_WIDTH, _HEIGHT, _FOV_DEG = 112, 84, 75.0


@pytest.mark.parametrize(('place', 'seed'), [
    (Place.ROOM, 0), (Place.ROOM, 5), (Place.COURT, 1), (Place.COURT, 2)])
def test_same_picture(renderer: HostRenderer, place: Place, seed: int) -> None:
    """Radiance and depth agree up to rounding at the edges of things."""
    scene = generate_scene(seed, place)
    path = plan_path(scene, seed, motion=Motion.ARC, num_frames=2, rate_hz=1.0)
    window = Window(
        scene=scene.arrays(), world_T_camera=path.world_T_camera,
        fov_x_rad=np.radians(_FOV_DEG), motion=np.zeros((2, 6)))
    rendering = renderer(stack_windows([window]), (_HEIGHT, _WIDTH), samples=1)
    for view, pose in enumerate(path.world_T_camera):
        expected = render(scene, Lens(_WIDTH, _HEIGHT, _FOV_DEG), pose)
        depth = rendering.depth[0, view].numpy()
        radiance = rendering.radiance[0, view].permute(1, 2, 0).numpy()
        same_depth = np.isclose(depth, expected.depth, rtol=1e-4)
        same_radiance = np.isclose(radiance, expected.radiance, atol=2e-3).all(axis=2)
        assert same_depth.mean() > 0.998
        assert same_radiance.mean() > 0.99


def test_supersampling_keeps_the_mean_and_the_depth(renderer: HostRenderer) -> None:
    """More rays for a pixel smooth the picture; its depth is that of the middle."""
    windows = draw_windows(20, 1, 2)
    one, four = (renderer(windows, (_HEIGHT, _WIDTH), samples=n) for n in (1, 2))
    assert (one.depth == four.depth).all()
    assert not (one.radiance == four.radiance).all()
    difference = one.radiance.mean() - four.radiance.mean()
    assert abs(float(difference)) < 0.02 * float(one.radiance.mean())


@pytest.mark.parametrize(('distortion', 'samples'), [(-0.2, 1), (0.2, 2)])
def test_distortion_bends_rays(renderer: HostRenderer, distortion: float, samples: int) -> None:
    """A pixel shows what a pinhole sees along the bent ray, up to the tiles in the corners."""
    window = draw_window(21, 1)
    straight = renderer(stack_windows([replace(window, fov_x_rad=2.4)]), (450, 600), samples=1)
    bent = renderer(stack_windows([replace(window, fov_x_rad=1.6, distortion=distortion)]),
                    (_HEIGHT, _WIDTH), samples=samples)
    focal, wide = _WIDTH / (2 * np.tan(0.8)), 600 / (2 * np.tan(1.2))
    y, x = ((np.arange(side) - (side - 1) / 2) / focal for side in (_HEIGHT, _WIDTH))
    misses, errors = [], []
    for bend in (distortion, 0.0):
        stretch = 1.0 + bend * (x[None] ** 2 + y[:, None] ** 2)
        column = np.rint(wide * stretch * x[None] + 599 / 2).astype(int)
        row = np.rint(wide * stretch * y[:, None] + 449 / 2).astype(int)
        depth = straight.depth[0, 0].numpy()[row, column]
        misses.append(1 - np.isclose(bent.depth[0, 0].numpy(), depth, rtol=0.02).mean())
        light = straight.radiance[0, 0].numpy()[:, row, column]
        errors.append(np.abs(bent.radiance[0, 0].numpy() - light).mean())
    assert misses[0] < 0.04 and misses[0] < 0.3 * misses[1]
    assert errors[0] < 0.7 * errors[1]


@pytest.mark.parametrize('distortion', [-0.1, 0.1])
def test_small_things_are_seen_along_bent_rays(
    renderer: HostRenderer, distortion: float
) -> None:
    """Also where they are in the tile of another pixel of a pinhole."""
    column, row, focal = 3, 4, _WIDTH / (2 * np.tan(0.8))
    x, y = (column - (_WIDTH - 1) / 2) / focal, (row - (_HEIGHT - 1) / 2) / focal
    stretch = 1.0 + distortion * (x * x + y * y)
    scene = generate_scene(0, Place.ROOM)
    ball = replace(scene.primitives[0], shape=Shape.ELLIPSOID, half_size=np.full(3, 0.02),
                   centre=3.0 * np.array([stretch * x, stretch * y, 1.0]))
    window = Window(
        scene=replace(scene, primitives=(ball,)).arrays(), world_T_camera=np.eye(4)[None],
        fov_x_rad=1.6, motion=np.zeros((1, 6)), distortion=distortion)
    depth = renderer(stack_windows([window]), (_HEIGHT, _WIDTH), samples=1).depth[0, 0]
    assert abs(float(depth[row, column]) - 3.0) < 0.05 and depth.isfinite().sum() < 9


def test_windows_are_repeatable() -> None:
    """A seed gives the same window every time, and another one another window."""
    first, again, other = (draw_windows(seed, 1, 3, handling=Handling()) for seed in (30, 30, 31))
    np.testing.assert_array_equal(first.world_T_camera, again.world_T_camera)
    np.testing.assert_array_equal(first.primitives, again.primitives)
    assert not np.array_equal(first.world_T_camera, other.world_T_camera)
