# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Starts the node, and depth_image_proc to make clouds of its depth and rgb images."""

from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import ComposableNodeContainer
from launch_ros.descriptions import ComposableNode
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare


def generate_launch_description() -> LaunchDescription:
    """Describe the launch; the arguments of da3.launch.py are passed on."""
    da3 = PathJoinSubstitution([FindPackageShare('da3_ros'), 'launch', 'da3.launch.py'])
    return LaunchDescription([
        IncludeLaunchDescription(PythonLaunchDescriptionSource(da3)),
        ComposableNodeContainer(
            package='rclcpp_components',
            executable='component_container',
            name='depth_image_proc_container',
            namespace=LaunchConfiguration('namespace'),
            composable_node_descriptions=[describe_cloud_maker()],
            output='screen',
        ),
    ])


def describe_cloud_maker() -> ComposableNode:
    """Describe the component that joins depth and rgb."""
    return ComposableNode(
        package='depth_image_proc',
        plugin='depth_image_proc::PointCloudXyzrgbNode',
        name='da3_points',
        namespace=LaunchConfiguration('namespace'),
        parameters=[{
            'exact_sync': True,
            'use_sim_time': ParameterValue(
                LaunchConfiguration('use_sim_time'), value_type=bool),
        }],
        remappings=[
            ('depth_registered/image_rect', 'da3/depth/image'),
            ('rgb/image_rect_color', 'da3/rgb/image'),
            ('points', 'depth_image_proc/points'),
        ],
    )
