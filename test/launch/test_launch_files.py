# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The launch files fit each other, the package and its configuration; needs no launch."""

from pathlib import Path

from da3_ros.ros.parameters.parameter_table import PARAMETERS
import pytest
from recorder import record, Recorded
import yaml

ROOT = Path(__file__).resolve().parents[2]
LAUNCH_FILES = sorted((ROOT / 'launch').glob('*.launch.py'))
NAV2_ARGUMENTS = [
    'namespace', 'use_sim_time', 'params_file', 'autostart', 'use_respawn', 'log_level']

INPUTS_OF_PEERS = {'depth_image_proc': 2, 'rtabmap_slam': 4, 'nvblox_ros': 4}


# Launch argument -> parameter that it sets, where it is given.
SETTINGS = {
    'model': 'model.name', 'weights': 'model.weights', 'transport': 'camera.transport',
    'tf_mode': 'tf.mode', 'scale_source': 'scale.source', 'window_size': 'window.size'}


def launch(name: str, **arguments: str) -> Recorded:
    return record(ROOT / 'launch' / f'{name}.launch.py', **arguments)


def declared(description: Recorded) -> list[str]:
    return [call.args[0] for call in description.find('DeclareLaunchArgument')]


def used(description: Recorded) -> set[str]:
    return {call.args[0] for call in description.find('LaunchConfiguration')}


def da3_node() -> Recorded:
    return launch('da3').find('LifecycleNode')[0]


@pytest.mark.parametrize('path', LAUNCH_FILES, ids=lambda path: path.name)
def test_arguments_are_declared_described_and_used(path):
    description = record(path, **dict.fromkeys(SETTINGS, '1'))
    names = declared(description)
    assert len(set(names)) == len(names)
    for argument in description.find('DeclareLaunchArgument'):
        assert len(argument.kwargs['description']) > 10
    includes = description.find('IncludeLaunchDescription')
    passed_on = set(declared(launch('da3'))) if includes else set()
    assert used(description) <= set(names) | passed_on
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


@pytest.mark.parametrize('path', LAUNCH_FILES, ids=lambda path: path.name)
def test_a_namespace_holds_all_nodes_and_their_tf(path):
    listeners_of_tf = {'da3_ros', 'rviz2', 'rtabmap_slam', 'nvblox_ros', 'nav2_costmap_2d'}
    for node in record(path).find('LifecycleNode', 'Node', 'ComposableNode'):
        assert node.kwargs['namespace'].args == ('namespace',)
        if node.kwargs['package'] in listeners_of_tf:
            assert {('/tf', 'tf'), ('/tf_static', 'tf_static')} <= set(node.kwargs['remappings'])


@pytest.mark.parametrize('path', LAUNCH_FILES, ids=lambda path: path.name)
def test_peers_are_connected_to_topics_that_the_node_publishes(path, published):
    for node in record(path).find('Node', 'ComposableNode'):
        inputs = [target for source, target in node.kwargs.get('remappings', ())
                  if target.startswith('da3/') and not source.startswith('da3/')]
        assert set(inputs) <= set(published)
        expected = INPUTS_OF_PEERS.get(node.kwargs['package'], 0)
        assert len(inputs) == expected


def test_the_camera_is_remapped_by_arguments():
    remappings = dict(da3_node().kwargs['remappings'])
    for topic in ('image', 'camera_info'):
        assert remappings[topic].args == (topic,)


def test_the_settings_changed_most_are_arguments_with_the_choices_of_the_parameters():
    specs = {spec.name: spec for spec in PARAMETERS}
    arguments = {call.args[0]: call.kwargs for call in launch('da3').find('DeclareLaunchArgument')}
    for argument, parameter in SETTINGS.items():
        assert arguments[argument]['default_value'] == ''
        assert tuple(arguments[argument].get('choices', [''])[1:]) == specs[parameter].choices
        node = launch('da3', **{argument: '2'}).find('LifecycleNode')[0]
        value = node.kwargs['parameters'][1][parameter]
        assert value.args[0].args == (argument,)
        assert value.kwargs['value_type'] is type(specs[parameter].default)


