# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What da3_ros relies on in sensor_msgs_py: the real one and the stand-in must pass."""

import numpy as np
import pytest
from sensor_msgs.msg import PointCloud2, PointField
from sensor_msgs_py import point_cloud2
from std_msgs.msg import Header

HEADER = Header(frame_id='camera')
XYZ = np.array([[1.0, 2.0, 3.0], [4.0, np.nan, 6.0], [7.0, 8.0, 9.0]], np.float32)


def xyz_rgb_fields() -> list[PointField]:
    fields = [
        PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
        for index, name in enumerate('xyz')]
    return [*fields, PointField(name='rgb', offset=12, datatype=PointField.UINT32, count=1)]


def xyz_rgb_points(point_step: int | None = None) -> np.ndarray:
    points = np.zeros(3, point_cloud2.dtype_from_fields(xyz_rgb_fields(), point_step))
    for index, name in enumerate('xyz'):
        points[name] = XYZ[:, index]
    points['rgb'] = [0xFF0000, 0x00FF00, 0x0000FF]
    return points


def test_xyz32_lays_points_out_in_one_row() -> None:
    cloud = point_cloud2.create_cloud_xyz32(HEADER, XYZ)
    assert isinstance(cloud, PointCloud2)
    assert cloud.header.frame_id == 'camera'
    assert (cloud.height, cloud.width, cloud.point_step, cloud.row_step) == (1, 3, 12, 36)
    assert [field.name for field in cloud.fields] == ['x', 'y', 'z']
    assert not cloud.is_dense
    assert not cloud.is_bigendian
    assert bytes(cloud.data) == XYZ.tobytes()


def test_xyz32_takes_tuples_too() -> None:
    cloud = point_cloud2.create_cloud_xyz32(HEADER, [(1, 2, 3), (4, 5, 6)])
    np.testing.assert_array_equal(
        point_cloud2.read_points_numpy(cloud), [[1, 2, 3], [4, 5, 6]])


def test_structured_points_round_trip() -> None:
    points = xyz_rgb_points()
    cloud = point_cloud2.create_cloud(HEADER, xyz_rgb_fields(), points)
    back = point_cloud2.read_points(cloud)
    assert back.dtype == points.dtype
    assert back.tobytes() == points.tobytes()


def test_a_wider_point_step_leaves_room() -> None:
    cloud = point_cloud2.create_cloud(HEADER, xyz_rgb_fields(), xyz_rgb_points(32), 32)
    assert (cloud.point_step, cloud.row_step, len(cloud.data)) == (32, 96, 96)
    back = point_cloud2.read_points(cloud, ['rgb', 'z'])
    assert back.dtype.names == ('rgb', 'z')
    assert back['rgb'].tolist() == [0xFF0000, 0x00FF00, 0x0000FF]
    np.testing.assert_array_equal(back['z'], XYZ[:, 2])


def test_skip_nans_looks_at_the_fields_that_are_asked_for() -> None:
    cloud = point_cloud2.create_cloud_xyz32(HEADER, XYZ)
    assert len(point_cloud2.read_points(cloud, skip_nans=True)) == 2
    assert len(point_cloud2.read_points(cloud, ['x', 'z'], skip_nans=True)) == 3
    cloud.is_dense = True
    assert len(point_cloud2.read_points(cloud, skip_nans=True)) == 3


def test_numpy_needs_fields_of_one_type() -> None:
    cloud = point_cloud2.create_cloud(HEADER, xyz_rgb_fields(), xyz_rgb_points())
    xyz = point_cloud2.read_points_numpy(cloud, ['x', 'y', 'z'])
    assert xyz.dtype == np.float32
    np.testing.assert_array_equal(xyz, XYZ)
    with pytest.raises(AssertionError):
        point_cloud2.read_points_numpy(cloud)


def test_uvs_select_points() -> None:
    cloud = point_cloud2.create_cloud_xyz32(HEADER, XYZ)
    np.testing.assert_array_equal(point_cloud2.read_points_numpy(cloud, uvs=[2, 0]), XYZ[[2, 0]])


def test_a_field_of_several_values_is_split() -> None:
    fields = [PointField(name='normal', offset=0, datatype=PointField.FLOAT32, count=3)]
    assert point_cloud2.dtype_from_fields(fields).names == ('normal_0', 'normal_1', 'normal_2')


def test_big_endian_is_swapped() -> None:
    points = np.array([[1.0, 2.0, 3.0]], np.float32)
    cloud = point_cloud2.create_cloud_xyz32(HEADER, points)
    cloud.data = type(cloud.data)('B', points.byteswap().tobytes())
    cloud.is_bigendian = True
    np.testing.assert_array_equal(point_cloud2.read_points_numpy(cloud), points)


def test_wrong_input_is_refused() -> None:
    cloud = point_cloud2.create_cloud_xyz32(HEADER, XYZ)
    with pytest.raises(AssertionError):
        point_cloud2.read_points(cloud, ['intensity'])
    with pytest.raises(AssertionError):
        point_cloud2.create_cloud(HEADER, xyz_rgb_fields(), XYZ)
    with pytest.raises(AssertionError):
        point_cloud2.create_cloud(HEADER, xyz_rgb_fields()[:3], xyz_rgb_points())
    cloud.data = cloud.data[:-1]
    with pytest.raises(TypeError):
        point_cloud2.read_points(cloud)
