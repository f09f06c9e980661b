# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Numbers survive the way into messages and back."""

from builtin_interfaces.msg import Time
from da3_ros.geometry import rigid
from da3_ros.ros import conversions
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
from scipy.spatial.transform import Rotation

HEADER = conversions.to_header(1_700_000_000_123_456_789, 'camera')


@given(st.integers(-2**31, 2**31 - 1), st.integers(0, 10**9 - 1))
def test_stamps_are_exact(sec, nanosec):
    """Every stamp comes back to the nanosecond, also before 1970."""
    stamp = Time(sec=sec, nanosec=nanosec)
    assert conversions.to_stamp(conversions.stamp_ns(stamp)) == stamp


@given(st.integers(0, 2**32 - 1))
def test_transforms_come_back(seed):
    """A random rigid motion survives, and its quaternion is of unit length."""
    random = np.random.default_rng(seed)
    a_T_b = rigid.from_rotation_translation(
        Rotation.random(random_state=random).as_matrix(), random.normal(size=3))
    message = conversions.to_transform(a_T_b, time_ns=5, parent='a', child='b')
    np.testing.assert_allclose(conversions.from_transform(message.transform), a_T_b, atol=1e-12)
    q = message.transform.rotation
    assert abs(q.x**2 + q.y**2 + q.z**2 + q.w**2 - 1.0) < 1e-12
    assert (message.header.frame_id, message.child_frame_id) == ('a', 'b')


def test_images_keep_their_pixels():
    """Also those of arrays that are not contiguous."""
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)[:, ::2]
    message = conversions.to_rgb_message(image, HEADER)
    assert (message.height, message.width, message.step) == (6, 4, 12)
    assert message.encoding == 'rgb8'
    np.testing.assert_array_equal(np.frombuffer(message.data, np.uint8).reshape(6, 4, 3), image)


def test_depth_keeps_what_is_not_a_number():
    """Not a number and infinity have a meaning."""
    depth = np.array([[1.5, np.nan], [np.inf, 0.25]], np.float32)
    message = conversions.to_float_message(depth, HEADER)
    assert (message.encoding, message.is_bigendian, message.step) == ('32FC1', 0, 8)
    np.testing.assert_array_equal(np.frombuffer(message.data, np.float32).reshape(2, 2), depth)


def test_camera_info_describes_a_rectified_image():
    """P is K, R is identity, D is zero."""
    k = np.array([[100.0, 0.0, 31.5], [0.0, 90.0, 23.5], [0.0, 0.0, 1.0]])
    message = conversions.to_camera_info(k, width=64, height=48, header=HEADER)
    np.testing.assert_array_equal(np.reshape(message.k, (3, 3)), k)
    np.testing.assert_array_equal(np.reshape(message.p, (3, 4))[:, :3], k)
    np.testing.assert_array_equal(np.reshape(message.r, (3, 3)), np.eye(3))
    assert list(message.d) == [0.0] * 5
    assert (message.width, message.height) == (64, 48)
    assert message.distortion_model == 'plumb_bob'


def test_odometry_has_both_covariances():
    """Row-major, pose and twist apart."""
    message = conversions.to_odometry(
        np.eye(4), pose_covariance=np.diag(np.arange(6.0)), twist_covariance=7.0 * np.eye(6),
        header=HEADER, child='base')
    np.testing.assert_array_equal(
        np.reshape(message.pose.covariance, (6, 6)), np.diag(np.arange(6.0)))
    assert message.twist.covariance[35] == 7.0
    assert message.pose.pose.orientation.w == 1.0
