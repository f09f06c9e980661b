# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""package.xml is valid and says what the code imports."""

import re
import runpy
import sys
from unittest import mock
import xml.etree.ElementTree as ElementTree

from catkin_pkg.package import parse_package
from imports import imported_modules
from packaging.requirements import Requirement
from tracked import python_files, ROOT, tracked_files

MANIFEST = parse_package(ROOT / 'package.xml')
# Modules whose package or rosdep key has another name.
KEYS = {
    'cv2': 'python3-opencv',
    'matplotlib': 'python3-matplotlib',
    'numpy': 'python3-numpy',
    'scipy': 'python3-scipy',
    'tf2_ros': 'tf2_ros_py',
    'yaml': 'python3-yaml',
}
# Modules of pip's packages that have another name.
MODULES = {'rerun-sdk': 'rerun'}
# rosdep keys that are no ROS packages, checked against ros/rosdistro for Ubuntu 24.04.
ROSDEP_KEYS = {
    'python3-hypothesis', 'python3-matplotlib', 'python3-numpy', 'python3-opencv',
    'python3-pytest', 'python3-pytest-timeout', 'python3-scipy', 'python3-yaml',
}


def run_time_names() -> set[str]:
    """Return the packages that the manifest declares for run time."""
    return {dependency.name for dependency in MANIFEST.exec_depends}


def imported_names() -> set[str]:
    """Return the third-party modules that the package and its launch files import."""
    modules = {module.split('.')[0] for path in python_files('da3_ros', 'launch')
               for module in imported_modules(path)}
    return modules - set(sys.stdlib_module_names) - {'da3_ros'}


def extras() -> dict[str, list[Requirement]]:
    """Return what setup.py lets pip install besides."""
    with mock.patch('setuptools.setup') as setup:
        runpy.run_path(str(ROOT / 'setup.py'))
    return {name: [Requirement(line) for line in lines]
            for name, lines in setup.call_args.kwargs['extras_require'].items()}


def optional_names() -> set[str]:
    """Return the modules that are imported only where an extra is installed."""
    names = {each.name for name, some in extras().items() if name not in ('test', 'offline')
             for each in some}
    return {MODULES.get(name, name) for name in names}


def test_manifest_is_valid():
    warnings: list[str] = []
    MANIFEST.validate(warnings=warnings)
    assert not warnings
    assert MANIFEST.package_format == 3
    assert MANIFEST.get_build_type() == 'ament_python'
    assert MANIFEST.licenses == ['Apache-2.0']


def test_versions_agree():
    version = re.search(r"version='([\d.]+)'", (ROOT / 'setup.py').read_text())
    assert version[1] == MANIFEST.version


def test_every_import_is_declared():
    from_pip = re.findall(r'^(\w+)', (ROOT / 'requirements.txt').read_text(), re.MULTILINE)
    # Triton comes with torch, and only where there is a GPU for it.
    declared = run_time_names() | set(from_pip) | optional_names() | {'triton'}
    missing = {name for name in imported_names() if KEYS.get(name, name) not in declared}
    assert not missing


def test_every_dependency_is_used():
    used = {KEYS.get(name, name) for name in imported_names() - optional_names()}
    assert run_time_names() - used == {'ros2launch'}  # the command that people start


def test_pip_brings_what_apt_would():
    """With the extra that needs no ROS 2 comes every library that the package imports."""
    from_apt = {'opencv-python-headless': 'python3-opencv', 'PyYAML': 'python3-yaml'}
    names = {from_apt.get(each.name, f'python3-{each.name}') for each in extras()['offline']}
    assert {name for name in run_time_names() if name.startswith('python3-')} <= names
    assert {each.name for each in extras()['offline']} >= set(
        re.findall(r'^(\w+)', (ROOT / 'requirements.txt').read_text(), re.MULTILINE))


def test_rosdep_keys_exist():
    names = {dependency.name for dependency in MANIFEST.exec_depends + MANIFEST.test_depends}
    assert {name for name in names if name.startswith('python')} <= ROSDEP_KEYS


def test_xml_is_well_formed():
    for path in tracked_files():
        if path.suffix == '.xml':
            ElementTree.parse(path)
