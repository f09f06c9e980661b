# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
The messages that the node makes: ROS's classes, or stand-ins where there is no ROS.

A recording becomes a bag with the node's messages on machines without ROS, too; so what makes
messages takes their classes from here.
"""

try:
    from builtin_interfaces.msg import Time
    from geometry_msgs.msg import (
        Point,
        Pose,
        PoseStamped,
        Quaternion,
        Transform,
        TransformStamped,
        Vector3,
    )
    from nav_msgs.msg import OccupancyGrid, Odometry, Path
    from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
    from std_msgs.msg import Header
    from tf2_msgs.msg import TFMessage
except ImportError:
    from da3_ros.ros.standin_messages import (
        CameraInfo,
        CompressedImage,
        Header,
        Image,
        OccupancyGrid,
        Odometry,
        Path,
        Point,
        PointCloud2,
        PointField,
        Pose,
        PoseStamped,
        Quaternion,
        TFMessage,
        Time,
        Transform,
        TransformStamped,
        Vector3,
    )

__all__ = [
    'CameraInfo', 'CompressedImage', 'Header', 'Image', 'OccupancyGrid', 'Odometry', 'Path',
    'Point', 'PointCloud2', 'PointField', 'Pose', 'PoseStamped', 'Quaternion', 'TFMessage',
    'Time', 'Transform', 'TransformStamped', 'Vector3',
]
