# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Similarities: a group, and fits that recover them."""

from da3_ros.geometry import rigid
from da3_ros.geometry.sim3 import fit_sim3, Sim3
import numpy as np
import pytest
from scipy.spatial.transform import Rotation


@pytest.fixture
def random():
    return np.random.default_rng(1)


def random_sim3(random):
    rotation = Rotation.random(random_state=random).as_matrix()
    return Sim3(float(np.exp(random.normal())), rotation, random.normal(size=3))


def assert_equal(a, b):
    assert a.scale == pytest.approx(b.scale, rel=1e-12)
    np.testing.assert_allclose(a.rotation, b.rotation, atol=1e-12)
    np.testing.assert_allclose(a.translation, b.translation, atol=1e-11)


def test_chain_applies_the_right_one_first(random):
    a_S_b, b_S_c = random_sim3(random), random_sim3(random)
    points = random.normal(size=(5, 3))
    chained = (a_S_b @ b_S_c).transform_points(points)
    stepwise = a_S_b.transform_points(b_S_c.transform_points(points))
    np.testing.assert_allclose(chained, stepwise, atol=1e-12)


def test_inverse_cancels(random):
    a_S_b = random_sim3(random)
    assert_equal(a_S_b @ a_S_b.inverse(), Sim3.identity())
    assert_equal(a_S_b.inverse() @ a_S_b, Sim3.identity())


def test_pose_and_scaled_points_stay_together(random):
    a_S_b = random_sim3(random)
    b_T_camera = random_sim3(random).rigid_part()
    in_camera = random.normal(size=(7, 3))
    mapped = a_S_b.transform_points(rigid.transform_points(b_T_camera, in_camera))
    a_T_camera = a_S_b.transform_pose(b_T_camera)
    np.testing.assert_allclose(
        rigid.transform_points(a_T_camera, a_S_b.scale * in_camera), mapped, atol=1e-12
    )
    np.testing.assert_allclose(
        a_T_camera[:3, :3] @ a_T_camera[:3, :3].T, np.eye(3), atol=1e-12
    )


@pytest.mark.parametrize('flat', [False, True], ids=['general', 'planar'])
def test_fit_recovers_what_made_the_points(random, flat):
    truth = random_sim3(random)
    source = random.normal(size=(20, 3)) * [1.0, 1.0, 0.0 if flat else 1.0]
    fit = fit_sim3(truth.transform_points(source), source, np.ones(20))
    assert_equal(fit, truth)


def test_fit_ignores_points_without_weight(random):
    truth = random_sim3(random)
    source = random.normal(size=(20, 3))
    target = truth.transform_points(source)
    target[:8] += 5.0
    fit = fit_sim3(target, source, np.arange(20) >= 8)
    assert_equal(fit, truth)


def test_fit_never_mirrors(random):
    source = random.normal(size=(20, 3))
    fit = fit_sim3(source * [1.0, 1.0, -1.0], source, np.ones(20))
    assert np.linalg.det(fit.rotation) == pytest.approx(1.0)


def test_fit_keeps_a_given_scale(random):
    truth = random_sim3(random)
    source = random.normal(size=(20, 3))
    fit = fit_sim3(truth.transform_points(source), source, np.ones(20), scale=2.0)
    assert fit.scale == 2.0
    np.testing.assert_allclose(fit.rotation, truth.rotation, atol=1e-12)


def test_fit_rejects_what_determines_nothing():
    points = np.ones((4, 3))
    with pytest.raises(ValueError, match='weights'):
        fit_sim3(points, points, np.zeros(4))
    with pytest.raises(ValueError, match='source'):
        fit_sim3(points, points, np.ones(4))
