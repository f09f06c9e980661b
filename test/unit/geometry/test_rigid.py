# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Rigid motions and quaternions."""

from da3_ros.geometry import rigid
import numpy as np
import pytest
from scipy.spatial.transform import Rotation


@pytest.fixture
def random():
    return np.random.default_rng(0)


def random_motion(random):
    rotation = Rotation.random(random_state=random).as_matrix()
    return rigid.from_rotation_translation(rotation, random.normal(size=3))


def test_inverse_cancels_one_motion_and_many(random):
    motions = np.stack([random_motion(random) for _ in range(5)])
    np.testing.assert_allclose(rigid.inverse(motions) @ motions, [np.eye(4)] * 5, atol=1e-12)
    np.testing.assert_allclose(rigid.inverse(motions[0]), np.linalg.inv(motions[0]), atol=1e-12)


def test_inner_names_cancel(random):
    a_T_b, b_T_c = random_motion(random), random_motion(random)
    points = random.normal(size=(4, 3))
    np.testing.assert_allclose(
        rigid.transform_points(a_T_b @ b_T_c, points),
        rigid.transform_points(a_T_b, rigid.transform_points(b_T_c, points)), atol=1e-12,
    )


@pytest.mark.parametrize('angle', [0.0, 1e-9, 0.5, 3.0, np.pi - 1e-7, np.pi])
@pytest.mark.parametrize('axis', [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.6, 0.0, -0.8)])
def test_quaternions_survive_every_angle(axis, angle):
    rotation = Rotation.from_rotvec(angle * np.asarray(axis, dtype=np.float64)).as_matrix()
    quaternion = rigid.to_quaternion(rotation)
    assert np.linalg.norm(quaternion) == pytest.approx(1.0)
    assert quaternion[3] >= 0.0
    np.testing.assert_allclose(rigid.from_quaternion(quaternion), rotation, atol=1e-12)
    np.testing.assert_allclose(rigid.from_quaternion(-3.0 * quaternion), rotation, atol=1e-12)
    assert rigid.rotation_angle(rotation) == pytest.approx(angle, abs=1e-9)


@pytest.mark.parametrize('quaternion', [np.zeros(4), np.array([np.nan, 0.0, 0.0, 1.0])])
def test_what_is_no_rotation_is_refused(quaternion):
    with pytest.raises(ValueError, match='quaternion'):
        rigid.from_quaternion(quaternion)


def test_the_optical_frame_looks_along_x_with_y_down():
    np.testing.assert_array_equal(rigid.BODY_R_OPTICAL @ [0.0, 0.0, 1.0], [1.0, 0.0, 0.0])
    np.testing.assert_array_equal(rigid.BODY_R_OPTICAL @ [0.0, 1.0, 0.0], [0.0, 0.0, -1.0])
    assert np.linalg.det(rigid.BODY_R_OPTICAL) == pytest.approx(1.0)
