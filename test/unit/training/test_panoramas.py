# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Cameras turn in panoramas as in a world, and panoramas light scenes as their light does."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
import math
from pathlib import Path

import cv2
from da3_ros.simulation.generator import generate_scene, Place
import numpy as np
import pytest
import torch

from training.dense_head import DenseMaps
from training.losses import dense_loss, LossWeights
from training.panoramas import (
    draw_turn,
    harmonics,
    light_row,
    load_panoramas,
    look,
    PanoramaBank,
    Turn,
)
from training.pool import WindowPool
from training.recipe import Format, Recipe
from training.renderer import HostRenderer
from training.targets import find_matches, make_targets
from training.windows import draw_window, Looks, stack_windows, Window

_RECORDED = Path(__file__).parents[4] / 'shared' / 'data' / 'rgbd_cc' / 'panoramas_45'


def _directions(height: int) -> np.ndarray:
    """Return the unit directions of a panorama's pixels: (h, 2 h, 3)."""
    up = np.pi * (np.arange(height) + 0.5) / height
    right = 2 * np.pi * ((np.arange(2 * height) + 0.5) / (2 * height) - 0.5)
    return np.stack([np.outer(np.sin(up), np.cos(right)), -np.outer(np.sin(up), np.sin(right)),
                     np.repeat(np.cos(up)[:, None], 2 * height, axis=1)], axis=-1)


@pytest.fixture(scope='module')
def compass() -> np.ndarray:
    """Paint each direction with its own colour."""
    return np.rint(127.5 * (_directions(256) + 1)).astype(np.uint8)


def test_a_turning_camera_sees_along_its_rays(compass: np.ndarray) -> None:
    """Every pixel has the colour of the direction it looks in, also behind and above."""
    turn = draw_turn((7,), 1, 12)
    poses = turn.world_T_camera.copy()
    poses[-1, :3, :3] = [[0, 0, -1], [1, 0, 0], [0, -1, 0]]  # straight back, over the seam
    poses[-2, :3, :3] = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]  # straight up
    turn = replace(turn, world_T_camera=poses)
    height, width = 42, 56
    seen = look(torch.from_numpy(compass), turn, (height, width)).numpy() ** (1 / 2.2)
    focal = width / 2 / np.tan(turn.fov_x_rad / 2)
    v, u = np.mgrid[:height, :width]
    rays = np.stack([(u - (width - 1) / 2) / focal, (v - (height - 1) / 2) / focal,
                     np.ones((height, width))], axis=-1)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    expected = np.einsum('nij,hwj->nihw', poses[:, :3, :3], rays)
    np.testing.assert_allclose(2 * seen - 1, expected, atol=0.02)


def test_a_panorama_goes_on_where_it_begins() -> None:
    """Straight back, over the border of a coarse panorama, colours mix as anywhere else."""
    columns = np.array([40, 90, 90, 90, 90, 90, 90, 200], np.uint8)
    panorama = torch.from_numpy(np.tile(columns[None, :, None], (4, 1, 3)))
    back = np.eye(4)
    back[:3, :3] = [[0, 0, -1], [1, 0, 0], [0, -1, 0]]
    seen = look(panorama, Turn(0, back[None], 0.01), (3, 4))[0, 0, 1] ** (1 / 2.2)
    np.testing.assert_allclose(255 * seen.numpy(), 120.0, atol=1.0)


def test_turns_turn_and_do_not_move() -> None:
    """Draws repeat; the middle ones turn by degrees a view; none moves or mirrors."""
    turns = [draw_turn((seed, 1), 5, 8) for seed in range(200)]
    again = draw_turn((3, 1), 5, 8)
    np.testing.assert_array_equal(turns[3].world_T_camera, again.world_T_camera)
    poses = np.stack([turn.world_T_camera for turn in turns])
    assert not poses[..., :3, 3].any()
    np.testing.assert_allclose(np.linalg.det(poses[..., :3, :3]), 1.0)
    cosine = np.einsum('snij,snij->sn', poses[:, 1:, :3, :3], poses[:, :-1, :3, :3])
    steps = np.degrees(np.arccos(np.clip((cosine - 1) / 2, -1, 1)))
    assert 3.0 < np.median(steps) < 12.0 and steps.max() < 30.0
    assert {turn.panorama for turn in turns} == set(range(5))
    upright = -poses[..., 2, 1]  # how far up the top of the image is
    assert np.median(upright) > 0.7


