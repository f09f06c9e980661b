# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Windows of one view: depth and points of every keyframe at once, and nothing about poses."""

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from engine_node import poses
from nav_msgs.msg import Path
from node_harness import eventually, OUTPUTS
import numpy as np
from perfect_engine import frames, PerfectEngine
from test_node_survival import Counts

NUM_FRAMES = 10


def test_every_frame_comes_out_before_the_next_one(start_node, peer):
    """No overlap to wait for, no world to join: no odometry, no path, no transforms."""
    node = start_node({'window.size': 1, 'window.max_age_s': 60.0})
    counts = Counts(peer)
    worlds, paths, told = [], [], []
    peer.node.create_subscription(DiagnosticStatus, '/da3/status', told.append, 10)
    peer.node.create_subscription(
        DiagnosticArray, '/diagnostics',
        lambda message: worlds.extend(s for s in message.status if s.name.endswith('world')), 10)
    peer.node.create_subscription(Path, '/da3/path', paths.append, 10)
    peer.wait_for_camera()
    engine, units = PerfectEngine(poses()), []
    for index, frame in enumerate(frames(NUM_FRAMES)):
        peer.send_camera_info(frame)
        peer.send(frame)
        for name in OUTPUTS.keys() - {'odometry'}:
            assert eventually(lambda n=name, s=frame.stamp_ns: s in peer.stamps(n)), name
        true = engine.room.depth(engine.poses[index])
        units.append(unit_of(peer.received['depth'][frame.stamp_ns][0], true))
    assert eventually(lambda: counts['keyframes published'] == NUM_FRAMES)
    assert counts['windows'] == NUM_FRAMES
    assert counts['windows that could not be joined'] == 0
    assert (peer.stamps('odometry'), peer.transforms, paths) == ([], [], [])
    # Each has a unit of its own, and the diagnostics do not call it a metre.
    assert np.ptp(units) > 0.1
    assert worlds[-1].level == DiagnosticStatus.WARN
    assert eventually(lambda: told and told[-1].message.endswith('; lengths are not metres'))
    assert worlds[-1].message == (
        'not metric: every window has a unit of its own; without poses')
    assert 'segment' not in node.output


def unit_of(depth, true):
    """Return the published unit in metres; all pixels must agree."""
    image = np.frombuffer(depth.data, np.float32).reshape(depth.height, depth.width)
    ratio = image / true
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-4)
    return float(ratio[0, 0])
