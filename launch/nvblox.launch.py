# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Starts the node, and nvblox to fuse its depth into a distance field and a mesh."""

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
            'global_frame', default_value='odom',
            description='Frame of the map; that of the poses which the node publishes'),
        IncludeLaunchDescription(PythonLaunchDescriptionSource(da3)),
        describe_nvblox(),
    ])


def describe_nvblox() -> Node:
    """Describe nvblox: one camera without lidar, and a map that is kept whole."""
    return Node(
        package='nvblox_ros',
        executable='nvblox_node',
        namespace=LaunchConfiguration('namespace'),
        parameters=[{
            'use_sim_time': ParameterValue(
                LaunchConfiguration('use_sim_time'), value_type=bool),
            'global_frame': LaunchConfiguration('global_frame'),
            'num_cameras': 1,
            'use_lidar': False,
            'map_clearing_radius_m': -1.0,
        }],
        remappings=[
            ('/tf', 'tf'),
            ('/tf_static', 'tf_static'),
            ('camera_0/depth/image', 'da3/depth/image'),
            ('camera_0/depth/camera_info', 'da3/depth/camera_info'),
            ('camera_0/color/image', 'da3/rgb/image'),
            ('camera_0/color/camera_info', 'da3/rgb/camera_info'),
        ],
        output='screen',
    )
