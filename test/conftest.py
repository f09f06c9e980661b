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

"""Settings of every test: a ROS domain of its own, and no GPU tests without a GPU."""

from contextlib import ExitStack
import logging
import os

import hypothesis
import pytest
from ros_domain import reserved_domain

# Set here as well as in tools/in_env: 'colcon test' on a robot must not reach the robot's nodes,
# nor one run of the tests another. Held until the process ends.
_domain = ExitStack()
os.environ['ROS_DOMAIN_ID'] = str(_domain.enter_context(reserved_domain()))
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
os.environ.setdefault('ROS_PYTHON_CHECK_FIELDS', '1')

# The same examples in every run: a fault that chance finds would stop somebody else's change. To
# look for new ones: pytest --hypothesis-profile=explore.
hypothesis.settings.register_profile(
    'same', derandomize=True, deadline=None, database=None, max_examples=200)
hypothesis.settings.register_profile('explore', deadline=None, max_examples=5000)
hypothesis.settings.load_profile('same')

# Where launch is installed, pytest loads its plugin, and launch makes all later loggers a class
# that does not propagate: pytest's caplog would see nothing of ours.
logging.setLoggerClass(logging.Logger)


def pytest_collection_modifyitems(items):
    gpu_items = [item for item in items if item.get_closest_marker('gpu')]
    if not gpu_items:
        return
    import torch
    if not torch.cuda.is_available():
        for item in gpu_items:
            item.add_marker(pytest.mark.skip(reason='needs a CUDA device'))
