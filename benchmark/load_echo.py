# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The least that a Python node can do with images: send each, or its header, on."""

import argparse
from collections.abc import Sequence
import contextlib
import sys

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

_DEPTH = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Echo until told to stop, and print how many images came."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', action='store_true', help='send whole images back')
    options = parser.parse_args(arguments)
    rclpy.init()
    node = rclpy.create_node('echo')
    echo = node.create_publisher(Image if options.images else Header, 'echo', _DEPTH)
    num_received = 0

    def send_back(message: Image) -> None:
        nonlocal num_received
        num_received += 1
        echo.publish(message if options.images else message.header)

    node.create_subscription(
        Image, 'image', send_back,
        # As da3_ros subscribes.
        QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT))
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)
    sys.stdout.write(f'{num_received}\n')
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
