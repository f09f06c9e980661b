# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What the packages of docs/interop subscribe to, by their own names, as read in their sources."""

from dataclasses import dataclass

from nav_msgs.msg import Odometry
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2


@dataclass(frozen=True)
class Contract:
    """
    What a package subscribes to, by its own names, and which encodings it takes.

    :param package: as named in our launch file of that name.
    :param topics: its topics, all to be synchronised exactly.
    :param colours: encodings that it takes for colour.
    :param reliability: that it asks for.
    :param needs_tf: whether it looks up the frame of what it takes, at its stamp.
    """

    package: str
    launch_file: str
    topics: dict[str, type]
    colours: frozenset[str] = frozenset()
    reliability: ReliabilityPolicy = ReliabilityPolicy.RELIABLE
    needs_tf: bool = True


CONTRACTS = [
    Contract('depth_image_proc', 'depth_image_proc', {
        'depth_registered/image_rect': Image, 'rgb/image_rect_color': Image,
        'da3/rgb/camera_info': CameraInfo,
    }, frozenset({'rgb8', 'rgba8', 'bgr8', 'bgra8', 'mono8'}), needs_tf=False),
    Contract('rtabmap_slam', 'rtabmap', {
        'depth/image': Image, 'rgb/image': Image, 'rgb/camera_info': CameraInfo, 'odom': Odometry,
    }, frozenset({'rgb8', 'rgba8', 'bgr8', 'bgra8', 'mono8', 'mono16'})),
    Contract('nvblox_ros', 'nvblox', {
        'camera_0/depth/image': Image, 'camera_0/depth/camera_info': CameraInfo,
        'camera_0/color/image': Image, 'camera_0/color/camera_info': CameraInfo,
    }, frozenset({'rgb8', 'bgra8'})),
    Contract('nav2_costmap_2d', 'nav2_costmap', {'da3/points': PointCloud2},
             reliability=ReliabilityPolicy.BEST_EFFORT),
]
