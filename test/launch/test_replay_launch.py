# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""launch/replay.launch.py for real: the bag starts when the node is active, and not before."""

from importlib import import_module
import unittest

import pytest

launch_testing = pytest.importorskip('launch_testing', reason='launch_testing has no wheel')
launched = import_module('launched')


@pytest.mark.launch_test
def generate_test_description():
    # This is no bag: what the player makes of one is rosbag2's to test.
    return launched.describe(
        'replay', standins=['ros2bag'], bag=str(launched.ROOT), rviz='false')


class TestReplay(unittest.TestCase):

    def test_the_player_waits_for_the_node(self, started):
        probe = launched.Probe()
        self.addCleanup(probe.close)
        probe.wait_until(lambda: len(started) == 2)
        assert started[1].process_name.startswith('player')
        assert probe.state() == 'active'
        assert probe.parameters('use_sim_time', 'autostart') == [True, False]
