# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

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


@pytest.fixture(autouse=True)
def _log_left_as_it_was():
    """Refuse a handler that a test leaves behind: later ones would find its closed stream."""
    root = logging.getLogger()
    before = set(root.handlers)
    yield
    left = set(root.handlers) - before
    root.handlers = [handler for handler in root.handlers if handler not in left]
    assert not left, f'handlers left on the root logger: {left}'
