# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Publish a recorded scene in real time, once somebody listens; for tests of the whole node.

Prints the stamps of the images that it sent.
"""

import argparse
from pathlib import Path
import time

import cv2
from da3_ros.ros.conversions import to_bytes, to_camera_info, to_header
import numpy as np
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

# Not a round number: a stamp that went through a float would come back changed.
FIRST_STAMP_NS = 1_700_000_000_123_456_789
FRAME_ID = 'camera_optical_frame'


def main() -> None:
    """Publish the scene."""
    parser = argparse.ArgumentParser()
    parser.add_argument('folder', type=Path)
    parser.add_argument('--rate-hz', type=float, default=10.0)
    options = parser.parse_args()
    paths = sorted(options.folder.glob('*.color.jpg'))
    intrinsics = np.loadtxt(options.folder / 'camera-intrinsics.txt')

    rclpy.init()
    node = rclpy.create_node('camera')
    # Reliable and deep: the test counts every image, on however slow a machine.
    qos = QoSProfile(depth=len(paths), reliability=ReliabilityPolicy.RELIABLE)
    images = node.create_publisher(Image, 'image', qos)
    infos = node.create_publisher(CameraInfo, 'camera_info', qos)
    while not (images.get_subscription_count() and infos.get_subscription_count()):
        time.sleep(0.05)
    # Discovery is not symmetric: on a busy machine the node may see us seconds later.
    time.sleep(3.0)
    period_ns = round(1e9 / options.rate_hz)
    for index, path in enumerate(paths):
        time_ns = FIRST_STAMP_NS + index * period_ns
        image = cv2.imread(str(path))
        header = to_header(time_ns, FRAME_ID)
        height, width = image.shape[:2]
        infos.publish(to_camera_info(intrinsics, width=width, height=height, header=header))
        images.publish(Image(
            header=header, height=height, width=width, encoding='bgr8', step=3 * width,
            data=to_bytes(image)))
        print(time_ns, flush=True)
        time.sleep(period_ns * 1e-9)
    time.sleep(1.0)
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == '__main__':
    main()
