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

"""A subscriber of the node's large outputs that takes one message and then no more."""

import sys
import time

import rclpy
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image, PointCloud2

TOPICS = {'points': PointCloud2, 'depth/image': Image, 'rgb/image': Image}


def main() -> None:
    """Print a line at the first message, and sleep in its callback."""
    rclpy.init()
    node = rclpy.create_node('slow')

    def take(_message) -> None:
        sys.stdout.write('took one\n')
        sys.stdout.flush()
        time.sleep(3600.0)

    for topic, message_type in TOPICS.items():
        node.create_subscription(message_type, f'/da3/{topic}', take, QoSProfile(depth=10))
    rclpy.spin(node)


if __name__ == '__main__':
    main()
