# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The numbers of the tables mean what they say, and agree with evo where it is installed."""

from da3_ros.geometry import rigid
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from trajectory_metrics import compare_depths, compare_trajectories


@pytest.fixture
def random():
    return np.random.default_rng(0)


def wandering(count, random):
    """Return a path with a step of 0.1 m and a turning camera."""
    headings = np.cumsum(0.1 * random.standard_normal(count))
    steps = 0.1 * np.stack([np.cos(headings), np.sin(headings), np.zeros(count)], axis=1)
    rotations = Rotation.from_euler('z', headings[:, None]).as_matrix() @ rigid.BODY_R_OPTICAL
    return np.stack([
        rigid.from_rotation_translation(rotation, position)
        for rotation, position in zip(rotations, np.cumsum(steps, axis=0), strict=True)
    ])


def spoilt(true, random, sigma):
    """Move each pose a little, and all of them into another frame and unit."""
    noise = np.tile(np.eye(4), (len(true), 1, 1))
    noise[:, :3, 3] = sigma * random.standard_normal((len(true), 3))
    other = rigid.from_rotation_translation(
        Rotation.random(random_state=random).as_matrix(), np.array([3.0, -1.0, 2.0])
    )
    moved = other @ true @ noise
    moved[:, :3, 3] *= 0.37
    return moved


def test_another_frame_and_unit_is_no_error(random):
    true = wandering(60, random)
    errors = compare_trajectories(spoilt(true, random, 0.0), true)
    assert errors.ate_m == pytest.approx(0.0, abs=1e-9)
    assert errors.rpe_m == pytest.approx(0.0, abs=1e-9)
    assert errors.rpe_deg == pytest.approx(0.0, abs=1e-5)


def test_noise_comes_out_at_its_size(random):
    true = wandering(2000, random)
    errors = compare_trajectories(spoilt(true, random, 0.02), true)
    assert errors.ate_m == pytest.approx(0.02 * np.sqrt(3.0), rel=0.05)
    assert errors.rpe_m == pytest.approx(0.02 * np.sqrt(6.0), rel=0.05)


def test_ate_is_evos(random):
    metrics = pytest.importorskip('evo.core.metrics')
    trajectory = pytest.importorskip('evo.core.trajectory')
    true = wandering(80, random)
    estimated = spoilt(true, random, 0.05)
    reference = trajectory.PosePath3D(poses_se3=list(true))
    path = trajectory.PosePath3D(poses_se3=list(estimated))
    path.align(reference, correct_scale=True)
    ape = metrics.APE(metrics.PoseRelation.translation_part)
    ape.process_data((reference, path))
    expected = ape.get_statistic(metrics.StatisticsType.rmse)
    assert compare_trajectories(estimated, true).ate_m == pytest.approx(expected, rel=1e-9)


def test_depth_errors_ignore_one_factor_but_not_two(random):
    true = [random.uniform(1.0, 5.0, (20, 30)).astype(np.float32) for _ in range(2)]
    true[0][:5] = np.nan
    same = compare_depths([2.0 * depth for depth in true], true)
    assert same.abs_rel == pytest.approx(0.0, abs=1e-6)
    assert same.delta_1_25 == 1.0
    assert same.scale_drift == pytest.approx(0.0, abs=1e-6)
    drifting = compare_depths([1.0 * true[0], 1.5 * true[1]], true)
    assert drifting.scale_drift == pytest.approx(0.5 * np.log(1.5), rel=1e-5)
    assert drifting.delta_1_25 < 1.0
