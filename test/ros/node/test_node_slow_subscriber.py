# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Who listens and does not keep up costs nobody else anything."""

import os
import signal
import subprocess
import sys
import time

from da3_ros.mapping.keyframe import Frame
from node_harness import eventually, HERE, ROOT
import numpy as np
import pytest
from test_node_survival import Counts

LOAD_NODE = (str(ROOT / 'benchmark/load_node.py'),)
NUM_FRAMES = 15
PERIOD_S = 0.2
MAX_STALL_S = 1.0


@pytest.fixture
def slow_subscribers(domain_id):
    """Give two processes that subscribe and do not keep up."""
    processes = [
        subprocess.Popen(
            [sys.executable, str(HERE / 'slow_subscriber.py')], stdout=subprocess.PIPE, text=True,
            env=os.environ | {'ROS_DOMAIN_ID': str(domain_id)})
        for _ in range(2)
    ]
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def test_slow_subscribers_stall_nobody(start_node, peer, slow_subscribers):
    """One sleeps in its callback, one is frozen: megabytes per keyframe still go to the others."""
    start_node({'camera.info_wait_s': 0.0}, program=LOAD_NODE, arguments=['--seconds', '0.05'])
    counts = Counts(peer)
    peer.wait_for_camera()
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (4, 480, 640, 3), dtype=np.uint8)
    for index in range(NUM_FRAMES):
        peer.send(Frame(time.time_ns(), images[index % len(images)]))
        if index == 3:
            assert {process.stdout.readline() for process in slow_subscribers} == {'took one\n'}
            slow_subscribers[0].send_signal(signal.SIGSTOP)
        time.sleep(PERIOD_S)
    assert eventually(lambda: len(peer.stamps('points')) == NUM_FRAMES)
    assert eventually(lambda: counts['keyframes published'] == NUM_FRAMES)
    cloud = peer.received['points'][peer.stamps('points')[-1]][0]
    assert len(cloud.data) > 2_000_000
    assert counts.seconds('stamp to receipt: max [s]') < MAX_STALL_S
    assert counts.seconds('inference to publication: max [s]') < MAX_STALL_S
