# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A loop that the real node closes: the map is corrected and the path rewritten, not odom."""

import time

from da3_ros.geometry.sim3 import fit_sim3
from da3_ros.ros.conversions import from_transform, stamp_ns
from engine_node import poses
from nav_msgs.msg import Path
from node_harness import eventually
import numpy as np
from perfect_engine import frames, PERIOD_NS, Room
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile

# One lap and a little more.
NUM_FRAMES = 136
PACE_S = 0.03


def position(pose):
    """Give a pose's position, (3,)."""
    return np.array([pose.position.x, pose.position.y, pose.position.z])


def error(positions, true):
    """Return the root mean square distance after the best similarity."""
    fit = fit_sim3(true, positions, np.ones(len(true)))
    misfit = true - fit.transform_points(positions)
    return float(np.sqrt(np.square(misfit).sum(axis=1).mean()))


class Drive:
    """What came out of a lap: transforms, paths and odometry, in order."""

    def __init__(self, peer):
        """Drive a lap, and listen until everything came out."""
        self.paths = []
        peer.node.create_subscription(Path, '/da3/path', self.paths.append, QoSProfile(
            depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL))
        peer.wait_for_camera()
        room = Room()
        pictures = [room.image(pose) for pose in poses()[:NUM_FRAMES]]
        for frame in frames(NUM_FRAMES, pictures=pictures):
            peer.send_camera_info(frame)
            peer.send(frame)
            time.sleep(PACE_S)
        assert eventually(lambda: len(peer.stamps('odometry')) == NUM_FRAMES)
        assert eventually(lambda: len(self.paths[-1].poses) == NUM_FRAMES)
        self.odometry = np.stack([
            position(peer.received['odometry'][stamp][0].pose.pose)
            for stamp in peer.stamps('odometry')
        ])
        self.corrections = [
            from_transform(link.transform) for link in list(peer.transforms)
            if link.child_frame_id == 'odom'
        ]
        self.true = poses()[:NUM_FRAMES, :3, 3]


@pytest.fixture
def drive(start_node, peer):
    """Drive a lap with a network whose depth drifts."""
    node = start_node(
        {'loop.enabled': True, 'loop.min_gap': 90, 'tf.publish_map': True, 'window.size': 8,
         'window.stride': 4, 'queue.size': 200},
        arguments=('--drift', '0.01'))
    drive = Drive(peer)
    node.wait_for_output('loop closed: keyframe')
    return drive


def test_a_closed_loop_corrects_the_map_and_rewrites_the_path(drive):
    """The correction appears on /tf, past poses move, odom goes on without a jump."""
    unit = np.linalg.norm(drive.odometry[1] - drive.odometry[0]) / np.linalg.norm(
        drive.true[1] - drive.true[0])
    np.testing.assert_allclose(drive.corrections[0], np.eye(4), atol=1e-9)
    assert np.linalg.norm(drive.corrections[-1] - np.eye(4)) > 0.01
    # Sent when the loop closes, and not only with the next keyframe.
    assert len(drive.corrections) > NUM_FRAMES

    last = drive.paths[-1]
    assert last.header.frame_id == 'map'
    stamps = [stamp_ns(stamped.header.stamp) for stamped in last.poses]
    assert [(stamp - stamps[0]) // PERIOD_NS for stamp in stamps] == list(range(NUM_FRAMES))
    before = {stamp_ns(path.header.stamp): path for path in drive.paths}[stamps[90]]
    old = np.stack([position(stamped.pose) for stamped in before.poses])
    new = np.stack([position(stamped.pose) for stamped in last.poses])
    assert np.linalg.norm(new[:91] - old, axis=1).max() > 0.05 * unit
    assert error(new, drive.true) < 0.5 * error(drive.odometry, drive.true)

    steps = np.linalg.norm(np.diff(drive.odometry, axis=0), axis=1)
    assert np.abs(np.diff(steps)).max() < 0.01 * unit
