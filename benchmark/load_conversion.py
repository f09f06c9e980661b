# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
What one 1080p keyframe costs the processor, but for the network: in, and out again.

Processor time of the whole process, the middleware's threads included. What goes out is made and
sent for the listener of ``node.py``; without one, ``prepare`` and ``publish`` cost nothing.
"""

from collections.abc import Callable
import sys
import time

import cv2
from da3_ros.inference.preprocessing import plan_processing, preprocess
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.ros import conversions
from da3_ros.ros.allocator import reuse_large_buffers
from da3_ros.ros.input.camera_model import read_camera_model
from da3_ros.ros.input.image_decoding import decode_image
from da3_ros.ros.input.rectification import Rectifier
from da3_ros.ros.insight.counters import Counters
from da3_ros.ros.insight.health import Health
from da3_ros.ros.interface import create_publishers
from da3_ros.ros.output.depth_mask import mask_depth
from da3_ros.ros.output.keyframe_publisher import KeyframePublisher
from da3_ros.ros.output.placement import KeyframePlacer
from da3_ros.ros.output.point_cloud import to_point_cloud
from da3_ros.ros.parameters.settings import NodeSettings, TfSettings
from load_camera import camera_info, image_messages
import numpy as np
import rclpy
from rclpy.lifecycle import LifecycleNode

WIDTH, HEIGHT = 1920, 1080
_NUM_OUTPUTS = 7
_REPETITIONS = 100
_PACE_S = 0.02
_DISCOVERY_S = 30.0


def cpu_ms(action: Callable[[], object], *, pace_s: float = 0.0) -> float:
    """
    Measure an action.

    :param action: repeated.
    :param pace_s: pause between two, for the middleware to keep up.
    """
    action()
    started = time.process_time()
    for _ in range(_REPETITIONS):
        action()
        time.sleep(pace_s)
    return 1000.0 * (time.process_time() - started) / _REPETITIONS


def incoming() -> tuple[dict[str, float], PosedKeyframe]:
    """Measure the way in; return also the keyframe that results."""
    message = image_messages(WIDTH, HEIGHT)[0]
    message.header = conversions.to_header(time.time_ns(), 'camera_optical_frame')
    model = read_camera_model(
        camera_info(WIDTH, HEIGHT, is_distorted=True), width=WIDTH, height=HEIGHT,
        is_rectified=False)
    height, width = plan_processing(HEIGHT, WIDTH).size
    # As the node does it.
    rectifier = Rectifier(model, size=(2 * width, 2 * height))
    image = decode_image(message)
    rectified = rectifier.rectify(image)
    view = preprocess([rectified], intrinsics=rectifier.intrinsics[None])
    assert view.intrinsics is not None
    costs = {
        'decode': cpu_ms(lambda: decode_image(message)),
        'rectify': cpu_ms(lambda: rectifier.rectify(image)),
        'resize for the network': cpu_ms(lambda: preprocess([rectified])),
        'instead of both, where there is no distortion: resize': cpu_ms(
            lambda: preprocess([image])),
    }
    depth = np.full((height, width), 2.0, np.float32)
    return costs, PosedKeyframe(
        id=0, stamp_ns=time.time_ns(), frame_id='camera_optical_frame', image=view.images[0],
        depth=depth, confidence=depth, intrinsics=view.intrinsics[0], odom_T_camera=np.eye(4),
        segment=0, is_metric=True)


def outgoing(keyframe: PosedKeyframe) -> dict[str, float]:
    """
    Measure the way out.

    :param keyframe: what goes out.
    """
    rclpy.init()
    node = LifecycleNode('da3')
    settings = NodeSettings(tf=TfSettings(mode='none'))
    publisher = KeyframePublisher(
        create_publishers(node, ['']), None, KeyframePlacer(settings.tf, None, Counters()), (),
        Health(time.time_ns), lambda: settings)
    node.trigger_configure()
    node.trigger_activate()
    deadline = time.monotonic() + _DISCOVERY_S
    while len(publisher.prepare(keyframe).outputs) < _NUM_OUTPUTS:
        if time.monotonic() > deadline:
            raise RuntimeError('nobody listens: nothing would be measured')
        time.sleep(0.1)
    header = conversions.to_header(keyframe.stamp_ns, keyframe.frame_id)
    masked = mask_depth(keyframe.depth, keyframe.confidence, settings.depth)
    costs = {
        'make depth': cpu_ms(lambda: conversions.to_float_message(
            mask_depth(keyframe.depth, keyframe.confidence, settings.depth), header)),
        'make rgb': cpu_ms(lambda: conversions.to_rgb_message(keyframe.image, header)),
        'make points': cpu_ms(
            lambda: to_point_cloud(keyframe, masked, settings.points, header)),
    }
    prepared = publisher.prepare(keyframe)
    costs['make all'] = cpu_ms(lambda: publisher.prepare(keyframe))
    costs['send all'] = cpu_ms(lambda: publisher.publish(prepared), pace_s=_PACE_S)
    node.destroy_node()
    rclpy.try_shutdown()
    return costs


def main() -> int:
    """Measure, and print a table."""
    # Of one core: what OpenCV spreads over several costs more in all.
    cv2.setNumThreads(1)
    reuse_large_buffers()
    costs, keyframe = incoming()
    costs |= outgoing(keyframe)
    parts = ('decode', 'rectify', 'resize for the network', 'make all', 'send all')
    costs['in all'] = sum(costs[part] for part in parts)
    sys.stdout.write('\n| 1080p keyframe | processor ms |\n|---|---|\n')
    for name, cost in costs.items():
        sys.stdout.write(f'| {name} | {cost:.2f} |\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
