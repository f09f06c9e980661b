# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""launch/da3.launch.py for real: a node that was killed comes back to work."""

from importlib import import_module
import os
import signal
import unittest

import pytest

launch_testing = pytest.importorskip('launch_testing', reason='launch_testing has no wheel')
launched = import_module('launched')


@pytest.mark.launch_test
def generate_test_description():
    return launched.describe('da3', use_respawn='true')


class TestRespawn(unittest.TestCase):

    def test_a_killed_node_comes_back(self, started):
        probe = launched.Probe()
        self.addCleanup(probe.close)
        probe.wait_until(lambda: probe.state() == 'active')
        os.kill(started[0].pid, signal.SIGKILL)
        probe.wait_until(lambda: len(started) == 2)
        probe.wait_until(lambda: probe.state() == 'active')
