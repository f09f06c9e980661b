# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""The renderer against closed forms and against itself from two places."""

from da3_ros.geometry import camera, rigid
from da3_ros.simulation.curves import Motion
from da3_ros.simulation.furniture import rotation_z
from da3_ros.simulation.generator import generate_scene, Place
from da3_ros.simulation.lens import Lens
from da3_ros.simulation.renderer import render, render_depth
from da3_ros.simulation.scene import (
    Environment,
    Light,
    Material,
    Primitive,
    Scene,
    Shape,
    Texture,
)
from da3_ros.simulation.trajectory import plan_path
import numpy as np
import pytest

LENS = Lens(width=96, height=72, fov_x_deg=80.0)
MATT = Material(Texture.NOISE, (0.6, 0.5, 0.4), (0.2, 0.1, 0.1), cells_per_m=2.0)


def scene_of(*primitives, lights=None):
    lights = lights or (Light(False, np.array([0.0, 0.0, 5.0]), (1.0, 1.0, 1.0)),)
    return Scene(
        primitives, lights, Environment((0.3, 0.3, 0.3), (0.5, 0.6, 0.7), (0.1, 0.2, 0.8)),
        lower=np.full(3, -10.0), upper=np.full(3, 10.0))


def solid(shape, centre, half_size, world_R_local=None, material=MATT):
    rotation = np.eye(3) if world_R_local is None else world_R_local
    return Primitive(shape, np.array(centre), np.array(half_size), rotation, material)


def looking_along_x(position=(0.0, 0.0, 1.0), yaw_rad=0.0):
    return rigid.from_rotation_translation(
        rotation_z(yaw_rad) @ rigid.BODY_R_OPTICAL, np.array(position))


def rays():
    u, v = np.meshgrid(np.arange(LENS.width), np.arange(LENS.height))
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1)
    return pixels @ np.linalg.inv(LENS.intrinsics).T


