# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What colcon installs is complete, and the node starts from it."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.package


def relative_files(folder: Path, pattern: str) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob(pattern)
            if path.is_file() and '__pycache__' not in path.parts}


def installed_package(workspace) -> Path:
    """Return the folder that Python imports da3_ros from once the install space is sourced."""
    return Path(workspace.run("python3 -c 'import da3_ros; print(da3_ros.__path__[0])'").strip())


def test_every_module_is_installed(workspace):
    package = installed_package(workspace)
    assert package.is_relative_to(workspace.prefix)
    assert relative_files(package, '*.py') == relative_files(ROOT / 'da3_ros', '*.py')


def test_nothing_else_is_installed(workspace):
    assert {path.name for path in installed_package(workspace).parent.iterdir()
            if path.is_dir() and path.suffix != '.egg-info'} <= {'da3_ros', '__pycache__'}


def test_weights_are_installed(workspace):
    weights = relative_files(ROOT / 'da3_ros', '*.safetensors')
    assert relative_files(installed_package(workspace), '*.safetensors') == weights


def test_every_script_has_its_function(workspace):
    workspace.run("python3 -c 'from importlib.metadata import distribution; "
                  '[script.load() for script in distribution("da3_ros").entry_points]\'')


@pytest.mark.parametrize('folder', ['config', 'launch'])
def test_shared_files_are_installed(workspace, folder):
    share = workspace.prefix / 'share' / 'da3_ros'
    assert relative_files(share / folder, '*') == relative_files(ROOT / folder, '*')


def test_package_is_in_the_index(workspace):
    # The manifest's e-mail address decides whether colcon takes it for a ROS package at all.
    index = workspace.prefix / 'share' / 'ament_index' / 'resource_index' / 'packages'
    assert (index / 'da3_ros').exists()
    assert (workspace.prefix / 'share' / 'da3_ros' / 'package.xml').exists()
    found = workspace.run("python3 -c 'from ament_index_python import get_package_prefix; "
                          'print(get_package_prefix("da3_ros"))\'')
    assert Path(found.strip()) == workspace.prefix
