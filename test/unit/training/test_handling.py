# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Cameras are held as people and robots hold them, and see as cameras do."""

from dataclasses import replace

from da3_ros.simulation.generator import generate_scene, Place
from da3_ros.simulation.scene import Primitive, Shape
import numpy as np
import pytest
import torch

from training.camera_response import draw_exposure, expose, Response
from training.handling import brought_near, handled, Handling, mounted, turned
from training.pool import instants
from training.renderer import HostRenderer
from training.windows import draw_window, draw_windows


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


@pytest.mark.parametrize('most', [2, 4])
def test_bodies_are_rigid(most: int) -> None:
    """Where there are several cameras, those of each instant are mounted alike."""
    rng = np.random.default_rng(0)
    handling = Handling(rig_share=0.3, rig_cameras=most)
    draws = [mounted(rng, _level(9), handling) for _ in range(200)]
    rigs = [views for views in draws if views.num_cameras > 1]
    assert 30 < len(rigs) < 90 and {views.num_cameras for views in rigs} == set(
        range(2, most + 1))
    for views in rigs:
        count, poses = views.num_cameras, views.world_T_camera
        for camera in range(1, count):
            first = poses[0::count][:len(poses[camera::count])]
            offsets = np.linalg.inv(first) @ poses[camera::count]
            np.testing.assert_allclose(
                offsets, np.tile(offsets[0], (len(offsets), 1, 1)), atol=1e-9)
            assert 0.0 < np.linalg.norm(offsets[0, :3, 3]) < 0.5
        np.testing.assert_array_equal(poses[0::count], _level(9)[:len(poses[0::count])])
    assert all(np.array_equal(v.world_T_camera, _level(9)) for v in draws if v.num_cameras == 1)


def test_views_of_an_instant_stay_together() -> None:
    """Whatever the stride, a body's cameras come all at each instant, and none twice."""
    strides = torch.tensor([1, 2, 4])
    for count in (1, 2, 3, 4):
        for num_views in (2, 8, 24):
            views = instants(
                torch.full((3,), count), strides, torch.tensor([0.0, 0.5, 0.999]), num_views, 24)
            assert views.min() >= 0 and views.max() < 24
            assert all(len(set(row)) == num_views for row in views.tolist())
            assert torch.equal(views % count, (torch.arange(num_views) % count).expand(3, -1))
            steps = views[:, ::count] // count
            assert (steps.diff(dim=1) == steps.diff(dim=1)[:, :1]).all()
    alone = instants(torch.ones(3).long(), strides, torch.tensor([0.0, 0.5, 0.999]), 4, 24)
    assert alone.tolist() == [[0, 1, 2, 3], [9, 11, 13, 15], [11, 15, 19, 23]]


def test_exposure_blurs_along_each_cameras_own_path() -> None:
    """Two cameras of a body look at different things, but do not whirl between them."""
    for seed in range(60, 72):
        window = draw_window(seed, 8, handling=Handling(rig_share=1.0))
        if window.motion.any():
            break
    assert window.num_cameras == 2 and window.motion[:6].any() and not window.motion[6:].any()
    step = np.linalg.inv(window.world_T_camera[0]) @ window.world_T_camera[2]
    turn = np.arccos(np.clip((np.trace(step[:3, :3]) - 1) / 2, -1, 1))
    share = np.linalg.norm(window.motion[0, 3:]) / np.linalg.norm(step[:3, 3])
    assert share < 0.07
    np.testing.assert_allclose(
        np.linalg.norm(window.motion[0, :3]), share * np.sin(turn), rtol=1e-4, atol=1e-9)


def test_lenses_bend_rays_by_a_share_at_the_border() -> None:
    """As much for narrow ones as for wide ones, in both directions, and only if asked for."""
    windows = draw_windows(300, 24, 2, handling=Handling(distorted_share=1.0))
    shares = windows.distortion * windows.tangents ** 2
    assert (np.abs(shares) <= 0.02).all()
    for some in (windows.tangents < 0.65, windows.tangents > 0.65):
        assert shares[some].min() < -0.01 and shares[some].max() > 0.01
    assert not draw_windows(300, 3, 2, handling=Handling()).distortion.any()


def test_near_views_look_at_what_is_near(renderer: HostRenderer) -> None:
    """Most windows can be brought to 0.5 to 1.5 m from something, none of them into it."""
    handling = Handling(rig_share=0.0, near_share=1.0)
    near, far = (draw_windows(200, 10, 5, handling=h)
                 for h in (handling, Handling(rig_share=0.0)))
    moved = ~(near.world_T_camera == far.world_T_camera).all(axis=(1, 2, 3))
    assert moved.mean() >= 0.6
    depth = renderer(near, (42, 56), samples=1).depth[:, 2, 21, 28].numpy()
    assert ((depth[moved] > 0.48) & (depth[moved] < 1.6)).all()
    steps = [np.linalg.norm(np.diff(w.world_T_camera[moved, :, :3, 3], axis=1), axis=-1).sum()
             for w in (near, far)]
    assert 0.0 < steps[0] < 0.9 * steps[1]
    rotations = [windows.world_T_camera[..., :3, :3] for windows in (near, far)]
    np.testing.assert_array_equal(*rotations)


def test_a_path_that_would_lead_into_things_stays() -> None:
    """A wall 5 m ahead; beside the place in front of it stands a pillar, or none."""
    room = generate_scene(0, Place.ROOM)

    def box(centre: tuple[float, ...], half_size: tuple[float, ...]) -> Primitive:
        return replace(room.primitives[0], shape=Shape.BOX, centre=np.array(centre),
                       half_size=np.array(half_size), world_R_local=np.eye(3))

    wall, pillar = box((5.5, 0, 0), (0.5, 3, 2)), box((4.0, 0.3, 0), (0.8, 0.1, 1))
    free = replace(room, primitives=(wall,), lower=np.full(3, -9.0), upper=np.full(3, 9.0))
    poses = _level(3)
    poses[:, :3, 3] = [[0, -1.5, 0], [0, 0, 0], [0, 1.5, 0]]
    handling = Handling(near_share=1.0)
    for seed in range(5):
        near = brought_near(np.random.default_rng(seed), free, poses, handling)
        ahead = 5.0 - near[:, 0, 3]
        assert (ahead > 0.49).all() and (ahead < 1.55).all()
        np.testing.assert_allclose(near[2, 1, 3], 1.5 * ahead[1] / 5.0, rtol=0.04)
        narrow = replace(free, primitives=(wall, pillar))
        assert brought_near(np.random.default_rng(seed), narrow, poses, handling) is poses


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