def test_a_wall_across_the_view_has_one_depth():
    wall = solid(
        Shape.PLANE, (3.0, 0.0, 1.0), (20.0, 20.0, 1.0),
        np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    depth = render_depth(scene_of(wall), LENS, looking_along_x())
    np.testing.assert_allclose(depth, 3.0, rtol=1e-6)


def test_the_ground_has_the_depth_of_its_plane():
    ground = solid(Shape.PLANE, (0.0, 0.0, 0.0), (1e4, 1e4, 1.0))
    depth = render_depth(scene_of(ground), LENS, looking_along_x(position=(0.3, -2.0, 1.25)))
    down = rays()[..., 1]
    seen = down > 1e-3
    np.testing.assert_allclose(depth[seen], 1.25 / down[seen], rtol=1e-5)
    assert np.all(np.isinf(depth[down < 0.0]))


def test_a_sphere_has_the_depth_of_the_quadratic_formula():
    centre, radius = np.array([0.2, -0.1, 2.5]), 0.8
    pose = looking_along_x()
    sphere = solid(
        Shape.ELLIPSOID, rigid.transform_points(pose, centre), np.full(3, radius), rotation_z(0.7))
    depth = render_depth(scene_of(sphere), LENS, pose)
    ray = rays()
    a = (ray * ray).sum(axis=-1)
    b = ray @ centre
    root = b * b - a * (centre @ centre - radius ** 2)
    # Pixels within 1e-3 of the rim may fall to either side in float32.
    hit = root > 1e-3
    np.testing.assert_allclose(depth[hit], ((b - np.sqrt(np.abs(root))) / a)[hit], rtol=2e-5)
    assert np.all(np.isinf(depth[root < -1e-3]))
    assert 200 < hit.sum() < hit.size


@pytest.mark.parametrize('shape', [Shape.BOX, Shape.CYLINDER])
def test_hits_lie_on_the_turned_solid(shape):
    pose = looking_along_x()
    world_R_local = rotation_z(0.5) @ rigid.from_quaternion(np.array([0.3, 0.2, 0.1, 0.9]))
    half_size = np.array([0.5, 0.7, 0.4])
    body = solid(shape, (2.5, 0.1, 1.1), half_size, world_R_local)
    depth = render_depth(scene_of(body), LENS, pose)
    seen = np.isfinite(depth)
    points = rigid.transform_points(pose, camera.unproject(depth, LENS.intrinsics)[seen])
    q = np.abs((points - body.centre) @ world_R_local) / half_size
    size = q.max(axis=1) if shape is Shape.BOX else np.maximum(
        np.hypot(q[:, 0], q[:, 1]), q[:, 2])
    assert seen.sum() > 300
    np.testing.assert_allclose(size, 1.0, atol=2e-5)


def test_the_nearer_solid_hides_the_farther():
    near = solid(Shape.BOX, (2.0, 0.0, 1.0), (0.2, 0.3, 0.3))
    far = solid(Shape.BOX, (4.0, 0.0, 1.0), (0.2, 4.0, 4.0))
    for scene in (scene_of(near, far), scene_of(far, near)):
        rendering = render(scene, LENS, looking_along_x())
        inside = rendering.depth[LENS.height // 2, LENS.width // 2]
        assert inside == pytest.approx(1.8, rel=1e-6)
        assert rendering.depth[0, 0] == pytest.approx(3.8, rel=1e-6)


def test_the_cameras_own_place_and_its_back_show_nothing():
    around = solid(Shape.BOX, (0.0, 0.0, 1.0), (0.5, 0.5, 0.5))
    behind = solid(Shape.ELLIPSOID, (-3.0, 0.0, 1.0), (1.0, 1.0, 1.0))
    rendering = render(scene_of(around, behind), LENS, looking_along_x())
    assert np.all(rendering.primitive == -1)
    assert np.all(np.isinf(rendering.depth))
    assert np.all(np.isfinite(rendering.radiance))


def test_a_lamp_behind_a_box_leaves_only_ambient_light():
    ground = solid(Shape.PLANE, (0.0, 0.0, 0.0), (20.0, 20.0, 1.0))
    roof = solid(Shape.BOX, (3.0, 0.0, 3.0), (0.8, 0.8, 0.1))
    lamp = (Light(False, np.array([3.0, 0.0, 4.0]), (1.0, 1.0, 1.0)),)
    sun = (Light(True, np.array([0.0, 0.0, 1.0]), (1.0, 1.0, 1.0)),)
    dark = (Light(False, np.array([3.0, 0.0, 4.0]), (0.0, 0.0, 0.0)),)
    pose = looking_along_x()
    reference = render(scene_of(ground, roof, lights=dark), LENS, pose)
    on_ground = reference.primitive == 0
    depth = np.where(on_ground, reference.depth, 0.0)
    point = rigid.transform_points(pose, camera.unproject(depth, LENS.intrinsics))
    for lights in (lamp, sun):
        image = render(scene_of(ground, roof, lights=lights), LENS, pose).radiance
        gained = (image - reference.radiance).max(axis=-1)
        across = np.abs(point[..., :2] - np.array([3.0, 0.0])).max(axis=-1)
        reach = 0.8 if lights is sun else 0.8 * 4.0 / 0.9
        assert np.all(gained[on_ground & (across < 0.98 * reach)] < 1e-6)
        assert np.all(gained[on_ground & (across > 1.15 * reach) & (across < 5.0)] > 1e-3)


@pytest.mark.parametrize('place', list(Place))
def test_two_views_agree_on_place_and_colour(place):
    scene = generate_scene(4, place)
    path = plan_path(scene, 1, motion=Motion.ORBIT, num_frames=12, rate_hz=10.0)
    lens = Lens(160, 120, 70.0)
    one, two = (render(scene, lens, path.world_T_camera[i]) for i in (2, 5))
    two_T_one = rigid.inverse(path.world_T_camera[5]) @ path.world_T_camera[2]
    depth = np.where(np.isfinite(one.depth), one.depth, np.nan)
    points = rigid.transform_points(two_T_one, camera.unproject(depth, lens.intrinsics))
    pixels = camera.project(points, lens.intrinsics)
    with np.errstate(invalid='ignore'):
        nearest = np.rint(pixels)
        inside = np.all((nearest >= 0) & (nearest < (lens.width, lens.height)), axis=-1)
        inside &= np.abs(pixels - nearest).max(axis=-1) < 0.15
    u, v = nearest[inside].astype(int).T
    same = two.primitive[v, u] == one.primitive[inside]
    assert same.sum() > 200
    assert same.mean() > 0.9
    relative = np.abs(two.depth[v, u] / points[inside][:, 2] - 1.0)[same]
    assert np.median(relative) < 0.002
    difference = np.abs(two.radiance[v, u] - one.radiance[inside]).max(axis=-1)[same]
    # Within 0.15 of a pixel textures differ by a little, highlights and edges by more.
    assert np.median(difference) < 0.02
    contrast = np.abs(np.diff(one.radiance, axis=1)).max(axis=-1)
    assert np.median(difference) < np.mean(contrast)


def test_a_textured_wall_is_the_mean_of_its_samples():
    """The textures are filtered: a pixel far away is the mean of what it covers."""
    upright = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    for texture in Texture:
        look = Material(texture, (0.9, 0.6, 0.3), (0.1, 0.2, 0.3), cells_per_m=1.0, seed=5)
        wall = solid(Shape.PLANE, (30.0, 0.0, 1.0), (80.0, 80.0, 1.0), upright, look)
        sun = (Light(True, np.array([-1.0, 0.0, 0.0]), (0.7, 0.7, 0.7)),)
        coarse = render(scene_of(wall, lights=sun), Lens(32, 24, 60.0), looking_along_x())
        fine = render(scene_of(wall, lights=sun), Lens(512, 384, 60.0), looking_along_x())
        means = fine.radiance.reshape(24, 16, 32, 16, 3).mean(axis=(1, 3))
        assert np.abs(coarse.radiance.mean() / means.mean() - 1.0) < 0.12, texture
        assert coarse.radiance.std() < 1.6 * means.std() + 0.02, texture


@pytest.mark.parametrize('place', list(Place))
def test_the_same_seed_gives_the_same_picture(place):
    pose = looking_along_x()
    one, two, other = (
        render(generate_scene(seed, place), LENS, pose) for seed in (7, 7, 8))
    np.testing.assert_array_equal(one.radiance, two.radiance)
    np.testing.assert_array_equal(one.depth, two.depth)
    assert np.mean(one.depth != other.depth) > 0.5
