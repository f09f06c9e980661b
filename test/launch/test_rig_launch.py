# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

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
            probe.wait_until(lambda topic=topic: probe.node.count_subscribers(topic) > 0)
        for camera in ('front', 'left', 'right'):
            topic = f'{launched.NODE}/{camera}/points'
            probe.wait_until(lambda topic=topic: probe.node.count_publishers(topic) == 1)


@launch_testing.post_shutdown_test()
class TestEnd(unittest.TestCase):

    def test_the_node_ended_well(self, proc_info):
        launch_testing.asserts.assertExitCodes(proc_info)
