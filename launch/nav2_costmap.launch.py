# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Starts the node and a costmap of Nav2, which takes its points, under Nav2's manager."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue
from launch_ros.substitutions import FindPackageShare


def generate_launch_description() -> LaunchDescription:
    """Describe the launch; the arguments of da3.launch.py are passed on."""
    share = FindPackageShare('da3_ros')
    config = PathJoinSubstitution([FindPackageShare('da3_ros'), 'config'])
    return LaunchDescription([
        DeclareLaunchArgument(
            'params_file',
            default_value=PathJoinSubstitution([config, 'da3_nav2.yaml']),
            description='Path of the parameter file of the node: depth also while the robot '
                        'stands'),
        DeclareLaunchArgument(
            'costmap_params_file',
            default_value=PathJoinSubstitution([config, 'nav2_costmap.yaml']),
            description='Path of the parameter file of the costmap'),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(
                PathJoinSubstitution([share, 'launch', 'da3.launch.py'])),
            # The manager brings it up: to a node that is up already it says that it failed.
            launch_arguments={'autostart': 'false'}.items()),
        *describe_costmap(),
    ])


def describe_costmap() -> list[Node]:
    """Describe the costmap and the manager that brings both nodes up."""
    use_sim_time = {'use_sim_time': ParameterValue(
        LaunchConfiguration('use_sim_time'), value_type=bool)}
    return [
        Node(
            package='nav2_costmap_2d',
            executable='nav2_costmap_2d',
            namespace=LaunchConfiguration('namespace'),
            parameters=[
                ParameterFile(LaunchConfiguration('costmap_params_file'), allow_substs=True),
                use_sim_time,
            ],
            remappings=[('/tf', 'tf'), ('/tf_static', 'tf_static')],
            output='screen',
        ),
        Node(
            package='nav2_lifecycle_manager',
            executable='lifecycle_manager',
            name='lifecycle_manager_costmap',
            namespace=LaunchConfiguration('namespace'),
            # Neither node has a bond, and without one the manager would take them down again.
            parameters=[use_sim_time, {
                'autostart': True, 'node_names': ['da3', 'costmap'], 'bond_timeout': 0.0}],
            output='screen',
        ),
    ]
