# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Live depth over DDS: every frame comes out with its stamp, and only keyframes are remembered."""

from da3_ros.geometry import rigid
from da3_ros.mapping.world import FIRST_CAMERA
from da3_ros.ros.conversions import from_transform, stamp_ns
from diagnostic_msgs.msg import DiagnosticArray
import engine_node
from nav_msgs.msg import Path
from node_harness import eventually, FRAME_ID, OUTPUTS
import numpy as np
from perfect_engine import frames, Room
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time
from test_node_survival import Counts

# Every fourth frame is a keyframe.
LIVE = {'frames.mode': 'all', 'keyframe.min_interval_s': 0.35, 'path.max_size': 100}
NUM_FRAMES = 17


def test_every_frame_comes_out_with_its_pose_and_keyframes_alone_are_remembered(start_node, peer):
    """Each is waited for, so that none is skipped on a busy machine."""
    start_node(LIVE)
    counts, stages, paths = Counts(peer), set(), []
    peer.node.create_subscription(DiagnosticArray, '/diagnostics', lambda message: stages.update(
        pair.key for status in message.status for pair in status.values), 10)
    peer.node.create_subscription(Path, '/da3/path', paths.append, QoSProfile(
        depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    peer.wait_for_camera()
    stream = list(frames(NUM_FRAMES))
    kept, live = stream[::4], [frame for i, frame in enumerate(stream) if i > 8 and i % 4]
    for index, frame in enumerate(stream):
        peer.send_camera_info(frame)
        peer.send(frame)
        # The first window is of three keyframes, or of those that have waited for long enough.
        if index == 8:
            assert eventually(lambda: {k.stamp_ns for k in kept[:3]} <= set(peer.stamps('points')))
        if frame in live:
            assert eventually(lambda now=frame: now.stamp_ns in peer.stamps('points'))
    wanted = {frame.stamp_ns for frame in (*kept, *live)}
    for name in OUTPUTS:
        assert eventually(lambda name=name: wanted <= set(peer.stamps(name))), name
        assert all(len(messages) == 1 for messages in peer.received[name].values())
    assert eventually(lambda: counts['live frames published'] >= len(live))
    assert counts['keyframes published'] == counts['keyframes'] == len(kept)
    assert eventually(lambda: {'inference: 95 % [s]', 'live: inference: 95 % [s]'} <= stages)
    assert eventually(lambda: paths and [
        stamp_ns(pose.header.stamp) for pose in paths[-1].poses] == [k.stamp_ns for k in kept])
    for frame in live:
        assert_true(peer, frame.stamp_ns, (frame.stamp_ns - stream[0].stamp_ns) // 100_000_000)


def assert_true(peer, time_ns, index):
    """Hold the transform and the depth of a frame to the truth, in one unit."""
    truth = engine_node.poses()[:NUM_FRAMES]
    message = peer.received['depth'][time_ns][0]
    depth = np.frombuffer(message.data, np.float32).reshape(message.height, message.width)
    ratio = depth / Room().depth(truth[index])
    scale = float(np.median(ratio))
    np.testing.assert_allclose(ratio, scale, rtol=1e-3)
    first_T_camera = rigid.inverse(truth[0]) @ truth[index]
    first_T_camera[:3, 3] *= scale
    found = peer.buffer.lookup_transform(
        'odom', FRAME_ID, Time(nanoseconds=time_ns), Duration(seconds=20))
    assert stamp_ns(found.header.stamp) == time_ns
    np.testing.assert_allclose(
        from_transform(found.transform), FIRST_CAMERA @ first_T_camera, atol=1e-3)
