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

"""The launch files fit each other, the package and its configuration; needs no launch."""

from pathlib import Path
import re

import pytest
from recorder import record, Recorded
import yaml

ROOT = Path(__file__).resolve().parents[2]
LAUNCH_FILES = sorted((ROOT / 'launch').glob('*.launch.py'))
NAV2_ARGUMENTS = [
    'namespace', 'use_sim_time', 'params_file', 'autostart', 'use_respawn', 'log_level']


def launch(name: str) -> Recorded:
    return record(ROOT / 'launch' / f'{name}.launch.py')


def declared(description: Recorded) -> list[str]:
    return [call.args[0] for call in description.find('DeclareLaunchArgument')]


def used(description: Recorded) -> set[str]:
    return {call.args[0] for call in description.find('LaunchConfiguration')}


def da3_node() -> Recorded:
    return launch('da3').find('LifecycleNode')[0]


@pytest.mark.parametrize('path', LAUNCH_FILES, ids=lambda path: path.name)
def test_arguments_are_declared_described_and_used(path):
    description = record(path)
    names = declared(description)
    assert len(set(names)) == len(names)
    for argument in description.find('DeclareLaunchArgument'):
        assert len(argument.kwargs['description']) > 10
    includes = description.find('IncludeLaunchDescription')
    passed_on = set(declared(launch('da3'))) if includes else set()
    assert used(description) <= set(names)
    assert set(names) <= used(description) | passed_on


def test_the_first_arguments_are_those_of_nav2():
    assert declared(launch('da3'))[:len(NAV2_ARGUMENTS)] == NAV2_ARGUMENTS


def test_a_bag_is_the_only_argument_without_a_default():
    required = [
        call.args[0] for path in LAUNCH_FILES
        for call in record(path).find('DeclareLaunchArgument')
        if 'default_value' not in call.kwargs]
    assert required == ['bag']


def test_the_replay_sets_only_what_the_node_takes():
    include = launch('replay').find('IncludeLaunchDescription')[0]
    assert {name for name, _ in include.kwargs['launch_arguments']} <= set(declared(launch('da3')))


def test_a_namespace_holds_the_tf_of_both_nodes():
    for node in launch('da3').find('LifecycleNode', 'Node'):
        assert node.kwargs['namespace'].args == ('namespace',)
        assert ('/tf', 'tf') in node.kwargs['remappings']
        assert ('/tf_static', 'tf_static') in node.kwargs['remappings']


def test_the_camera_is_remapped_by_arguments():
    remappings = dict(da3_node().kwargs['remappings'])
    for topic in ('image', 'camera_info'):
        assert remappings[topic].args == (topic,)


def test_the_node_is_an_entry_point_of_the_package():
    node = da3_node()
    assert node.kwargs['package'] == 'da3_ros'
    assert f"'{node.kwargs['executable']} = da3_ros.node:main'" in (ROOT / 'setup.py').read_text()


def test_log_lines_come_out_as_they_are_written():
    variables = [call.args for call in launch('da3').find('SetEnvironmentVariable')]
    assert ('RCUTILS_LOGGING_BUFFERED_STREAM', '1') in variables


@pytest.mark.parametrize('name', ['params_file', 'rviz_config'])
def test_default_files_exist(name):
    argument = next(call for call in launch('da3').find('DeclareLaunchArgument')
                    if call.args[0] == name)
    config, file = argument.kwargs['default_value'].args[0]
    package, folder = config.args[0]
    assert package.args == ('da3_ros',)
    assert (ROOT / folder / file).is_file()


def test_default_parameters_hold_in_every_namespace():
    parameters = yaml.safe_load((ROOT / 'config' / 'da3.yaml').read_text())
    assert list(parameters) == ['/**']


def test_rviz_shows_relative_topics_of_the_node():
    text = (ROOT / 'config' / 'da3.rviz').read_text()
    manager = yaml.safe_load(text)['Visualization Manager']
    topics = [display['Topic']['Value'] for display in manager['Displays'] if 'Topic' in display]
    assert len(topics) >= 5
    name = da3_node().kwargs['name']
    assert all(re.fullmatch(rf'{name}/[a-z/]+', topic) for topic in topics)
