# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Between PointCloud2 messages and numpy arrays."""

import array
from collections.abc import Iterable, Sequence
import sys

import numpy as np
from numpy.lib.recfunctions import structured_to_unstructured, unstructured_to_structured
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

_SCALARS = {
    PointField.INT8: 'i1', PointField.UINT8: 'u1', PointField.INT16: 'i2',
    PointField.UINT16: 'u2', PointField.INT32: 'i4', PointField.UINT32: 'u4',
    PointField.FLOAT32: 'f4', PointField.FLOAT64: 'f8',
}


def dtype_from_fields(
    fields: Iterable[PointField], point_step: int | None = None,
) -> np.dtype:
    """
    Give the structured type of one point.

    :param point_step: size of a point in bytes; default: just beyond its last field.
    """
    names: list[str] = []
    formats: list[str] = []
    offsets: list[int] = []
    for index, field in enumerate(fields):
        name = field.name or f'unnamed_field_{index}'
        scalar = np.dtype(_SCALARS[field.datatype])
        assert field.count > 0, "Can't process fields with count = 0."
        for item in range(field.count):
            names.append(name if field.count == 1 else f'{name}_{item}')
            formats.append(scalar.str)
            offsets.append(field.offset + item * scalar.itemsize)
    assert len(set(names)) == len(names), 'Duplicate field names are not allowed!'
    description = {'names': names, 'formats': formats, 'offsets': offsets}
    if point_step is not None:
        description['itemsize'] = point_step
    return np.dtype(description)


def read_points(
    cloud: PointCloud2,
    field_names: Iterable[str] | None = None,
    skip_nans: bool = False,
    uvs: Iterable[int] | None = None,
    reshape_organized_cloud: bool = False,
) -> np.ndarray:
    """
    Read points as a structured array that shares the message's memory where it can.

    :param skip_nans: drop points with a NaN in any of the fields, unless the cloud is dense.
    :param uvs: indices of the points to keep.
    :param reshape_organized_cloud: return (width, height), in this order, if height > 1.
    """
    assert isinstance(cloud, PointCloud2), 'Cloud is not a sensor_msgs.msg.PointCloud2'
    dtype = dtype_from_fields(cloud.fields, cloud.point_step)
    points = np.ndarray((cloud.width * cloud.height,), dtype, buffer=cloud.data)
    if field_names is not None:
        selected = list(field_names)
        assert set(selected) <= set(dtype.names), \
            'Requests field is not in the fields of the PointCloud!'
        points = points[selected]
    if cloud.is_bigendian == (sys.byteorder == 'little'):
        points = points.byteswap(inplace=True)
    if skip_nans and not cloud.is_dense:
        invalid = [np.isnan(points[name]) for name in points.dtype.names]
        points = points[~np.any(invalid, axis=0)]
    if uvs is not None:
        points = points[np.asarray(list(uvs), int)]
    if reshape_organized_cloud and cloud.height > 1:
        points = points.reshape(cloud.width, cloud.height)
    return points


def read_points_numpy(
    cloud: PointCloud2,
    field_names: Iterable[str] | None = None,
    skip_nans: bool = False,
    uvs: Iterable[int] | None = None,
    reshape_organized_cloud: bool = False,
) -> np.ndarray:
    """
    Read fields of one type as a plain array.

    :returns: (P, F).
    """
    names = None if field_names is None else list(field_names)
    datatypes = {
        field.datatype for field in cloud.fields if names is None or field.name in names}
    assert len(datatypes) == 1, \
        'All fields need to have the same datatype. Use `read_points()` otherwise.'
    return structured_to_unstructured(
        read_points(cloud, names, skip_nans, uvs, reshape_organized_cloud))


def create_cloud(
    header: Header,
    fields: Sequence[PointField],
    points: Iterable,
    point_step: int | None = None,
) -> PointCloud2:
    """
    Create a cloud, marked as not dense.

    :param points: a structured array of just the fields' type, a plain (P, F) array for fields
        of one type, or tuples.
    """
    dtype = dtype_from_fields(fields, point_step)
    if not isinstance(points, np.ndarray):
        structured = np.array([tuple(point) for point in points], dtype)
    elif points.dtype.names is None:
        assert len({field.datatype for field in fields}) == 1, \
            'All fields need to have the same datatype. Pass a structured NumPy array otherwise.'
        structured = unstructured_to_structured(points, dtype=dtype)
    else:
        assert points.dtype == dtype, \
            'PointFields and structured NumPy array dtype do not match for all fields!'
        structured = points
    assert structured.ndim <= 2, 'Points can only be organized in max. two dimensions'
    data = array.array('B')
    data.frombytes(memoryview(structured).cast('B'))
    cloud = PointCloud2(
        header=header,
        width=structured.shape[0],
        height=structured.shape[1] if structured.ndim == 2 else 1,
        is_dense=False,
        is_bigendian=sys.byteorder == 'big',
        fields=fields,
        point_step=dtype.itemsize,
        row_step=dtype.itemsize * structured.shape[0],
    )
    cloud.data = data
    return cloud


def create_cloud_xyz32(header: Header, points: Iterable) -> PointCloud2:
    """
    Create a cloud of x, y, z.

    :param points: (P, 3).
    """
    fields = [
        PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
        for index, name in enumerate('xyz')]
    return create_cloud(header, fields, points)
