# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""ROS messages to and from numpy without ROS: the part of Jazzy's messages that bags hold."""

from dataclasses import dataclass
import importlib
from typing import Any

from da3_ros.geometry import rigid
from da3_ros.geometry.arrays import Array
from da3_ros.geometry.camera import DepthImage
from da3_ros.mapping.keyframe import NS_PER_S
import numpy as np
from numpy.typing import NDArray
from rosbags.typesys import get_typestore, Stores
from rosbags.typesys.store import Typestore


class MessageCodec:
    """Builds, serializes and reads messages of ROS 2 Jazzy."""

    def __init__(self) -> None:
        self.typestore: Typestore = get_typestore(Stores.ROS2_JAZZY)

    def serialize(self, message: Any) -> memoryview:
        """Return a message as CDR."""
        return self.typestore.serialize_cdr(message, message.__msgtype__)

    def deserialize(self, data: bytes, name: str) -> Any:
        """
        Read a message.

        :param data: CDR.
        :param name: of its type, like ``sensor_msgs/msg/Image``.
        """
        return self.typestore.deserialize_cdr(data, name)

    def image(self, image: NDArray[np.uint8], stamp_ns: int, frame_id: str) -> Any:
        """Build an Image of (H, W, 3) RGB."""
        return self._image(image, stamp_ns, frame_id, encoding='rgb8')

    def depth(self, depth: DepthImage, stamp_ns: int, frame_id: str) -> Any:
        """Build an Image of (H, W) float32 depth [m]."""
        return self._image(depth, stamp_ns, frame_id, encoding='32FC1')

    def camera_info(
        self, intrinsics: Array, stamp_ns: int, frame_id: str, *, width: int, height: int,
    ) -> Any:
        """Build the CameraInfo of an undistorted camera."""
        projection = np.zeros((3, 4))
        projection[:, :3] = intrinsics
        return self._new(
            'sensor_msgs/msg/CameraInfo', header=self._header(stamp_ns, frame_id),
            height=height, width=width, distortion_model='plumb_bob', d=np.zeros(5),
            k=intrinsics.ravel(), r=np.eye(3).ravel(), p=projection.ravel(),
            binning_x=0, binning_y=0,
            roi=self._new(
                'sensor_msgs/msg/RegionOfInterest', x_offset=0, y_offset=0, height=0, width=0,
                do_rectify=False),
        )

    def odometry(self, a_T_b: Array, stamp_ns: int, *, parent: str, child: str) -> Any:
        """Build the Odometry of an exactly known pose."""
        zero = self._new('geometry_msgs/msg/Vector3', x=0.0, y=0.0, z=0.0)
        return self._new(
            'nav_msgs/msg/Odometry', header=self._header(stamp_ns, parent), child_frame_id=child,
            pose=self._new(
                'geometry_msgs/msg/PoseWithCovariance', covariance=np.zeros(36),
                pose=self._new(
                    'geometry_msgs/msg/Pose', orientation=self._quaternion(a_T_b),
                    position=self._new('geometry_msgs/msg/Point', **_xyz(a_T_b)))),
            twist=self._new(
                'geometry_msgs/msg/TwistWithCovariance', covariance=np.zeros(36),
                twist=self._new('geometry_msgs/msg/Twist', linear=zero, angular=zero)),
        )

    def transform(self, a_T_b: Array, stamp_ns: int, *, parent: str, child: str) -> Any:
        """Build a TFMessage of one transform."""
        transform = self._new(
            'geometry_msgs/msg/Transform', rotation=self._quaternion(a_T_b),
            translation=self._new('geometry_msgs/msg/Vector3', **_xyz(a_T_b)))
        return self._new('tf2_msgs/msg/TFMessage', transforms=[self._new(
            'geometry_msgs/msg/TransformStamped', header=self._header(stamp_ns, parent),
            child_frame_id=child, transform=transform)])

    def _image(
        self, array: NDArray[Any], stamp_ns: int, frame_id: str, *, encoding: str,
    ) -> Any:
        data = np.ascontiguousarray(array).view(np.uint8).ravel()
        height, width = array.shape[:2]
        return self._new(
            'sensor_msgs/msg/Image', header=self._header(stamp_ns, frame_id), height=height,
            width=width, encoding=encoding, is_bigendian=0, step=len(data) // height, data=data)

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        seconds, nanoseconds = divmod(stamp_ns, NS_PER_S)
        return self._new(
            'std_msgs/msg/Header', frame_id=frame_id,
            stamp=self._new('builtin_interfaces/msg/Time', sec=seconds, nanosec=nanoseconds))

    def _quaternion(self, a_T_b: Array) -> Any:
        x, y, z, w = (float(value) for value in rigid.to_quaternion(a_T_b[:3, :3]))
        return self._new('geometry_msgs/msg/Quaternion', x=x, y=y, z=z, w=w)

    def _new(self, name: str, **fields: Any) -> Any:
        return self.typestore.types[name](**fields)


def message_class(name: str) -> Any:
    """
    Import a message's class of rclpy; only this function needs ROS.

    :param name: of the type, like ``sensor_msgs/msg/Image``.
    """
    package, _, message = name.split('/')
    return getattr(importlib.import_module(f'{package}.msg'), message)


def stamp_ns(message: Any) -> int:
    """Return the stamp of a message with a header."""
    stamp = message.header.stamp
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)


def read_image(message: Any) -> NDArray[Any]:
    """
    Read an Image.

    :returns: (H, W, 3) uint8 RGB or (H, W) float32.
    :raises ValueError: for encodings other than ``rgb8`` and ``32FC1``.
    """
    rows = message.data.reshape(message.height, message.step)
    if message.encoding == 'rgb8':
        return np.asarray(rows[:, :3 * message.width].reshape(message.height, message.width, 3))
    if message.encoding == '32FC1':
        return np.ascontiguousarray(rows[:, :4 * message.width]).view(np.float32)
    raise ValueError(f'encoding: got {message.encoding}, expected rgb8 or 32FC1')


def read_pose(message: Any) -> Array:
    """Return the pose of an Odometry: (4, 4), header's frame from child frame."""
    pose = message.pose.pose
    q, p = pose.orientation, pose.position
    return rigid.from_rotation_translation(
        rigid.from_quaternion(np.array([q.x, q.y, q.z, q.w])), np.array([p.x, p.y, p.z]))


def _xyz(a_T_b: Array) -> dict[str, float]:
    return {axis: float(value) for axis, value in zip('xyz', a_T_b[:3, 3], strict=True)}


@dataclass(frozen=True, eq=False)
class ColouredPoints:
    """
    The content of a point cloud.

    :param points: (N, 3) float32; no NaN.
    :param colours: (N, 3) uint8 RGB.
    """

    points: NDArray[np.float32]
    colours: NDArray[np.uint8]


def read_points(message: Any) -> ColouredPoints:
    """Read a PointCloud2 with the fields x, y, z and rgb; points with NaN are left out."""
    offsets = {field.name: field.offset for field in message.fields}
    rows = message.data.reshape(message.height, message.row_step)
    records = rows[:, :message.width * message.point_step].reshape(-1, message.point_step)

    def column(name: str) -> NDArray[np.uint8]:
        return np.ascontiguousarray(records[:, offsets[name]:offsets[name] + 4])

    points = np.concatenate([column(name).view(np.float32) for name in 'xyz'], axis=1)
    kept = np.isfinite(points).all(axis=1)
    # PCL packs a colour as 0x00rrggbb; in memory, little end first, it is b, g, r.
    return ColouredPoints(points[kept], column('rgb')[kept][:, 2::-1])
