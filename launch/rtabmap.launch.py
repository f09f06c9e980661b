# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Starts the node, and rtabmap to close loops over its images, depth and odometry."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare


def generate_launch_description() -> LaunchDescription:
    """Describe the launch; the arguments of da3.launch.py are passed on."""
    da3 = PathJoinSubstitution([FindPackageShare('da3_ros'), 'launch', 'da3.launch.py'])
    return LaunchDescription([
        DeclareLaunchArgument(
            'frame_id', default_value='camera_optical_frame',
            description='Frame that moves: that of the images, or the base of the robot'),
        IncludeLaunchDescription(PythonLaunchDescriptionSource(da3)),
        describe_rtabmap(),
    ])


def describe_rtabmap() -> Node:
    """Describe rtabmap: all it takes has equal stamps, and every keyframe is wanted."""
    return Node(
        package='rtabmap_slam',
        executable='rtabmap',
        namespace=LaunchConfiguration('namespace'),
        arguments=['--delete_db_on_start'],
        parameters=[{
            'use_sim_time': ParameterValue(
                LaunchConfiguration('use_sim_time'), value_type=bool),
            'frame_id': LaunchConfiguration('frame_id'),
            'subscribe_depth': True,
            'approx_sync': False,
            'Rtabmap/DetectionRate': '0',
        }],
        remappings=[
            ('/tf', 'tf'),
            ('/tf_static', 'tf_static'),
            ('rgb/image', 'da3/rgb/image'),
            ('rgb/camera_info', 'da3/rgb/camera_info'),
            ('depth/image', 'da3/depth/image'),
            ('odom', 'da3/odometry'),
        ],
        output='screen',
    )
