# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Starts the node, and RViz if asked to; arguments are named and ordered as Nav2's."""

from pathlib import Path

from ament_index_python.packages import get_packages_with_prefixes
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue
from launch_ros.substitutions import FindPackageShare

# TF's topics are absolute in tf2; made relative, a namespace gives a robot a tree of its own.
TF_REMAPPINGS = [('/tf', 'tf'), ('/tf_static', 'tf_static')]
TRUE = ('true', '1')
# The settings that are changed most: argument -> parameter, its type and its choices. Empty leaves
# what params_file says.
SETTINGS = {
    'model': ('model.name', str, (
        'auto', 'da3-tiny', 'da3-small', 'da3-base', 'da3-large', 'da3-giant', 'da3metric-large',
        'da3mono-large', 'da3nested-giant-large')),
    'weights': ('model.weights', str, ()),
    'transport': ('camera.transport', str, ('raw', 'compressed')),
    'tf_mode': ('tf.mode', str, ('camera', 'odom_to_base', 'map_to_odom', 'none')),
    'scale_source': ('scale.source', str, ('none', 'fixed', 'model', 'tf', 'pose', 'rig')),
    'window_size': ('window.size', int, ()),
}
DESCRIPTIONS = {
    'model': 'Variant of the network',
    'weights': 'Weights: a file, a folder, a hub id, or random',
    'transport': 'Transport of the images',
    'tf_mode': 'What is published on /tf',
    'scale_source': 'Where metres come from',
    'window_size': 'Most views in one inference, 0 for as many as the GPU allows',
}


def generate_launch_description() -> LaunchDescription:
    """Describe the launch."""
    return LaunchDescription([
        SetEnvironmentVariable('RCUTILS_LOGGING_BUFFERED_STREAM', '1'),
        *declare_arguments(),
        OpaqueFunction(function=check),
        OpaqueFunction(function=describe_node),
        describe_rviz(),
    ])


def check(context: LaunchContext) -> None:
    """
    See that everything exists before anything is started.

    :raises RuntimeError: which ends the launch, with this one line.
    """
    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    has_rviz = value('rviz').lower() in TRUE
    if has_rviz and 'rviz2' not in get_packages_with_prefixes():
        raise RuntimeError(
            'rviz: got true, but there is no package rviz2 here; expected rviz:=false, or: '
            'sudo apt install ros-$ROS_DISTRO-rviz2')
    for name in ('params_file', *(('rviz_config',) if has_rviz else ())):
        if not Path(value(name)).is_file():
            raise RuntimeError(f'{name}: got {value(name)}, expected the path of a file')
    size = value('window_size')
    if size and not size.isdecimal():
        raise RuntimeError(f'window_size: got {size}, expected a whole number')


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
        *(DeclareLaunchArgument(
            name, default_value='', description=f'{DESCRIPTIONS[name]}; as params_file if empty',
            **({'choices': ['', *choices]} if choices else {}))
          for name, (_, _, choices) in SETTINGS.items()),
    ]


def describe_node(context: LaunchContext) -> list[LifecycleNode]:
    """Describe the node, which brings itself up: so a respawned one comes back to work."""
    overrides = {
        name: ParameterValue(LaunchConfiguration(name), value_type=bool)
        for name in ('use_sim_time', 'autostart')}
    for argument, (parameter, value_type, _) in SETTINGS.items():
        if LaunchConfiguration(argument).perform(context):
            overrides[parameter] = ParameterValue(
                LaunchConfiguration(argument), value_type=value_type)
    return [LifecycleNode(
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
        # A launch that is killed leaves no node behind; and the node names the user's file, not
        # the copy that launch makes.
        additional_env={
            'DA3_END_WITH_PARENT': '1', 'DA3_PARAMS_FILE': LaunchConfiguration('params_file')},
        respawn=LaunchConfiguration('use_respawn'),
        respawn_delay=2.0,
        output='screen',
    )]


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
