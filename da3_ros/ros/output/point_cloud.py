# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Point clouds of keyframes and of the map."""

from da3_ros.geometry import camera
from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.points import fuse, observe, WeightedPoints
from da3_ros.ros.conversions import to_bytes
from da3_ros.ros.message_types import Header, PointCloud2, PointField
from da3_ros.ros.parameters.settings import PointSettings
import numpy as np
from numpy.typing import NDArray

_NAMES = ('x', 'y', 'z', 'rgb', 'confidence')
FIELDS = tuple(
    PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
    for index, name in enumerate(_NAMES)
)
"""Floats; ``rgb`` holds the bits 0x00RRGGBB, as PCL and RViz read it."""
_POINT = np.dtype([(name, '<f4') for name in _NAMES])


def to_point_cloud(
    keyframe: PosedKeyframe,
    depth: NDArray[np.float32],
    settings: PointSettings,
    header: Header,
    *,
    frame_T_camera: NDArray[np.float64] | None = None,
) -> PointCloud2:
    """
    Back-project a keyframe.

    :param keyframe: colours, confidence and camera.
    :param depth: (H, W) as published.
    :param settings: which points.
    :param header: of the message.
    :param frame_T_camera: (4, 4) to the frame of the header, or None for the camera's own.
    """
    grid = np.s_[::settings.stride, ::settings.stride]
    if settings.voxel_m > 0.0:
        return _thinned(keyframe, depth, settings, header, frame_T_camera, grid)
    points = np.empty(depth[grid].shape, _POINT)
    known = np.where(np.isfinite(depth), depth, np.float32(np.nan))
    xyz = camera.unproject(known, keyframe.intrinsics)[grid]
    if frame_T_camera is not None:
        # In single precision: that of the message, and six times as fast.
        xyz = xyz @ frame_T_camera[:3, :3].T.astype(np.float32)
        xyz += frame_T_camera[:3, 3].astype(np.float32)
    for axis, name in enumerate('xyz'):
        points[name] = xyz[..., axis]
    points['rgb'] = _packed_colours(keyframe.image[grid])
    confidence = None if keyframe.confidence is None else keyframe.confidence[grid]
    points['confidence'] = np.nan if confidence is None else confidence
    valid = _valid(depth[grid], confidence, settings)
    return _organized(points, valid, header) if settings.organized else _dense(
        points, valid, header)


def to_fused_cloud(
    points: WeightedPoints, header: Header, *, has_confidence: bool = True
) -> PointCloud2:
    """
    Make a cloud of fused points.

    :param points: in the frame of the header.
    :param header: of the message.
    :param has_confidence: whether the points were weighted by confidence.
    """
    packed = np.empty(len(points), _POINT)
    for axis, name in enumerate('xyz'):
        packed[name] = points.positions[:, axis]
    packed['rgb'] = _packed_colours(np.rint(points.colours).astype(np.uint8))
    packed['confidence'] = points.confidence if has_confidence else np.nan
    return _dense(packed, np.ones(len(points), np.bool_), header)


def _thinned(
    keyframe: PosedKeyframe, depth: NDArray[np.float32], settings: PointSettings, header: Header,
    frame_T_camera: NDArray[np.float64] | None, grid: tuple[slice, slice],
) -> PointCloud2:
    on_grid = np.full_like(depth, np.nan)
    on_grid[grid] = depth[grid]
    points = observe(
        keyframe, on_grid,
        frame_S_camera=Sim3.from_rigid(np.eye(4) if frame_T_camera is None else frame_T_camera),
        min_confidence=settings.min_confidence, limit=settings.limit_m)
    return to_fused_cloud(
        fuse(points, settings.voxel_m), header, has_confidence=keyframe.confidence is not None)


def _valid(
    depth: NDArray[np.float32], confidence: NDArray[np.float32] | None, settings: PointSettings
) -> NDArray[np.bool_]:
    valid = np.isfinite(depth) & (depth <= settings.limit_m)
    if confidence is not None:
        valid &= confidence >= settings.min_confidence
    return valid


def _packed_colours(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    channels = image.astype(np.uint32)
    return (channels[..., 0] << 16 | channels[..., 1] << 8 | channels[..., 2]).view(np.float32)


def _dense(
    points: NDArray[np.void], valid: NDArray[np.bool_], header: Header
) -> PointCloud2:
    # A quarter of the time of points[valid].
    kept = points.ravel().compress(valid.ravel())
    return _to_message(kept[None], header, is_dense=True)


def _organized(
    points: NDArray[np.void], valid: NDArray[np.bool_], header: Header
) -> PointCloud2:
    for name in 'xyz':
        points[name][~valid] = np.nan
    return _to_message(points, header, is_dense=False)


def _to_message(
    points: NDArray[np.void], header: Header, *, is_dense: bool
) -> PointCloud2:
    height, width = points.shape
    cloud = PointCloud2(
        header=header, height=height, width=width, fields=list(FIELDS), is_bigendian=False,
        point_step=_POINT.itemsize, row_step=_POINT.itemsize * width, is_dense=is_dense)
    cloud.data = to_bytes(points)
    return cloud
