# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Numbers become messages.

Message fields get Python's own int, float and bool: some middleware sends numpy's as garbage.
Stamps are integers throughout.
"""

import array

from da3_ros.geometry import rigid
from da3_ros.geometry.arrays import Array
from da3_ros.mapping.keyframe import NS_PER_S
from da3_ros.ros.message_types import (
    CameraInfo,
    Header,
    Image,
    Odometry,
    Point,
    Pose,
    PoseStamped,
    Quaternion,
    Time,
    Transform,
    TransformStamped,
    Vector3,
)
import numpy as np
from numpy.typing import NDArray

_NUM_PLUMB_BOB = 5


def stamp_ns(stamp: Time) -> int:
    """
    Read a stamp.

    :param stamp: of a header.
    :returns: [ns].
    """
    return stamp.sec * NS_PER_S + stamp.nanosec


def to_stamp(time_ns: int) -> Time:
    """
    Write a stamp.

    :param time_ns: [ns].
    """
    sec, nanosec = divmod(time_ns, NS_PER_S)
    return Time(sec=sec, nanosec=nanosec)


def to_header(time_ns: int, frame_id: str) -> Header:
    """
    Make a header.

    :param time_ns: [ns].
    :param frame_id: of the data.
    """
    return Header(stamp=to_stamp(time_ns), frame_id=frame_id)


def to_bytes(values: NDArray[np.generic]) -> 'array.array[int]':
    """
    Copy an array into what a message's ``data`` takes fastest.

    :param values: of any shape and type.
    """
    data = array.array('B')
    # Flat: nothing at all has no other shape that can be cast.
    data.frombytes(memoryview(np.ascontiguousarray(values).ravel()).cast('B'))
    return data


def to_signed_bytes(values: NDArray[np.int8]) -> 'array.array[int]':
    """
    Copy an array into the ``data`` of a grid.

    :param values: of any shape.
    """
    data = array.array('b')
    data.frombytes(np.ascontiguousarray(values).tobytes())
    return data


def to_rgb_message(image: NDArray[np.uint8], header: Header) -> Image:
    """
    Make an rgb8 image.

    :param image: (H, W, 3) uint8 RGB.
    :param header: of the message.
    """
    return _to_image(image, 'rgb8', header)


def to_float_message(values: NDArray[np.float32], header: Header) -> Image:
    """
    Make a 32FC1 image.

    :param values: (H, W) float32.
    :param header: of the message.
    """
    return _to_image(values.astype(np.float32, copy=False), '32FC1', header)


def _to_image(pixels: NDArray[np.generic], encoding: str, header: Header) -> Image:
    message = Image(header=header)
    message.height, message.width = (int(side) for side in pixels.shape[:2])
    message.encoding = encoding
    message.step = int(pixels[0].nbytes)
    message.data = to_bytes(pixels)
    return message


def to_camera_info(intrinsics: Array, *, width: int, height: int, header: Header) -> CameraInfo:
    """
    Describe a rectified image.

    :param intrinsics: (3, 3) [px].
    :param width: of the image [px].
    :param height: of the image [px].
    :param header: of the message.
    """
    projection = np.hstack([intrinsics, np.zeros((3, 1))])
    return CameraInfo(
        header=header,
        width=int(width),
        height=int(height),
        distortion_model='plumb_bob',
        d=[0.0] * _NUM_PLUMB_BOB,
        k=_floats(intrinsics),
        r=_floats(np.eye(3)),
        p=_floats(projection),
    )


def to_pose(a_T_b: Array) -> Pose:
    """
    Make a pose.

    :param a_T_b: (4, 4).
    """
    x, y, z = _floats(a_T_b[:3, 3])
    return Pose(position=Point(x=x, y=y, z=z), orientation=_to_quaternion(a_T_b))


def to_transform(a_T_b: Array, *, time_ns: int, parent: str, child: str) -> TransformStamped:
    """
    Make a transform.

    :param a_T_b: (4, 4).
    :param time_ns: [ns].
    :param parent: name of a.
    :param child: name of b.
    """
    x, y, z = _floats(a_T_b[:3, 3])
    transform = Transform(
        translation=Vector3(x=x, y=y, z=z), rotation=_to_quaternion(a_T_b)
    )
    return TransformStamped(
        header=to_header(time_ns, parent), child_frame_id=child, transform=transform
    )


def from_transform(transform: Transform) -> Array:
    """
    Read a transform.

    :param transform: parent from child.
    :returns: (4, 4) ``parent_T_child``.
    """
    t, q = transform.translation, transform.rotation
    rotation = rigid.from_quaternion(np.array([q.x, q.y, q.z, q.w]))
    return rigid.from_rotation_translation(rotation, np.array([t.x, t.y, t.z]))


def to_odometry(
    world_T_body: Array, *, pose_covariance: Array, twist_covariance: Array, header: Header,
    child: str,
) -> Odometry:
    """
    Make an odometry message without a velocity.

    :param world_T_body: (4, 4).
    :param pose_covariance: (6, 6) of x, y, z and rotations about the fixed axes [m, rad].
    :param twist_covariance: (6, 6), large: the velocity is unknown.
    :param header: of the message; the frame of the pose.
    :param child: name of the body.
    """
    message = Odometry(header=header, child_frame_id=child)
    message.pose.pose = to_pose(world_T_body)
    message.pose.covariance = _floats(pose_covariance)
    message.twist.covariance = _floats(twist_covariance)
    return message


def to_pose_stamped(world_T_body: Array, header: Header) -> PoseStamped:
    """
    Make a pose of a path.

    :param world_T_body: (4, 4).
    :param header: of the message; the frame of the pose.
    """
    return PoseStamped(header=header, pose=to_pose(world_T_body))


def _to_quaternion(a_T_b: Array) -> Quaternion:
    x, y, z, w = _floats(rigid.to_quaternion(a_T_b[:3, :3]))
    return Quaternion(x=x, y=y, z=z, w=w)


def _floats(values: Array) -> list[float]:
    return [float(value) for value in np.asarray(values).ravel()]