def test_without_such_arguments_the_parameter_file_decides():
    assert set(da3_node().kwargs['parameters'][1]) == {'use_sim_time', 'autostart'}


@pytest.mark.parametrize('layout', [
    '/**: {ros__parameters: {camera: {names: [bow, stern]}}}',
    '/robot/da3: {ros__parameters: {camera.names: [bow, stern]}}',
    'robot: {da3: {ros__parameters: {camera: {names: [bow, stern]}}}}',
])
def test_a_rig_remaps_the_topics_of_the_cameras_that_its_file_names(layout, tmp_path):
    path = tmp_path / 'ship.yaml'
    path.write_text(layout)
    rig = launch('rig', params_file=str(path), bow_image='/bow/image_raw')
    assert {call.args for call in rig.find('SetRemap')} == {
        ('bow/image', '/bow/image_raw'), ('bow/camera_info', 'bow/camera_info'),
        ('stern/image', 'stern/image'), ('stern/camera_info', 'stern/camera_info')}


def test_a_rig_without_names_or_with_an_argument_for_another_camera_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match=r"rear_image: .* expected one of \['front'"):
        launch('rig', rear_image='image')
    path = tmp_path / 'none.yaml'
    path.write_text('/**: {ros__parameters: {window: {size: 6}}}')
    for wrong, problem in ((path, 'got no camera.names'), (tmp_path / 'no', 'path of a file')):
        with pytest.raises(RuntimeError, match=problem):
            launch('rig', params_file=str(wrong))


def test_the_node_is_an_entry_point_of_the_package():
    node = da3_node()
    assert node.kwargs['package'] == 'da3_ros'
    command = f"'{node.kwargs['executable']}': 'da3_ros.start:main'"
    assert command in (ROOT / 'setup.py').read_text()


def test_log_lines_come_out_as_they_are_written():
    variables = [call.args for call in launch('da3').find('SetEnvironmentVariable')]
    assert ('RCUTILS_LOGGING_BUFFERED_STREAM', '1') in variables


@pytest.mark.parametrize(('launcher', 'name'), [
    ('da3', 'params_file'), ('da3', 'rviz_config'), ('rig', 'params_file'),
    ('nav2_costmap', 'params_file')])
def test_default_files_exist(launcher, name):
    argument = next(call for call in launch(launcher).find('DeclareLaunchArgument')
                    if call.args[0] == name)
    config, file = argument.kwargs['default_value'].args[0]
    package, folder = config.args[0]
    assert package.args == ('da3_ros',)
    assert (ROOT / folder / file).is_file()


def test_default_parameters_hold_in_every_namespace():
    parameters = yaml.safe_load((ROOT / 'config' / 'da3.yaml').read_text())
    assert list(parameters) == ['/**']


def test_the_manager_brings_up_a_node_that_waits_for_it_and_asks_for_no_bond():
    costmap = launch('nav2_costmap')
    manager = next(node for node in costmap.find('Node')
                   if node.kwargs['package'] == 'nav2_lifecycle_manager')
    parameters = manager.kwargs['parameters'][-1]
    assert parameters['bond_timeout'] == 0.0
    assert 'da3' in parameters['node_names']
    include = costmap.find('IncludeLaunchDescription')[0]
    assert dict(include.kwargs['launch_arguments']) == {'autostart': 'false'}


def test_the_costmap_marks_with_points_that_the_node_publishes(published):
    costmap = yaml.safe_load((ROOT / 'config' / 'nav2_costmap.yaml').read_text())['/**']
    layer = costmap['ros__parameters']['voxel_layer']
    source = layer[layer['observation_sources']]
    assert published[source['topic']].msg_type.__name__ == source['data_type']
