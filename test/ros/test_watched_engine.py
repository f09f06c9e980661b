# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A window that does not end is seen from outside, and one that fails leaves no trace."""

import threading

from da3_ros.ros.watched_engine import WatchedEngine
from node_harness import eventually
import pytest


class Gate:
    """An engine that waits, and fails then."""

    def __init__(self) -> None:
        """Be closed."""
        self.is_open = threading.Event()

    def infer(self, images, *, poses=None, intrinsics=None):
        """Wait, and give back what came."""
        assert self.is_open.wait(10.0)
        if not images:
            raise ValueError('no images')
        return images, poses, intrinsics


def test_the_time_of_a_window_is_seen_meanwhile():
    """It grows until the window ends."""
    gate = Gate()
    engine = WatchedEngine(gate)
    assert engine.busy_s == 0.0
    thread = threading.Thread(target=engine.infer, args=(['image'],))
    thread.start()
    assert eventually(lambda: engine.busy_s > 0.05, 5.0)
    gate.is_open.set()
    thread.join()
    assert engine.busy_s == 0.0


def test_everything_is_passed_on_and_errors_come_out():
    """The engine behind it does not know."""
    gate = Gate()
    gate.is_open.set()
    engine = WatchedEngine(gate)
    assert engine.infer(['image'], poses='poses', intrinsics='k') == (['image'], 'poses', 'k')
    with pytest.raises(ValueError, match='no images'):
        engine.infer([])
    assert engine.busy_s == 0.0
