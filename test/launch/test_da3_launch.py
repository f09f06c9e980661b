# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""launch/da3.launch.py for real: arguments reach the node, and Ctrl-C ends it."""

from importlib import import_module
import unittest

import pytest

launch_testing = pytest.importorskip('launch_testing', reason='launch_testing has no wheel')
launched = import_module('launched')


@pytest.mark.launch_test
def generate_test_description():
    return launched.describe(
        'da3', image='/camera/image', camera_info='/camera/info', use_sim_time='true')


class TestNode(unittest.TestCase):

    def setUp(self):
        self.probe = launched.Probe()
        self.addCleanup(self.probe.close)

    def test_it_brings_itself_up(self):
        self.probe.wait_until(lambda: self.probe.state() == 'active')

    def test_arguments_win_over_the_parameter_file(self):
        names = ('autostart', 'use_sim_time', 'path.max_size', 'model.name')
        assert self.probe.parameters(*names) == [True, True, 7, 'da3-small']

    def test_a_misspelt_parameter_is_named_with_the_users_file(self, proc_output):
        for text in ('path.max_sise (', 'test.yaml; did you mean path.max_size?)'):
            proc_output.assertWaitFor(text, timeout=60.0)

    def test_topics_are_remapped(self):
        node, wait = self.probe.node, self.probe.wait_until
        for topic in ('/camera/image', '/camera/info', '/clock'):
            wait(lambda topic=topic: node.count_subscribers(topic) > 0)
        outputs = [f'{launched.NODE}/{name}' for name in ('points', 'depth/image', 'path')]
        for topic in ('/robot1/tf', '/diagnostics', *outputs):
            wait(lambda topic=topic: node.count_publishers(topic) > 0)
        assert node.count_publishers('/tf') == 0


@launch_testing.post_shutdown_test()
class TestEnd(unittest.TestCase):

    def test_the_node_ended_well(self, proc_info):
        launch_testing.asserts.assertExitCodes(proc_info)
