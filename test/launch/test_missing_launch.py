# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What a launch needs is not there: it ends with one line that says so, and starts nothing."""

from importlib import import_module

from ament_index_python.packages import get_packages_with_prefixes
import pytest

launch = pytest.importorskip('launch', reason='launch has no wheel')
pytest.importorskip('launch_testing', reason='launch_testing has no wheel')
launched = import_module('launched')


@pytest.fixture
def said(capfd):
    """Give what is printed; launch keeps the stream that was there when it first wrote."""
    launch.logging.launch_config.reset()
    yield capfd
    launch.logging.launch_config.reset()


@pytest.mark.parametrize(('name', 'arguments', 'complaint'), [
    ('da3', {'rviz': 'true'}, 'there is no package rviz2 here'),
    ('da3', {'params_file': '/no/such.yaml'}, 'params_file: got /no/such.yaml'),
    ('da3', {'window_size': 'many'}, 'window_size: got many'),
    ('da3', {'transport': 'theora'}, 'theora'),
    ('rig', {'params_file': '/no/such.yaml'}, 'params_file: got /no/such.yaml'),
    ('replay', {'bag': '/no/bag', 'rviz': 'false'}, 'bag: got /no/bag'),
    ('replay', {'bag': '/', 'rviz': 'false'}, 'ros2 bag: not installed'),
    ('nav2_costmap', {'rviz': 'true'}, ''),
])
def test_nothing_is_started(name, arguments, complaint, said):
    description, context = launched.describe(name, **arguments)
    packages = get_packages_with_prefixes()
    if ('rviz' in str(arguments) and 'rviz2' in packages and 'true' in arguments.values()) or (
            'ros2 bag' in complaint and 'ros2bag' in packages):
        pytest.skip('the package is installed here')
    description.entities.pop()  # ReadyToTest is for launch_testing
    service = launch.LaunchService()
    service.include_launch_description(description)
    assert service.run() == 1
    assert not context['started']
    output = said.readouterr()
    assert complaint in output.out + output.err
