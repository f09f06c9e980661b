# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Message classes with the fields and defaults of ROS 2's, for machines without ROS."""

from dataclasses import field, make_dataclass
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.typesys import get_typestore, Stores

_STORE = get_typestore(Stores.ROS2_JAZZY)
_CLASSES: dict[str, Any] = {}


def _class_of(name: str) -> Any:
    """Make the class of a type such as ``std_msgs/msg/Header``, once."""
    if name not in _CLASSES:
        constants, fields = _STORE.fielddefs[name]
        _CLASSES[name] = make_dataclass(
            name.rpartition('/')[2],
            [(key, Any, field(default_factory=_default_of(kind))) for key, kind in fields],
            namespace={key: value for key, _, value in constants}, eq=False)
    return _CLASSES[name]


def _default_of(kind: Any) -> Any:
    """Return what makes the value that a field has where none is given."""
    node, detail = kind
    if node == Nodetype.NAME:
        return _class_of(detail)
    if node == Nodetype.SEQUENCE:
        return list
    if node == Nodetype.ARRAY:
        return lambda: np.zeros(detail[1])
    return {'string': str, 'bool': bool, 'float32': float, 'float64': float}.get(detail[0], int)


CameraInfo = _class_of('sensor_msgs/msg/CameraInfo')
CompressedImage = _class_of('sensor_msgs/msg/CompressedImage')
Header = _class_of('std_msgs/msg/Header')
Image = _class_of('sensor_msgs/msg/Image')
OccupancyGrid = _class_of('nav_msgs/msg/OccupancyGrid')
Odometry = _class_of('nav_msgs/msg/Odometry')
Path = _class_of('nav_msgs/msg/Path')
Point = _class_of('geometry_msgs/msg/Point')
PointCloud2 = _class_of('sensor_msgs/msg/PointCloud2')
PointField = _class_of('sensor_msgs/msg/PointField')
Pose = _class_of('geometry_msgs/msg/Pose')
PoseStamped = _class_of('geometry_msgs/msg/PoseStamped')
Quaternion = _class_of('geometry_msgs/msg/Quaternion')
TFMessage = _class_of('tf2_msgs/msg/TFMessage')
Time = _class_of('builtin_interfaces/msg/Time')
Transform = _class_of('geometry_msgs/msg/Transform')
TransformStamped = _class_of('geometry_msgs/msg/TransformStamped')
Vector3 = _class_of('geometry_msgs/msg/Vector3')
