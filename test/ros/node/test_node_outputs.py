# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The node's outputs for frames whose truth is known."""

import time

from da3_ros.ros.conversions import from_transform, stamp_ns
from node_harness import assert_all_came_once, eventually, FRAME_ID, OUTPUTS
import numpy as np
from perfect_engine import frames
from rclpy.duration import Duration
from rclpy.time import Time
from sensor_msgs_py import point_cloud2

NUM_FRAMES = 30
PACE_S = 0.05


def stream(peer, count=NUM_FRAMES, *, first=0, with_camera_info=True, pace_s=PACE_S):
    """Send frames at a pace and return their stamps."""
    sent = []
    for frame in frames(count, first=first):
        if with_camera_info:
            peer.send_camera_info(frame)
        peer.send(frame)
        sent.append(frame.stamp_ns)
        time.sleep(pace_s)
    return sent


def test_every_keyframe_comes_out_whole_and_once(start_node, peer):
    """Every frame is a keyframe here: each has all outputs, with its stamp, and no other."""
    start_node()
    peer.wait_for_camera()
    sent = stream(peer)
    assert_all_came_once(peer, sent)
    assert peer.transform_stamps() == sent
    for time_ns in sent:
        assert peer.buffer.can_transform(
            'odom', FRAME_ID, Time(nanoseconds=time_ns), Duration(seconds=5))


def test_published_depth_back_projects_to_the_published_points(start_node, peer):
    """Depth, CameraInfo and TF of a keyframe give its points, in the world frame."""
    start_node({'points.frame': 'world', 'points.organized': True})
    peer.wait_for_camera()
    sent = stream(peer)
    assert eventually(lambda: len(peer.stamps('points')) == len(sent))
    for time_ns in sent:
        outputs = {name: peer.received[name][time_ns][0] for name in OUTPUTS}
        transform = peer.buffer.lookup_transform(
            'odom', FRAME_ID, Time(nanoseconds=time_ns), Duration(seconds=5))
        expected = back_project(outputs['depth'], outputs['camera_info'], transform.transform)
        cloud = outputs['points']
        assert cloud.header.frame_id == 'odom'
        assert stamp_ns(transform.header.stamp) == time_ns
        points = point_cloud2.read_points_numpy(cloud, ['x', 'y', 'z'])
        assert np.isfinite(points).all()
        np.testing.assert_allclose(points, expected, atol=1e-3)


def back_project(depth, info, transform):
    """Do what a consumer does, with nothing but the messages."""
    z = np.frombuffer(depth.data, np.float32).reshape(depth.height, depth.width)
    v, u = np.mgrid[:depth.height, :depth.width]
    x = (u - info.k[2]) / info.k[0] * z
    y = (v - info.k[5]) / info.k[4] * z
    camera_points = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    world_T_camera = from_transform(transform)
    return camera_points @ world_T_camera[:3, :3].T + world_T_camera[:3, 3]
