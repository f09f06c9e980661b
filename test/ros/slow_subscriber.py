# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

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
