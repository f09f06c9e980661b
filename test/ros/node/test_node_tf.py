# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The node in a robot's tree of frames, over real DDS."""

import time

from da3_ros.geometry import rigid
from da3_ros.ros.conversions import from_transform, to_transform
from engine_node import poses
from node_harness import eventually, FRAME_ID
import numpy as np
from perfect_engine import frames
import pytest
from rclpy.duration import Duration
from rclpy.time import Time
from scipy.spatial.transform import Rotation
from test_node_outputs import stream
from tf2_ros import StaticTransformBroadcaster, TransformBroadcaster

NUM_FRAMES = 20
BASE_T_CAMERA = rigid.from_rotation_translation(
    Rotation.from_euler('y', 0.2).as_matrix() @ rigid.BODY_R_OPTICAL, np.array([0.1, 0.0, 0.4]))


def mount_camera(peer, parent='base_link', base_T_camera=BASE_T_CAMERA):
    """Say where the camera sits, as a robot_state_publisher does."""
    broadcaster = StaticTransformBroadcaster(peer.node)
    broadcaster.sendTransform(
        to_transform(base_T_camera, time_ns=0, parent=parent, child=FRAME_ID))
    return broadcaster


def look_up(peer, target, source, time_ns):
    """Ask the peer's buffer, (4, 4)."""
    found = peer.buffer.lookup_transform(
        target, source, Time(nanoseconds=time_ns), Duration(seconds=5))
    return from_transform(found.transform)


def children(peer):
    """Give all links that were published on /tf."""
    return {
        (transform.header.frame_id, transform.child_frame_id)
        for transform in list(peer.transforms)
    }


def true_motion():
    """Give the camera's poses from its first one, (N, 4, 4)."""
    truth = poses()[:NUM_FRAMES]
    return rigid.inverse(truth[0]) @ truth


def test_odom_to_base_moves_the_robot(start_node, peer):
    """The base starts at the origin and its camera moves as the truth, up to the unit."""
    broadcaster = mount_camera(peer)
    start_node({'tf.mode': 'odom_to_base'})
    peer.wait_for_camera()
    sent = stream(peer, NUM_FRAMES)
    assert eventually(lambda: len(peer.stamps('odometry')) == len(sent))
    assert eventually(lambda: len(peer.transform_stamps('base_link')) == len(sent))
    assert children(peer) == {('odom', 'base_link')}
    np.testing.assert_allclose(look_up(peer, 'odom', 'base_link', sent[0]), np.eye(4), atol=1e-6)
    motion = np.stack([
        rigid.inverse(BASE_T_CAMERA) @ look_up(peer, 'odom', FRAME_ID, stamp) for stamp in sent])
    truth = true_motion()
    np.testing.assert_allclose(motion[:, :3, :3], truth[:, :3, :3], atol=1e-3)
    unit = np.linalg.norm(motion[-1, :3, 3]) / np.linalg.norm(truth[-1, :3, 3])
    np.testing.assert_allclose(motion[:, :3, 3], unit * truth[:, :3, 3], atol=5e-3)
    odometry = peer.received['odometry'][sent[-1]][0]
    assert (odometry.header.frame_id, odometry.child_frame_id) == ('odom', 'base_link')
    del broadcaster


def test_map_to_odom_corrects_wheels_and_takes_their_scale(start_node, peer):
    """The robot's odometry slips; with scale.source tf the map is metric."""
    broadcaster = mount_camera(peer)
    wheels = TransformBroadcaster(peer.node)
    start_node({
        'tf.mode': 'map_to_odom', 'scale.source': 'tf', 'scale.min_motion_m': 0.02,
        'tf.timeout_s': 1.0,
    })
    peer.wait_for_camera()
    truth = BASE_T_CAMERA @ true_motion() @ rigid.inverse(BASE_T_CAMERA)
    sent = []
    for index, frame in enumerate(frames(NUM_FRAMES)):
        wheels.sendTransform(to_transform(
            truth[index], time_ns=frame.stamp_ns, parent='odom', child='base_link'))
        peer.send_camera_info(frame)
        peer.send(frame)
        sent.append(frame.stamp_ns)
        time.sleep(0.05)
    assert eventually(lambda: len(peer.transform_stamps('odom')) == len(sent))
    assert children(peer) == {('odom', 'base_link'), ('map', 'odom')}
    length = np.linalg.norm(truth[-1, :3, 3])
    found = look_up(peer, 'map', 'base_link', sent[-1])
    assert np.linalg.norm(found[:3, 3] - truth[-1, :3, 3]) < 0.1 * length
    del broadcaster


@pytest.mark.parametrize('parent', ['camera_link', 'odom'])
def test_a_camera_of_the_robot_gets_no_second_parent(start_node, peer, parent):
    """Everything but the transform comes out; the log says why, once."""
    broadcaster = mount_camera(peer, parent)
    node = start_node()
    peer.wait_for_camera()
    sent = stream(peer, NUM_FRAMES)
    assert eventually(lambda: len(peer.stamps('odometry')) == len(sent))
    assert children(peer) == set()
    text = (
        f'odom -> {FRAME_ID} is not published: {FRAME_ID} has the parent {parent} already, as on '
        'a robot with a URDF, which tf.mode: camera is not for: odometry and path are in odom, '
        'which TF does not connect to it. Set tf.mode: odom_to_base if this node is the odometry '
        'of the robot, map_to_odom if it has another, none if it needs none')
    assert node.output.count(text) == 1
    del broadcaster


def test_missing_robot_transforms_cost_the_pose_only(start_node, peer):
    """Depth and points come out; the log says what is missing, once."""
    node = start_node({'tf.mode': 'odom_to_base', 'tf.timeout_s': 0.05})
    peer.wait_for_camera()
    sent = stream(peer, NUM_FRAMES)
    assert eventually(lambda: len(peer.stamps('points')) == len(sent))
    assert peer.stamps('odometry') == []
    assert node.output.count('no pose is published: base_link from camera_optical_frame') == 1
