# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A camera for load tests: publish a pan over a textured wall at a steady rate."""

import argparse
from collections.abc import Sequence
import json
import sys
import time

import cv2
from da3_ros.ros.allocator import reuse_large_buffers
from da3_ros.ros.conversions import to_bytes, to_camera_info, to_header
import numpy as np
from numpy.typing import NDArray
import rclpy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image

FRAME_ID = 'camera_optical_frame'
_SHARE_PER_FRAME = 0.008
_NUM_PICTURES = 30
_DISCOVERY_S = 3.0
_PATIENCE_S = 60.0
_LINGER_S = 0.5
_NS_PER_S = 10**9


def wall_pictures(width: int, height: int) -> list[NDArray[np.uint8]]:
    """
    Pan over a textured wall.

    :param width: of the pictures [px].
    :param height: of the pictures [px].
    """
    random = np.random.default_rng(0)
    step = max(1, round(_SHARE_PER_FRAME * width))
    full_width = width + step * _NUM_PICTURES
    coarse = random.integers(0, 256, (height // 8, full_width // 8, 3), dtype=np.uint8)
    wall = cv2.resize(coarse, (full_width, height), interpolation=cv2.INTER_CUBIC)
    return [wall[:, step * i:step * i + width] for i in range(_NUM_PICTURES)]


def image_messages(width: int, height: int) -> list[Image]:
    """
    Make a pan there and back, to be sent again and again; no picture is in memory twice.

    :param width: of the images [px].
    :param height: of the images [px].
    """
    there = [
        Image(width=width, height=height, step=3 * width, encoding='rgb8', data=to_bytes(picture))
        for picture in wall_pictures(width, height)
    ]
    return there + there[-2:0:-1]


def camera_info(width: int, height: int, *, is_distorted: bool) -> CameraInfo:
    """
    Calibrate the camera.

    :param width: of the images [px].
    :param height: of the images [px].
    :param is_distorted: whether the node has to rectify.
    """
    k = np.array([[0.6 * width, 0, width / 2], [0, 0.6 * width, height / 2], [0, 0, 1.0]])
    info = to_camera_info(k, width=width, height=height, header=to_header(0, FRAME_ID))
    if is_distorted:
        info.d = [-0.1, 0.01, 0.0, 0.0, 0.0]
    return info


def _stream(options: argparse.Namespace, node: Node) -> dict[str, float]:
    images = node.create_publisher(Image, 'image', qos_profile_sensor_data)
    infos = node.create_publisher(CameraInfo, 'camera_info', qos_profile_sensor_data)
    messages = image_messages(options.width, options.height)
    info = camera_info(options.width, options.height, is_distorted=options.distorted)
    deadline = time.monotonic() + _PATIENCE_S
    while images.get_subscription_count() == 0:
        if time.monotonic() > deadline:
            raise RuntimeError('nobody subscribes')
        time.sleep(0.05)
    # Discovery is not symmetric: the other side may see us later.
    time.sleep(_DISCOVERY_S)
    _tell({'streams': True})
    period_s = 1.0 / options.rate_hz
    first_ns, started = time.time_ns(), time.monotonic()
    latest_s = 0.0
    for index in range(options.frames):
        due = started + index * period_s
        time.sleep(max(0.0, due - time.monotonic()))
        latest_s = max(latest_s, time.monotonic() - due)
        replayed_ns = first_ns + round(options.speed * index * period_s * _NS_PER_S)
        stamp_ns = time.time_ns() if options.speed == 1.0 else replayed_ns
        message = messages[index % len(messages)]
        info.header = message.header = to_header(stamp_ns, FRAME_ID)
        if index % options.info_every == 0:
            infos.publish(info)
        images.publish(message)
    seconds = time.monotonic() - started
    # Let the last message leave.
    time.sleep(_LINGER_S)
    return {'sent': options.frames, 'seconds': seconds, 'latest_s': latest_s}


def _tell(facts: dict[str, float]) -> None:
    sys.stdout.write(f'{json.dumps(facts)}\n')
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Wait for a subscriber, say so, stream, and say how it went: two lines of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--width', type=int, default=1920)
    parser.add_argument('--height', type=int, default=1080)
    parser.add_argument('--rate-hz', type=float, default=30.0)
    parser.add_argument('--frames', type=int, default=300)
    parser.add_argument('--speed', type=float, default=1.0, help='of the stamps, as of a replay')
    parser.add_argument('--distorted', action='store_true')
    parser.add_argument('--info-every', type=int, default=1)
    options = parser.parse_args(arguments)
    reuse_large_buffers()
    rclpy.init()
    node = rclpy.create_node('camera')
    try:
        _tell(_stream(options, node))
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
