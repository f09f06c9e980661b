# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Conditioning on poses: network units in, the poses' own unit out."""

from da3_ros.geometry import rigid
from da3_ros.inference.conditioning import condition_on, network_unit
import numpy as np
import pytest


def random_rotation(rng):
    return rigid.from_quaternion(rng.normal(size=4))


def random_trajectory(num_views, seed=0, step=1.0):
    rng = np.random.default_rng(seed)
    centers = np.cumsum(rng.normal(scale=step, size=(num_views, 3)), axis=0)
    return np.stack([
        rigid.from_rotation_translation(random_rotation(rng), center) for center in centers
    ])


def transformed(poses, seed, scale):
    """Move a trajectory by a similarity."""
    rng = np.random.default_rng(seed)
    moved = rigid.from_rotation_translation(random_rotation(rng), rng.normal(size=3)) @ poses
    moved[:, :3, 3] *= scale
    return moved


def cameras(num_views):
    return np.tile(np.diag([100.0, 100.0, 1.0]), (num_views, 1, 1))


def test_the_first_view_becomes_the_origin_and_the_median_distance_one():
    conditioning = condition_on(random_trajectory(7, step=5.0), cameras(7))
    assert np.allclose(conditioning.extrinsics[0], np.eye(4), atol=1e-12)
    distances = np.linalg.norm(rigid.inverse(conditioning.extrinsics)[:, :3, 3], axis=1)
    assert np.isclose(np.median(distances), 1.0)


def test_the_network_sees_no_world_frame():
    """Moving the world changes nothing; scaling it changes the unit alone."""
    poses = random_trajectory(5, step=3.0)
    plain = condition_on(poses, cameras(5))
    moved = condition_on(transformed(poses, seed=1, scale=4.0), cameras(5))
    assert np.allclose(moved.extrinsics, plain.extrinsics, atol=1e-9)
    assert np.isclose(moved.unit, 4.0 * plain.unit)


def test_close_poses_are_not_blown_up():
    poses = random_trajectory(4, step=1e-4)
    assert condition_on(poses, cameras(4)).unit == 0.1


@pytest.mark.parametrize('num_views', [2, 3, 9, 10, 25])
def test_the_unit_of_a_prediction_is_recovered(num_views):
    given = random_trajectory(num_views)
    predicted = transformed(given, seed=5, scale=0.3)
    unit = network_unit(given, predicted, expected=1.0)
    assert np.isclose(unit, 1.0 / 0.3, rtol=1e-9)


def test_outliers_among_many_views_do_not_move_the_unit():
    given = random_trajectory(40)
    predicted = transformed(given, seed=5, scale=2.0)
    predicted[7, :3, 3] += 80.0
    assert np.isclose(network_unit(given, predicted, expected=1.0), 0.5, rtol=0.02)


def test_a_straight_line_tells_the_unit():
    """Upstream's alignment refuses trajectories without a unique rotation."""
    given = np.tile(np.eye(4), (6, 1, 1))
    given[:, 0, 3] = np.arange(6)
    predicted = transformed(given, seed=2, scale=7.0)
    assert np.isclose(network_unit(given, predicted, expected=1.0), 1.0 / 7.0)


@pytest.mark.parametrize('num_views', [1, 2, 12])
@pytest.mark.parametrize('which', ['given', 'predicted', 'both'])
def test_views_in_one_place_fall_back_to_the_expected_unit(num_views, which):
    moving = random_trajectory(num_views)
    still = moving.copy()
    still[:, :3, 3] = 3.0
    given = still if which in ('given', 'both') else moving
    predicted = still if which in ('predicted', 'both') else moving
    assert network_unit(given, predicted, expected=0.25) == 0.25


def test_a_unit_is_always_positive_and_finite():
    """Also for predictions that have nothing to do with the given poses."""
    for seed in range(50):
        given = random_trajectory(2 + seed % 14, seed=seed)
        predicted = random_trajectory(2 + seed % 14, seed=1000 + seed)
        unit = network_unit(given, predicted, expected=1.0)
        assert np.isfinite(unit) and unit > 0.0


@pytest.mark.parametrize('poses', [
    np.eye(4),
    np.zeros((2, 4, 4)),
    np.tile(np.diag([2.0, 2.0, 2.0, 1.0]), (2, 1, 1)),
    np.tile(np.diag([-1.0, 1.0, 1.0, 1.0]), (2, 1, 1)),
    np.full((2, 4, 4), np.nan),
])
def test_other_matrices_are_refused(poses):
    with pytest.raises(ValueError, match='poses'):
        condition_on(poses, cameras(2))
