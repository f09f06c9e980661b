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

from importlib import import_module
import signal
import subprocess

from ament_index_python.packages import get_packages_with_prefixes
import pytest

pytest.importorskip('launch_testing', reason='launch_testing has no wheel')
launched = import_module('launched')

PEERS = {
    # It subscribes only while somebody takes its points.
    'depth_image_proc': ('depth_image_proc', None),
    'rtabmap': ('rtabmap_slam', 'depth/image'),
    'nvblox': ('nvblox_ros', 'depth/image'),
    'nav2_costmap': ('nav2_costmap_2d', 'points'),
}


@pytest.fixture
def probe():
    probe = launched.Probe()
    yield probe
    probe.close()


@pytest.mark.parametrize('name', PEERS)
def test_the_other_package_listens(name, probe):
    package, topic = PEERS[name]
    if package not in get_packages_with_prefixes():
        pytest.skip(f'{package} is not installed')
    arguments = [f'{key}:={value}' for key, value in launched.link_package().items()]
    with subprocess.Popen(['ros2', 'launch', 'da3_ros', f'{name}.launch.py', *arguments]) as run:
        try:
            probe.wait_until(lambda: probe.state() == 'active')
            if topic is not None:
                probe.wait_until(
                    lambda: probe.node.count_subscribers(f'{launched.NODE}/{topic}') > 0)
        finally:
            run.send_signal(signal.SIGINT)
    assert run.returncode == 0
