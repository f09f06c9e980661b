# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
The launch files of docs/interop for real, and RViz: what they start gets whole keyframes.

Where the other package is not installed, a stand-in with its subscriptions takes its place.
"""

from importlib import import_module
import unittest

from ament_index_python.packages import get_packages_with_prefixes
import pytest

launch_testing = pytest.importorskip('launch_testing', reason='launch_testing has no wheel')
launched = import_module('launched')
standin_peer = import_module('standin_peer')

INSTALLED = frozenset(get_packages_with_prefixes())
# The packages that each launch file starts beside the node; the first one listens to it.
PEERS = {
    'depth_image_proc': ('rclcpp_components',),
    'rtabmap': ('rtabmap_slam',),
    'nvblox': ('nvblox_ros',),
    'nav2_costmap': ('nav2_costmap_2d', 'nav2_lifecycle_manager'),
}
LISTENS_TO = {'nav2_costmap': 'points'}


@pytest.mark.launch_test
@launch_testing.parametrize('name', list(PEERS))
def generate_test_description(name):
    # RViz is given its configuration by the same launch file.
    needed = (*PEERS[name], 'rviz2')
    return launched.describe(
        name, standins=[each for each in needed if each not in INSTALLED], rviz='true')


class TestPeer(unittest.TestCase):

    def test_it_gets_whole_keyframes(self, name, proc_output):
        probe = launched.Probe()
        self.addCleanup(probe.close)
        probe.wait_until(lambda: probe.state() == 'active')

        def heard(text):
            return any(text in line.text.decode() for line in proc_output)

        def has_whole_keyframes():
            probe.send_images()
            return heard(standin_peer.WHOLE)

        for package in {*PEERS[name], 'rviz2'} - INSTALLED:
            probe.wait_until(lambda package=package: heard(f'{package} with'))
        if PEERS[name][0] not in INSTALLED:
            probe.wait_until(has_whole_keyframes)
        elif name != 'depth_image_proc':
            # That one subscribes only while somebody takes its points.
            probe.wait_until(lambda: probe.node.count_subscribers(
                f'{launched.NODE}/{LISTENS_TO.get(name, "depth/image")}') > 0)
        assert 'rviz2' in INSTALLED or heard('da3.rviz')


@launch_testing.post_shutdown_test()
class TestEnd(unittest.TestCase):

    def test_all_ended_well(self, proc_info):
        launch_testing.asserts.assertExitCodes(proc_info)
