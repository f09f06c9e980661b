# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Replays a bag into the node; the bag starts when the node is active, so no frame is missed."""

from pathlib import Path

from ament_index_python.packages import get_packages_with_prefixes
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.substitutions import FindPackageShare
from lifecycle_msgs.msg import Transition


def generate_launch_description() -> LaunchDescription:
    """Describe the launch; the arguments of da3.launch.py are passed on."""
    da3 = PathJoinSubstitution([FindPackageShare('da3_ros'), 'launch', 'da3.launch.py'])
    return LaunchDescription([
        DeclareLaunchArgument(
            'bag', description='Path of the bag'),
        DeclareLaunchArgument(
            'rate', default_value='1.0',
            description='Speed of the replay, as a multiple of real time'),
        DeclareLaunchArgument(
            'rviz', default_value='true',
            description='Start RViz too'),
        OpaqueFunction(function=check),
        RegisterEventHandler(OnStateTransition(
            goal_state='inactive', start_state='configuring',
            entities=[transition(Transition.TRANSITION_ACTIVATE)])),
        RegisterEventHandler(OnStateTransition(
            goal_state='active', entities=[play()], handle_once=True)),
        # The launch brings the node up, not the node itself: the replay waits for its state, and
        # who asks for a transition is connected to the node before its answer comes.
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(da3),
            launch_arguments={'use_sim_time': 'true', 'autostart': 'false'}.items()),
        transition(Transition.TRANSITION_CONFIGURE),
    ])


def check(context: LaunchContext) -> None:
    """
    See that the bag can be played before anything is started.

    :raises RuntimeError: which ends the launch, with this one line.
    """
    bag = Path(LaunchConfiguration('bag').perform(context))
    if not bag.exists():
        raise RuntimeError(f'bag: got {bag}, expected the path of a bag')
    if 'ros2bag' not in get_packages_with_prefixes():
        raise RuntimeError(
            'ros2 bag: not installed; expected: sudo apt install ros-$ROS_DISTRO-ros2bag '
            'ros-$ROS_DISTRO-rosbag2-storage-default-plugins')


def play() -> ExecuteProcess:
    """Describe the player, which also publishes the clock."""
    return ExecuteProcess(
        cmd=['ros2', 'bag', 'play', LaunchConfiguration('bag'),
             '--clock', '100', '--rate', LaunchConfiguration('rate')],
        name='player',
        output='screen')


def transition(transition_id: int) -> EmitEvent:
    """Ask the node for a transition of its lifecycle."""
    return EmitEvent(event=ChangeState(
        lifecycle_node_matcher=is_da3, transition_id=transition_id))


def is_da3(action: LifecycleNode) -> bool:
    """Tell whether an action is our node, in whatever namespace."""
    return action.node_name.rpartition('/')[2] == 'da3'
