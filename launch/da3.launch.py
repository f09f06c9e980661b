# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Starts the node, and RViz if asked to; arguments are named and ordered as Nav2's."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue
from launch_ros.substitutions import FindPackageShare

# TF's topics are absolute in tf2; made relative, a namespace gives a robot a tree of its own.
TF_REMAPPINGS = [('/tf', 'tf'), ('/tf_static', 'tf_static')]


def generate_launch_description() -> LaunchDescription:
    """Describe the launch."""
    return LaunchDescription([
        SetEnvironmentVariable('RCUTILS_LOGGING_BUFFERED_STREAM', '1'),
        *declare_arguments(),
        describe_node(),
        describe_rviz(),
    ])


def declare_arguments() -> list[DeclareLaunchArgument]:
    """Declare the arguments, in the order in which --show-args lists them."""
    config = PathJoinSubstitution([FindPackageShare('da3_ros'), 'config'])
    return [
        DeclareLaunchArgument(
            'namespace', default_value='',
            description='Namespace of the node, its topics and its TF'),
        DeclareLaunchArgument(
            'use_sim_time', default_value='false',
            description='Take the time from /clock (simulation, bags) instead of the system'),
        DeclareLaunchArgument(
            'params_file', default_value=PathJoinSubstitution([config, 'da3.yaml']),
            description='Path of the parameter file; substitutions such as $(env HOME) work'),
        DeclareLaunchArgument(
            'autostart', default_value='true',
            description='Configure and activate the node when it starts'),
        DeclareLaunchArgument(
            'use_respawn', default_value='false',
            description='Start the node again if its process ends'),
        DeclareLaunchArgument(
            'log_level', default_value='info',
            description='Log level: debug, info, warn, error or fatal'),
        DeclareLaunchArgument(
            'rviz', default_value='false',
            description='Start RViz too'),
        DeclareLaunchArgument(
            'rviz_config', default_value=PathJoinSubstitution([config, 'da3.rviz']),
            description='Path of the RViz configuration'),
        DeclareLaunchArgument(
            'image', default_value='image',
            description="Topic of the camera's images"),
        DeclareLaunchArgument(
            'camera_info', default_value='camera_info',
            description="Topic of the camera's CameraInfo"),
    ]


def describe_node() -> LifecycleNode:
    """Describe the node, which brings itself up: so a respawned one comes back to work."""
    overrides = {
        name: ParameterValue(LaunchConfiguration(name), value_type=bool)
        for name in ('use_sim_time', 'autostart')}
    return LifecycleNode(
        package='da3_ros',
        executable='node',
        name='da3',
        namespace=LaunchConfiguration('namespace'),
        parameters=[ParameterFile(LaunchConfiguration('params_file'), allow_substs=True),
                    overrides],
        remappings=[
            *TF_REMAPPINGS,
            ('image', LaunchConfiguration('image')),
            ('camera_info', LaunchConfiguration('camera_info')),
        ],
        ros_arguments=['--log-level', LaunchConfiguration('log_level')],
        respawn=LaunchConfiguration('use_respawn'),
        respawn_delay=2.0,
        output='screen',
    )


def describe_rviz() -> Node:
    """Describe RViz; it shares the namespace because its configuration has relative topics."""
    return Node(
        package='rviz2',
        executable='rviz2',
        namespace=LaunchConfiguration('namespace'),
        arguments=['-d', LaunchConfiguration('rviz_config')],
        parameters=[{'use_sim_time': ParameterValue(
            LaunchConfiguration('use_sim_time'), value_type=bool)}],
        remappings=TF_REMAPPINGS,
        condition=IfCondition(LaunchConfiguration('rviz')),
        output='screen',
    )
