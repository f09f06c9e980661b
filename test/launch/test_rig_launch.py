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

"""launch/rig.launch.py for real: each camera has its topics, and all reach the node."""

from importlib import import_module
from pathlib import Path
import tempfile
import unittest

import pytest

launch_testing = pytest.importorskip('launch_testing', reason='launch_testing has no wheel')
launched = import_module('launched')

CAMERAS = """
    camera:
      names: ['front', 'left', 'right']
    window:
      stride: 2
"""


@pytest.mark.launch_test
def generate_test_description():
    parameters = Path(tempfile.mkdtemp(prefix='da3_launch_')) / 'rig.yaml'
    parameters.write_text(launched.PARAMETERS + CAMERAS)
    return launched.describe(
        'rig', params_file=str(parameters), front_image='/cameras/front/image_raw')


class TestRig(unittest.TestCase):

    def test_every_camera_has_its_topics(self):
        probe = launched.Probe()
        self.addCleanup(probe.close)
        probe.wait_until(lambda: probe.state() == 'active')
        for topic in ('/cameras/front/image_raw', '/robot1/front/camera_info',
                      '/robot1/left/image', '/robot1/right/camera_info'):
            probe.wait_until(lambda topic=topic: probe.node.count_subscribers(topic) == 1)
        for camera in ('front', 'left', 'right'):
            topic = f'{launched.NODE}/{camera}/points'
            probe.wait_until(lambda topic=topic: probe.node.count_publishers(topic) == 1)


@launch_testing.post_shutdown_test()
class TestEnd(unittest.TestCase):

    def test_the_node_ended_well(self, proc_info):
        launch_testing.asserts.assertExitCodes(proc_info)
