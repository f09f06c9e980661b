# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Starts the node for several cameras: those that the parameter file names."""

from itertools import product
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import SetRemap
from launch_ros.substitutions import FindPackageShare
import yaml

TOPICS = ('image', 'camera_info')


def generate_launch_description() -> LaunchDescription:
    """Describe the launch; the arguments of da3.launch.py are passed on."""
    share = FindPackageShare('da3_ros')
    config = PathJoinSubstitution([share, 'config'])
    return LaunchDescription([
        DeclareLaunchArgument(
            'params_file', default_value=PathJoinSubstitution([config, 'da3_rig.yaml']),
            description='Path of the parameter file, which names the cameras; each camera NAME '
                        'has the arguments NAME_image and NAME_camera_info, for its topics'),
        OpaqueFunction(function=describe_remappings),
        IncludeLaunchDescription(PythonLaunchDescriptionSource(
            PathJoinSubstitution([share, 'launch', 'da3.launch.py']))),
    ])


def describe_remappings(context: LaunchContext) -> list[SetRemap]:
    """
    Remap the topics of each camera where an argument says so.

    :raises RuntimeError: if the file names no cameras, or an argument another one.
    """
    path = Path(LaunchConfiguration('params_file').perform(context))
    if not path.is_file():
        raise RuntimeError(f'params_file: got {path}, expected the path of a file')
    names = find_names(yaml.safe_load(path.read_text()))
    if not names:
        raise RuntimeError(f'{path}: got no camera.names, expected the names of the cameras')
    given = context.launch_configurations
    known = {f'{name}_{topic}': f'{name}/{topic}' for name, topic in product(names, TOPICS)}
    for argument in given:
        if argument not in known and argument.endswith(tuple(f'_{topic}' for topic in TOPICS)):
            raise RuntimeError(
                f'{argument}: got a camera that {path} does not name, expected one of {names}')
    return [SetRemap(topic, given.get(argument, topic)) for argument, topic in known.items()]


def find_names(content: object) -> list[str]:
    """Find camera.names in a parameter file, below whatever node it stands."""
    if not isinstance(content, dict):
        return []
    parameters = content.get('ros__parameters', {})
    names = parameters.get('camera.names') or parameters.get('camera', {}).get('names')
    if names:
        return list(names)
    return next(filter(None, map(find_names, content.values())), [])
