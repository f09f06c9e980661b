# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""tools/in_env: one clear line for whatever is missing, and nothing broken left behind."""

from pathlib import Path
import platform
import shutil
import subprocess
import sys

import pytest

ROOT = Path(__file__).resolve().parents[2]
IN_ENV = ROOT / 'tools' / 'in_env'
# The machine's own Python: the environment's has everything.
PYTHON = Path(sys.base_prefix, 'bin', f'python3.{sys.version_info.minor}')
NO_PACKAGES = {'PIP_NO_INDEX': '1', 'PIP_FIND_LINKS': '', 'PIP_CONFIG_FILE': '/dev/null'}

pytestmark = pytest.mark.skipif(platform.machine() != 'x86_64', reason='there are no wheels')


@pytest.fixture
def machine(tmp_path):
    """
    Give a machine that lacks something.

    Called with lines of Python that hide it, and variables; returns status and the last line.
    """
    def run(hide: str = '', **variables: str) -> tuple[int, str]:
        (tmp_path / 'sitecustomize.py').write_text(hide)
        environment = {
            'PATH': '/usr/bin:/bin', 'PYTHONPATH': str(tmp_path), 'DA3_PYTHON': str(PYTHON),
            'DA3_VENV': str(tmp_path / 'venv'), **variables}
        result = subprocess.run([IN_ENV, 'true'], env=environment, check=False,
                                capture_output=True, text=True, timeout=120)
        assert not result.stdout
        assert 'Traceback' not in result.stderr
        return result.returncode, result.stderr.splitlines()[-1]
    return run


def commands(folder: Path, *names: str) -> Path:
    """Make a folder of commands that has these and no others."""
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(shutil.which(name))
    return folder


def test_no_python(machine, tmp_path):
    path = commands(tmp_path / 'bin', 'sh', 'dirname')
    status, line = machine(PATH=str(path), DA3_PYTHON='')
    assert status == 1
    assert 'found no python3; install Python 3.10 to 3.13' in line


def test_python_of_another_version(machine, tmp_path):
    old = tmp_path / 'old'
    old.write_text('#!/bin/sh\ntest "$1" = --version && echo Python 3.8.10\n')
    old.chmod(0o755)
    status, line = machine(DA3_PYTHON=str(old))
    assert status == 1
    assert 'found Python 3.8.10; install Python 3.10 to 3.13' in line


def test_no_venv(machine):
    status, line = machine("import sys; sys.modules['ensurepip'] = None")
    assert status == 1
    assert f'sudo apt install python3.{sys.version_info.minor}-venv' in line


def test_no_compiler(machine, tmp_path):
    path = commands(tmp_path / 'bin', 'sh', 'dirname')
    status, line = machine(PATH=str(path))
    assert status == 1
    assert 'sudo apt install g++' in line


def test_architecture_without_wheels(machine):
    status, line = machine("import platform; platform.machine = lambda: 'aarch64'")
    assert status == 1
    assert 'no ROS 2 wheels for Linux aarch64: install ROS 2 Jazzy and source' in line


def test_sourced_ros_of_another_python(machine):
    status, line = machine(ROS_DISTRO='jazzy', AMENT_PREFIX_PATH='/opt/ros/jazzy')
    assert status == 1
    assert 'ROS 2 jazzy is sourced but' in line
    assert 'cannot import rclpy' in line


def test_sourced_ros_without_the_packages_we_need(machine, tmp_path):
    (tmp_path / 'rclpy.py').touch()
    status, line = machine(ROS_DISTRO='jazzy', AMENT_PREFIX_PATH='/opt/ros/jazzy')
    assert status == 1
    assert 'ros-jazzy-cv-bridge' in line
    assert 'rosdep install' in line


def test_folder_of_somebody_else_is_left_alone(machine, tmp_path):
    folder = tmp_path / 'mine'
    folder.mkdir()
    (folder / 'thesis.txt').write_text('irreplaceable')
    status, line = machine(DA3_VENV=str(folder))
    assert status == 1
    assert 'was not made by tools/in_env' in line
    assert [path.name for path in folder.iterdir()] == ['thesis.txt']


@pytest.fixture
def other_checkout(tmp_path):
    """Give another checkout, whose environment lies where DA3_VENV of ``machine`` points."""
    root = tmp_path / 'other'
    shutil.copytree(ROOT / 'tools', root / 'tools')
    shutil.copy(ROOT / 'requirements.txt', root)
    (tmp_path / 'venv').mkdir()
    return root


def test_environment_of_another_checkout_is_left_alone(machine, tmp_path, other_checkout):
    """Also when it is not complete: somebody may be about to make it so."""
    environment = {'PATH': '/usr/bin:/bin', 'DA3_PYTHON': str(PYTHON),
                   'DA3_VENV': str(tmp_path / 'venv'), **NO_PACKAGES}
    subprocess.run([other_checkout / 'tools' / 'in_env'], env=environment, check=False,
                   capture_output=True, timeout=120)
    in_use = tmp_path / 'venv' / 'in_use'
    in_use.touch()
    for _ in range(2):
        status, line = machine(**NO_PACKAGES)
        assert status == 1
        assert f'{tmp_path / "venv"} is the environment of {other_checkout}' in line
        assert 'set DA3_VENV to another folder' in line
        assert in_use.exists()
    shutil.rmtree(other_checkout)
    status, line = machine(**NO_PACKAGES)
    assert 'No matching distribution found' in line
    assert not in_use.exists()


def test_environment_that_an_earlier_version_made_for_another_checkout(
    machine, tmp_path, other_checkout
):
    """Its lock is empty; what it imports names its owner."""
    (tmp_path / 'venv' / 'da3_ros.lock').touch()
    site = tmp_path / 'venv' / 'lib' / 'python3.12' / 'site-packages'
    site.mkdir(parents=True)
    (site / 'da3_ros.pth').write_text(f'{other_checkout}\n{other_checkout}/tools/standins\n')
    status, line = machine(**NO_PACKAGES)
    assert status == 1
    assert f'is the environment of {other_checkout}' in line
    assert (site / 'da3_ros.pth').exists()


def test_failed_installation_says_why_and_starts_over(machine, tmp_path):
    (tmp_path / 'venv').mkdir()
    for _ in range(2):
        status, line = machine(**NO_PACKAGES)
        assert status == 1
        assert 'No matching distribution found for torch' in line
        (tmp_path / 'venv' / 'left_over').touch()
    machine(**NO_PACKAGES)
    assert not (tmp_path / 'venv' / 'left_over').exists()


def test_command_runs_with_its_settings_and_status():
    if not Path(sys.prefix, 'da3_ros.stamp').exists():
        pytest.skip('this Python is not that of tools/in_env')
    script = ('import os, sys; print(os.environ["ROS_DOMAIN_ID"], '
              'os.environ["ROS_PYTHON_CHECK_FIELDS"], sys.prefix); sys.exit(7)')
    result = subprocess.run([IN_ENV, 'python', '-c', script], check=False, capture_output=True,
                            text=True)
    domain, check_fields, prefix = result.stdout.split()
    assert result.returncode == 7
    assert 1 <= int(domain) <= 101
    assert check_fields == '1'
    assert Path(prefix).samefile(sys.prefix)
