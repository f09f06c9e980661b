# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""What every generated scene, path and picture promises."""

import itertools

from da3_ros.geometry import rigid
from da3_ros.simulation.curves import Motion
from da3_ros.simulation.generator import generate_scene, Place
from da3_ros.simulation.lens import Lens
from da3_ros.simulation.renderer import render
from da3_ros.simulation.scene import Scene, Shape
from da3_ros.simulation.sensor import capture, develop, Sensor
from da3_ros.simulation.trajectory import PathLimits, plan_path, Trajectory
import numpy as np
import pytest

SEEDS = range(12)


@pytest.mark.parametrize('place', list(Place))
def test_arrays_follow_the_documented_layout(place):
    for seed in SEEDS:
        scene = generate_scene(seed, place)
        arrays = scene.arrays()
        count = len(scene.primitives)
        assert arrays.primitives.shape == (count, 16)
        assert arrays.materials.shape == (count, 13)
        assert arrays.lights.shape == (len(scene.lights), 7)
        assert arrays.environment.shape == (9,)
        assert {a.dtype for a in vars(arrays).values()} == {np.dtype(np.float32)}
        rotations = arrays.primitives[:, 7:].reshape(-1, 3, 3)
        np.testing.assert_allclose(
            rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(3), (count, 1, 1)), atol=1e-6)
        np.testing.assert_allclose(np.linalg.det(rotations), 1.0, atol=1e-6)
        assert np.all(arrays.primitives[:, 4:7] > 0.0)
        assert np.all((arrays.materials[:, 1:7] >= 0.0) & (arrays.materials[:, 1:7] <= 1.0))
        np.testing.assert_allclose(np.hypot(*arrays.materials[:, 8:10].T), 1.0, atol=1e-6)
        assert np.all(arrays.materials[:, 10] == np.floor(arrays.materials[:, 10]))
        assert np.all(arrays.materials[:, 10] < 1 << 20)


def test_a_room_is_closed_and_a_court_has_a_sky():
    for seed in SEEDS:
        for place in Place:
            scene = generate_scene(seed, place)
            path = plan_path(scene, seed, motion=Motion.TURN, num_frames=4, rate_hz=1.0)
            depth = render(scene, Lens(64, 48, 90.0), path.world_T_camera[0]).depth
            if place is Place.ROOM:
                assert np.all(np.isfinite(depth))
            assert np.isfinite(depth).mean() > 0.3


