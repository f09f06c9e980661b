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

"""The launch files of docs/interop for real, where the other package is installed."""

import unittest

from ament_index_python.packages import get_packages_with_prefixes
import pytest

launch_testing = pytest.importorskip('launch_testing', reason='launch_testing has no wheel')
launched = pytest.importorskip('launched')

PEERS = {
    'depth_image_proc': ('depth_image_proc', None),
    'rtabmap': ('rtabmap_slam', 'depth/image'),
    'nvblox': ('nvblox_ros', 'depth/image'),
    'nav2_costmap': ('nav2_costmap_2d', 'points'),
}
INSTALLED = [name for name, (package, _) in PEERS.items()
             if package in get_packages_with_prefixes()]
if not INSTALLED:
    pytest.skip('none of the other packages is installed', allow_module_level=True)


@pytest.mark.launch_test
@launch_testing.parametrize('name', INSTALLED)
def generate_test_description(name):
    return launched.describe(name)


class TestPeer(unittest.TestCase):

    def test_it_listens_to_the_node(self, name, started):
        probe = launched.Probe()
        self.addCleanup(probe.close)
        probe.wait_until(lambda: probe.state() == 'active')
        probe.wait_until(lambda: len(started) >= 2)
        topic = PEERS[name][1]
        # depth_image_proc subscribes when somebody takes its points.
        if topic is not None:
            probe.wait_until(
                lambda: probe.node.count_subscribers(f'{launched.NODE}/{topic}') > 0)
