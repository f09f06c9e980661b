# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What the node publishes, for the files that must fit it."""

from da3_ros.ros.interface import create_publishers
import pytest
import rclpy
from rclpy.lifecycle import LifecycleNode


@pytest.fixture(scope='session')
def published():
    """Give the node's publishers by their names in the node's namespace."""
    context = rclpy.Context()
    rclpy.init(context=context)
    # Not the namespace of the tests that launch the node: services of the two would mix.
    node = LifecycleNode('da3', namespace='described', context=context)
    publishers = create_publishers(node, ['']).all
    yield {publisher.topic_name.removeprefix('/described/'): publisher
           for publisher in publishers}
    node.destroy_node()
    context.try_shutdown()
