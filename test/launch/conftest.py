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
