# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What users write at the start: broken files end the process clearly, the rest is named."""

import os
from pathlib import Path
import subprocess
import sys

from da3_ros.node import main
from lifecycle_msgs.msg import Transition
from node_harness import REAL_NODE, ROOT
import pytest

UNREADABLE = {
    'not closed': '/**:\n  ros__parameters:\n    window: {size: [1, 2\n',
    'mixed list': '/**:\n  ros__parameters:\n    window:\n      size: [1, two]\n',
    'tabulator': '/**:\n  ros__parameters:\n\twindow:\n',
    'no node': 'window.size: 12\n',
    'no parameters': '/**:\n  ros__parameters:\n',
    'a list': '- window.size\n',
    'no text': '\x00\x80\xff',
}


def complaint(*arguments: str) -> str:
    """Start a node that cannot start, and give its last words."""
    with pytest.raises(SystemExit) as end:
        main(['--ros-args', *arguments])
    return str(end.value.code)


@pytest.mark.parametrize('case', UNREADABLE)
def test_malformed_parameter_files_end_the_process(case, tmp_path):
    """One line names the file."""
    path = tmp_path / 'broken.yaml'
    path.write_text(UNREADABLE[case], encoding='latin-1')
    assert 'broken.yaml' in complaint('--params-file', str(path))


@pytest.mark.parametrize(('arguments', 'name'), [
    (('--params-file', 'nowhere.yaml'), 'nowhere.yaml'),
    (('-r', 'image'), "'-r image'"),
    (('-r', '__node:=two words'), 'two words'),
    (('--no-such-option',), '--no-such-option'),
])
def test_malformed_arguments_end_the_process(arguments, name):
    """One line names what was not understood."""
    assert name in complaint(*arguments)


def test_the_process_says_why_it_ended():
    """On its last line, without a traceback, and with an exit code."""
    ended = subprocess.run(
        [sys.executable, *REAL_NODE, '--ros-args', '--params-file', 'nowhere.yaml'],
        env=os.environ | {'PYTHONPATH': os.pathsep.join(
            [str(ROOT), os.environ.get('PYTHONPATH', '')])},
        check=False, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert 'Traceback' not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith('da3: failed to initialize rcl: ')


def parameter_file(folder: Path, text: str) -> list[str]:
    """Write a file and give the arguments that read it."""
    path = folder / 'parameters.yaml'
    path.write_text(f'/**:\n  ros__parameters:\n{text}')
    return ['--ros-args', '--params-file', str(path), '--']


def test_misspelt_parameters_are_named(start_node, tmp_path):
    """ROS itself would ignore them without a word; those of others are not ours to judge."""
    node = start_node(arguments=parameter_file(
        tmp_path, '    window: {sise: 20}\n    points: 3\n    diagnostic_updater.period: 0.5\n'))
    node.wait_for_output('active: waiting for')
    path = tmp_path / 'parameters.yaml'
    assert f'unknown parameters, ignored: points ({path}; a group: points.frame and so on), ' \
        f'window.sise ({path}; did you mean window.size?)\n' in node.output


def test_the_users_file_is_named_and_not_the_copy_that_launch_makes(
        start_node, tmp_path, monkeypatch):
    """As da3.launch.py tells it."""
    copy = tmp_path / 'launch_params_x1y2z3'
    copy.write_text('/**:\n  ros__parameters:\n    window: {sise: 20}\n')
    monkeypatch.setenv('DA3_PARAMS_FILE', '/etc/robot/mine.yaml')
    node = start_node(
        {'autostart': False}, arguments=['--ros-args', '--params-file', str(copy), '--'])
    node.wait_for_output('waiting for configure')
    assert 'window.sise (/etc/robot/mine.yaml; did you mean window.size?)' in node.output


def test_misspelt_and_needless_qos_overrides_are_named(start_node):
    """When all topics exist; those that a topic takes are not."""
    node = start_node({
        'qos_overrides./imagee.subscription.reliability': 'reliable',
        'qos_overrides./image.subscription.durability': 'volatile'})
    node.wait_for_output('active: waiting for')
    node.wait_for_output('qos_overrides that no topic takes, ignored: ')
    line = next(each for each in node.output.splitlines() if 'no topic takes' in each)
    assert 'qos_overrides./image.subscription.durability' in line
    assert 'qos_overrides./imagee.subscription.reliability (did you mean ' \
        'qos_overrides./image.subscription.reliability?)' in line
    assert 'camera_info' not in line


def test_bad_values_are_named_at_once_and_the_node_lives(start_node, peer, tmp_path):
    """Also before configure, which refuses them all again."""
    node = start_node({'autostart': False}, arguments=parameter_file(
        tmp_path,
        '    path: {max_size: many}\n    depth: {max_m: .nan}\n    points: {stride: 0}\n'))
    node.wait_for_output('waiting for configure')
    assert not peer.change_state(Transition.TRANSITION_CONFIGURE)
    configure = node.output[node.output.index('on_configure:'):]
    for name in ('path.max_size', 'depth.max_m', 'points.stride'):
        assert name in node.output[:node.output.index('waiting for configure')]
        assert name in configure
    assert peer.state() == 'unconfigured'
