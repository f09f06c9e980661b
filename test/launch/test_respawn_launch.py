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