def test_light_is_what_falls_on_surfaces() -> None:
    """Against the integral over the panorama, for normals all around."""
    directions = _directions(16)
    light = (1 + 0.8 * directions ** 2 + 0.5 * directions[..., ::-1]).astype(np.float32)
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(50, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    found = harmonics(normals) @ light_row(light, 0.0).reshape(9, 3)
    weights = np.sin(np.arccos(directions[..., 2]))
    cosine = np.maximum(np.einsum('hwi,ni->nhw', directions, normals), 0.0)
    expected = 4 / weights.sum() * np.einsum('hwc,nhw,hw->nc', light, cosine, weights)
    np.testing.assert_allclose(found, expected, rtol=0.02)
    quarter = harmonics(normals) @ light_row(light, math.pi / 2).reshape(9, 3)
    turned = normals @ np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # back by a quarter
    np.testing.assert_allclose(
        quarter, harmonics(turned) @ light_row(light, 0.0).reshape(9, 3), atol=1e-5)


def test_the_kernel_lights_surfaces_with_it(renderer: HostRenderer) -> None:
    """A slanted plane of known albedo, under light from a panorama alone."""
    scene = generate_scene(4, Place.ROOM)
    rotation = cv2.Rodrigues(np.array([0.4, -0.7, 0.9]))[0]
    plane = replace(scene.primitives[0], centre=np.zeros(3), half_size=np.array([9.0, 9.0, 1.0]),
                    world_R_local=rotation)
    dark = replace(scene, primitives=(plane,), lights=(
        replace(scene.lights[0], colour=(0.0, 0.0, 0.0)),))
    arrays = dark.arrays()
    pose = np.eye(4)
    pose[:3, :3] = rotation @ np.diag([1.0, -1.0, -1.0])
    pose[:3, 3] = 2.0 * rotation[:, 2]
    light = np.random.default_rng(2).uniform(-0.1, 0.1, 27).astype(np.float32)
    light[:3] = 0.9, 1.0, 1.1
    window = Window(scene=arrays, world_T_camera=pose[None], fov_x_rad=1.0,
                    motion=np.zeros((1, 6)))
    even = renderer(stack_windows([window]), (28, 42), samples=1).radiance[0, 0]
    nothing = arrays.environment.copy()
    nothing[:3] = 0.0
    lit = replace(window, scene=replace(arrays, environment=nothing), light=light)
    found = renderer(stack_windows([lit]), (28, 42), samples=1).radiance[0, 0]
    per_albedo = arrays.environment[:3] * (0.8 + 0.2 * rotation[2, 2])
    expected = harmonics(rotation[:, 2][None])[0] @ light.reshape(9, 3)
    ratio = (found / even).flatten(1).mean(dim=1).numpy()
    np.testing.assert_allclose(ratio, expected / per_albedo, rtol=1e-4)


def test_windows_are_lit_by_panoramas() -> None:
    """As often as asked for; nothing but the light differs; on average it is as bright."""
    rng = np.random.default_rng(0)
    bank = PanoramaBank(rng.integers(0, 256, (3, 32, 64, 3)).astype(np.uint8))
    assert PanoramaBank.empty().lights.shape == (0, 16, 32, 3)
    looks = Looks(lights=bank.lights, light_share=0.5)
    weights = np.sin(np.pi * (np.arange(16) + 0.5) / 16)[:, None, None]
    mean = (bank.lights * weights).sum(axis=(1, 2)) / (32 * weights.sum())
    np.testing.assert_allclose(mean.mean(axis=1), 1.0, rtol=0.02)
    pairs = [(draw_window(seed, 2), draw_window(seed, 2, looks=looks)) for seed in range(80, 92)]
    lit = [(plain, other) for plain, other in pairs if other.light.any()]
    assert 2 <= len(lit) <= 10
    for plain, other in lit:
        np.testing.assert_array_equal(plain.scene.primitives, other.scene.primitives)
        assert not other.scene.environment[:3].any()
        np.testing.assert_allclose(other.light[:3].mean(), plain.scene.environment[:3].mean(),
                                   rtol=0.3)


def _pool(
    renderer: HostRenderer, bank: PanoramaBank | None, **changes: float
) -> WindowPool:
    recipe = replace(
        Recipe(), formats=(Format((56, 70), 6, 4),), window_sizes=(3,), pool_chunks=1,
        first_chunks=1, chunk_windows=2, window_views=4, samples=1, rig_share=1.0, **changes)
    with ThreadPoolExecutor(1) as executor:
        pool = WindowPool(
            recipe, 0, renderer, executor, torch.device('cpu'), panoramas=bank)
        pool.advance(0)
    return pool


@pytest.fixture(scope='module')
def turning_pool(renderer: HostRenderer, compass: np.ndarray) -> WindowPool:
    """Fill a pool with nothing but turning cameras, in place of bodies of two."""
    return _pool(renderer, PanoramaBank(compass[None]), turn_share=1.0)


def test_turning_windows_ask_for_cameras_alone(turning_pool: WindowPool) -> None:
    """Depth and its confidence get no gradient, rays and matches do."""
    choice = turning_pool.choose(0, 3)
    views = turning_pool.gather(choice)
    assert views.depth.isnan().all() and not views.world_T_camera[..., :3, 3].any()
    targets = make_targets(views.depth, views.world_T_camera, views.focal_px)
    for encoding in (targets.encoding, targets.given_encoding):
        assert encoding.isfinite().all() and not encoding[..., :3].any()
    maps = DenseMaps(*(torch.zeros(shape, requires_grad=True) for shape in (
        (6, 56, 70), (6, 56, 70), (6, 4, 5, 6), (6, 4, 5))))
    loss = dense_loss(maps, targets.depth, targets.valid, targets.unknown,
                      torch.rand(6, 4, 5, 6), LossWeights())
    assert loss.isfinite().all()
    loss[0].backward()
    assert not maps.log_depth.grad.any() and not maps.log_confidence.grad.any()
    assert maps.rays.grad.any() and maps.log_ray_confidence.grad.any()
    matches = find_matches(targets, choice.partner.flatten())
    assert (matches.weights.sum(dim=-1) > 0.99).double().mean() > 0.3


def test_a_turning_camera_is_alone(turning_pool: WindowPool) -> None:
    """Where it stands in for a body of two, its windows may begin at any view."""
    firsts = {int(turning_pool.choose(step, 3).views.min()) for step in range(12)}
    assert firsts == {0, 1}


def test_bodies_are_drawn_whole_and_images_coded(
    renderer: HostRenderer, turning_pool: WindowPool
) -> None:
    """Without panoramas nothing turns; JPEG changes images a little, and nothing else."""
    plain, coded = (
        _pool(renderer, None, turn_share=1.0, jpeg_share=share) for share in (0.0, 1.0))
    choices = [plain.choose(step, 3) for step in range(12)]
    assert {int(choice.views.min()) for choice in choices} == {0}
    found, wanted = (pool.gather(replace(
        choices[0], noise=torch.zeros(2, dtype=torch.float64))) for pool in (coded, plain))
    assert torch.equal(found.depth, wanted.depth) and not found.depth.isnan().any()
    assert torch.equal(found.world_T_camera, wanted.world_T_camera)
    lens = turning_pool.gather(choices[0]).focal_px
    assert (lens > 29.3).all() and (lens < 50.0).all() and (lens != wanted.focal_px).all()
    change = (found.images - wanted.images).abs().mean()
    assert 0.004 < change < 0.06


def test_matches_of_turning_views_look_alike(turning_pool: WindowPool) -> None:
    """The patch that a patch is matched with has its colour."""
    choice = turning_pool.choose(0, 3)
    views = turning_pool.gather(replace(choice, noise=torch.zeros(2, dtype=torch.float64)))
    targets = make_targets(views.depth, views.world_T_camera, views.focal_px)
    partner = choice.partner.flatten()
    matches = find_matches(targets, partner)
    colours = torch.nn.functional.avg_pool2d(views.images, 14).flatten(2).transpose(1, 2)
    grid = colours[partner][torch.arange(6)[:, None, None], matches.patches]
    wanted = (grid * matches.weights[..., None]).sum(dim=2)
    seen = matches.weights.sum(dim=-1) > 0.99
    error = (wanted - colours).abs()[seen].mean()
    spread = (colours - colours.mean(dim=1, keepdim=True)).abs().mean()
    assert error < 0.3 * spread


def test_what_is_no_panorama_is_refused(tmp_path: Path) -> None:
    """By name and size."""
    with pytest.raises(ValueError, match='expected panoramas'):
        load_panoramas(tmp_path)
    cv2.imwrite(str(tmp_path / 'photo.jpg'), np.zeros((30, 40, 3), np.uint8))
    with pytest.raises(ValueError, match=r'photo\.jpg: got 40 x 30'):
        load_panoramas(tmp_path)
    (tmp_path / 'photo.jpg').write_bytes(b'nothing')
    with pytest.raises(ValueError, match=r'photo\.jpg: got no image'):
        load_panoramas(tmp_path)


@pytest.mark.skipif(not _RECORDED.is_dir(), reason=f'needs the panoramas in {_RECORDED}')
def test_real_panoramas_are_read_and_are_the_right_way_up(tmp_path: Path) -> None:
    """Outdoors the light comes from above; red and blue are not exchanged."""
    for name in ('noon_grass', 'kloppenheim_05'):
        (tmp_path / f'{name}.jpg').symlink_to(_RECORDED / f'{name}.jpg')
    bank = load_panoramas(tmp_path)
    assert bank.images.shape == (2, 512, 1024, 3)
    up, down = (harmonics(np.array([[0.0, 0.0, z]])) for z in (1.0, -1.0))
    for light in bank.lights:
        row = light_row(light, 0.0).reshape(9, 3)
        assert (up @ row).mean() > 1.3 * (down @ row).mean()
        assert (up @ row)[0, 2] > (up @ row)[0, 0]  # a blue sky
    turn = Turn(0, draw_turn((1,), 1, 2).world_T_camera, 1.4)
    seen = look(torch.from_numpy(bank.images[0]), turn, (56, 70))
    assert seen.isfinite().all() and seen.std() > 0.02