def test_clearance_is_the_distance_to_a_lone_ball():
    scene = generate_scene(0)
    balls = tuple(p for p in scene.primitives if p.shape is Shape.ELLIPSOID)[:1]
    alone = Scene(
        balls, scene.lights, scene.environment, np.full(3, -50.0), np.full(3, 50.0))
    points = balls[0].centre + np.array([[3.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    clearance = alone.clearance(points)
    assert clearance[0] <= 3.0
    assert clearance[0] > 3.0 - 2.0 * balls[0].half_size.max()
    assert clearance[1] <= 0.0


@pytest.mark.parametrize('motion', list(Motion))
def test_paths_keep_the_limits(motion):
    limits = PathLimits()
    for seed in SEEDS:
        place = list(Place)[seed % 2]
        scene = generate_scene(seed, place)
        path = plan_path(scene, seed, motion=motion, num_frames=60, rate_hz=10.0)
        centres = path.world_T_camera[:, :3, 3]
        rotations = path.world_T_camera[:, :3, :3]
        assert scene.clearance(centres).min() >= limits.clearance_m
        assert path.length_m <= 1.2 * limits.speed_m_s * 6.0 + 0.3
        low, high = limits.height_m
        assert np.all((centres[:, 2] > low - 0.02) & (centres[:, 2] < high + 0.02))
        np.testing.assert_allclose(np.linalg.det(rotations), 1.0, atol=1e-9)
        # The camera stands upright: its y axis points down within the tilt.
        assert np.all(rotations[:, 2, 1] < -0.95)
        turns = [
            rigid.rotation_angle(a.T @ b) for a, b in itertools.pairwise(rotations)]
        assert np.degrees(max(turns)) < 30.0
        steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
        assert np.abs(np.diff(steps)).max() < 0.05, 'the speed jumps'


def test_motions_do_what_they_are_called():
    scene = generate_scene(3, Place.COURT)
    paths = {
        motion: plan_path(scene, 5, motion=motion, num_frames=150, rate_hz=10.0)
        for motion in Motion
    }

    def along(motion, axis):
        """Return how far the camera ends along an axis of its first pose."""
        poses = paths[motion].world_T_camera
        return (rigid.inverse(poses[0]) @ poses[-1])[axis, 3]

    assert abs(along(Motion.FORWARD, 2)) > 0.9 * paths[Motion.FORWARD].length_m
    assert abs(along(Motion.SIDEWAYS, 0)) > 0.9 * paths[Motion.SIDEWAYS].length_m
    assert np.ptp(paths[Motion.TURN].world_T_camera[:, :2, 3], axis=0).max() < 0.02
    for closed in (Motion.LOOP, Motion.FIGURE_EIGHT):
        centres = paths[closed].world_T_camera[:, :2, 3]
        assert np.linalg.norm(centres[0] - centres[-1]) < 0.05
        assert paths[closed].length_m > 1.5


def test_a_path_is_its_seeds_alone():
    scene = generate_scene(1)
    one, two, other = (
        plan_path(scene, seed, motion=Motion.ARC, num_frames=20, rate_hz=10.0)
        for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.world_T_camera, two.world_T_camera)
    assert not np.allclose(one.world_T_camera, other.world_T_camera)


def test_pose_between_two_frames_is_half_way():
    path = plan_path(generate_scene(1), 0, motion=Motion.ARC, num_frames=20, rate_hz=10.0)
    for index in (0, 7):
        before, after = path.world_T_camera[index], path.world_T_camera[index + 1]
        middle = path.pose_at(0.1 * index + 0.05)
        np.testing.assert_allclose(middle[:3, 3], 0.5 * (before[:3, 3] + after[:3, 3]))
        angles = [
            rigid.rotation_angle(middle[:3, :3].T @ end[:3, :3]) for end in (before, after)]
        assert angles[0] == pytest.approx(angles[1], abs=1e-9)
    np.testing.assert_allclose(path.pose_at(99.0), path.world_T_camera[-1], atol=1e-12)
    np.testing.assert_allclose(path.pose_at(0.3), path.world_T_camera[3], atol=1e-12)


def test_develop_is_gamma_and_exposure():
    radiance = np.full((8, 8, 3), 0.2, dtype=np.float32)
    rng = np.random.default_rng(0)
    plain = develop(radiance, Sensor(noise=0.0), rng)
    assert np.all(plain == round(255.0 * 0.2 ** (1.0 / 2.2)))
    warm = develop(
        radiance, Sensor(exposure=2.0, white_balance=(1.2, 1.0, 0.8), noise=0.0), rng)
    np.testing.assert_array_equal(
        warm[0, 0], np.rint(255.0 * np.array([0.48, 0.4, 0.32]) ** (1.0 / 2.2)))
    grey = np.full((200, 200, 3), 0.2, dtype=np.float32)
    noisy = develop(grey, Sensor(noise=0.02), rng).astype(float)
    assert noisy.std() == pytest.approx(255.0 * 0.02, rel=0.03)


def test_a_long_shutter_blurs_a_turn():
    scene, lens = generate_scene(2), Lens(96, 72, 70.0)
    turn = plan_path(scene, 2, motion=Motion.TURN, num_frames=20, rate_hz=10.0)
    sharp, blurred = (
        capture(scene, lens, turn, 10, sensor=Sensor(noise=0.0, shutter_s=shutter, num_samples=6))
        for shutter in (0.0, 0.15))

    def roughness(shot):
        return np.abs(np.diff(shot.image.astype(float), axis=1)).mean()

    assert roughness(blurred) < 0.8 * roughness(sharp)
    np.testing.assert_array_equal(sharp.depth, blurred.depth)


def test_trajectory_length_of_a_square():
    poses = np.tile(np.eye(4), (5, 1, 1))
    poses[:, :2, 3] = [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]
    assert Trajectory(np.arange(5.0), poses).length_m == 4.0


@pytest.mark.parametrize('arguments', [(0, 5, 60.0), (5, 5, 180.0), (5, 5, 0.0)])
def test_impossible_lenses_are_refused(arguments):
    with pytest.raises(ValueError, match='got'):
        Lens(*arguments)
