# Copyright 2026 The da3_ros authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

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
