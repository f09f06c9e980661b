# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The whole line over a recorded scene: three processes, real DDS, the real network."""

import os
import subprocess
import sys
import time

from node_harness import eventually, FRAME_ID, HERE, OUTPUTS, REAL_NODE, ROOT
import numpy as np
import pytest
from rclpy.time import Time

SCENE = ROOT.parent / 'shared/data/sevenscenes_100'
NUM_FRAMES = 100
PARAMETERS = {
    'model.name': 'da3-tiny', 'model.weights': 'random', 'preprocess.size': 112,
    'queue.size': NUM_FRAMES, 'window.size': 4, 'window.stride': 2,
    # A machine that is busy for a second must not lose what the test counts.
    'qos_overrides./image.subscription.depth': NUM_FRAMES,
    **{f'qos_overrides.{topic}.publisher.depth': NUM_FRAMES for _, topic in OUTPUTS.values()},
}


@pytest.mark.skipif(not SCENE.is_dir(), reason=f'{SCENE} is not there')
def test_recorded_scene_comes_out_whole(start_node, peer, domain_id):
    """All 100 frames are keyframes: each has every output and its transform, none twice."""
    node = start_node(PARAMETERS, program=REAL_NODE)
    node.wait_for_output('active: waiting for')
    camera = subprocess.run(
        [sys.executable, str(HERE / 'stream_scene.py'), str(SCENE), '--rate-hz', '10'],
        env=os.environ | {'ROS_DOMAIN_ID': str(domain_id)}, stdout=subprocess.PIPE, check=True,
        timeout=120, text=True,
    )
    sent = [int(line) for line in camera.stdout.split()]
    assert len(sent) == NUM_FRAMES
    for name in OUTPUTS:
        eventually(lambda name=name: len(peer.stamps(name)) >= len(sent), 60)
        missing = [sent.index(time_ns) for time_ns in sent if time_ns not in peer.stamps(name)]
        assert not missing, (name, missing, node.output)
    time.sleep(0.5)
    for name in OUTPUTS:
        assert peer.stamps(name) == sent, name
        assert {len(messages) for messages in peer.received[name].values()} == {1}, name
    assert peer.transform_stamps() == sent
    # tf2 keeps ten seconds.
    for time_ns in sent[-90:]:
        assert peer.buffer.can_transform('odom', FRAME_ID, Time(nanoseconds=time_ns)), time_ns
    last = {name: peer.received[name][sent[-1]][0] for name in OUTPUTS}
    assert {message.header.frame_id for name, message in last.items() if name != 'odometry'} == {
        FRAME_ID}
    sizes = {(last[name].width, last[name].height) for name in (
        'depth', 'camera_info', 'rgb', 'confidence')}
    assert sizes == {(112, 84)}
    depth = np.frombuffer(last['depth'].data, np.float32)
    assert np.isfinite(depth).any()
