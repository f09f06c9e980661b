# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Starts the node for several cameras: those that config/da3_rig.yaml names."""

from itertools import product

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import SetRemap
from launch_ros.substitutions import FindPackageShare

# As camera.names in the parameter file; a rig of other cameras has a copy of both.
CAMERAS = ('front', 'left', 'right')
TOPICS = ('image', 'camera_info')


def generate_launch_description() -> LaunchDescription:
    """Describe the launch; the arguments of da3.launch.py are passed on."""
    share = FindPackageShare('da3_ros')
    config = PathJoinSubstitution([share, 'config'])
    return LaunchDescription([
        DeclareLaunchArgument(
            'params_file', default_value=PathJoinSubstitution([config, 'da3_rig.yaml']),
            description='Path of the parameter file, which names the cameras'),
        *(DeclareLaunchArgument(
            f'{camera}_{topic}', default_value=f'{camera}/{topic}',
            description=f'Topic of the {topic} of the {camera} camera')
          for camera, topic in product(CAMERAS, TOPICS)),
        *(SetRemap(f'{camera}/{topic}', LaunchConfiguration(f'{camera}_{topic}'))
          for camera, topic in product(CAMERAS, TOPICS)),
        IncludeLaunchDescription(PythonLaunchDescriptionSource(
            PathJoinSubstitution([share, 'launch', 'da3.launch.py']))),
    ])
