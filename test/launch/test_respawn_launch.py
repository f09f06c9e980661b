# Copyright 2026 The da3_ros authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""launch/da3.launch.py for real: a node that was killed comes back to work."""

from importlib.util import find_spec
import os
import signal
import unittest

import pytest

if find_spec('launch_testing') is None:
    pytest.skip('launch is not installed: it has no wheel', allow_module_level=True)

from launch import LaunchDescription
from launch_testing.actions import ReadyToTest
from launched import include, Probe, remember


@pytest.mark.launch_test
def generate_test_description():
    started = []
    description = LaunchDescription([
        remember(started), include('da3', use_respawn='true'), ReadyToTest()])
    return description, {'started': started}


class TestRespawn(unittest.TestCase):

    def test_a_killed_node_comes_back(self, started):
        probe = Probe()
        self.addCleanup(probe.close)
        probe.wait_until(lambda: probe.state() == 'active')
        os.kill(started[0].pid, signal.SIGKILL)
        probe.wait_until(lambda: len(started) == 2)
        probe.wait_until(lambda: probe.state() == 'active')
