# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What this machine has, and one line that says what it lacks."""

import importlib.util
import os
from pathlib import Path
import platform
import shutil
import subprocess
import sys
import sysconfig

# Modules of a ROS 2 installation that da3_ros imports, with their Debian packages.
ROS_MODULES = {
    'cv_bridge': 'cv-bridge',
    'diagnostic_updater': 'diagnostic-updater',
    'sensor_msgs_py': 'sensor-msgs-py',
    'tf2_msgs': 'tf2-msgs',
    'tf2_ros': 'tf2-ros-py',
}


class ProblemError(Exception):
    """The environment cannot be made; the text is one line that says what to do."""


def has_module(name: str) -> bool:
    """Tell whether this Python would find a module."""
    return importlib.util.find_spec(name) is not None


def sourced_ros() -> str | None:
    """Return the name of the ROS 2 distribution that is sourced, or None."""
    distribution = os.environ.get('ROS_DISTRO')
    return distribution if distribution and has_module('rclpy') else None


def check() -> None:
    """
    Check what pip cannot install.

    :raises ProblemError: if something is missing.
    """
    distribution = sourced_ros()
    missing = _missing_for_venv()
    if distribution:
        _check_sourced_ros(distribution)
    else:
        _check_wheels_fit()
        missing += _missing_for_messages()
    if missing:
        raise ProblemError(f'missing on this machine: sudo apt install {" ".join(missing)} '
                           '(or the like of another distribution)')


def _missing_for_venv() -> list[str]:
    has_venv = has_module('venv') and has_module('ensurepip')
    return [] if has_venv else [f'python3.{sys.version_info.minor}-venv']


def _missing_for_messages() -> list[str]:
    missing = [] if shutil.which('gcc') and shutil.which('g++') else ['g++']
    if not Path(sysconfig.get_path('include'), 'Python.h').exists():
        missing.append(f'python3.{sys.version_info.minor}-dev')
    return missing


def _check_wheels_fit() -> None:
    system = f'{platform.system()} {platform.machine()}'
    if system != 'Linux x86_64':
        raise ProblemError(f'there are no ROS 2 wheels for {system}: install ROS 2 Jazzy and '
                           'source its setup.bash, then call again')
    library, version = platform.libc_ver()
    numbers = tuple(int(part) for part in version.split('.') if part.isdigit())
    if library != 'glibc' or numbers < (2, 28):
        raise ProblemError(f'the ROS 2 wheels need glibc 2.28 or newer, got {library} {version}: '
                           'use Debian 10, Ubuntu 20.04 or newer, or source a ROS 2')
    if os.environ.get('AMENT_PREFIX_PATH') and os.environ.get('ROS_DISTRO'):
        raise _wrong_python(os.environ['ROS_DISTRO'])


def _check_sourced_ros(distribution: str) -> None:
    # A real import: rclpy of another Python version is found but does not load.
    command = [sys.executable, '-c', 'import rclpy']
    if subprocess.run(command, check=False, capture_output=True).returncode:
        raise _wrong_python(distribution)
    missing = [package for module, package in ROS_MODULES.items() if not has_module(module)]
    if missing:
        packages = ' '.join(f'ros-{distribution}-{package}' for package in missing)
        raise ProblemError(f'missing beside ROS 2 {distribution}: sudo apt install {packages}, '
                           'or: rosdep install --from-paths . --ignore-src')


def _wrong_python(distribution: str) -> ProblemError:
    return ProblemError(
        f'ROS 2 {distribution} is sourced but {sys.executable} (Python '
        f'{platform.python_version()}) cannot import rclpy: use the Python that ROS was built '
        'for (leave conda or pyenv), or a shell without ROS')
