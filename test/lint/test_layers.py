# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The folder names are the architecture: imports point one way, as docs/architecture.md says."""

from pathlib import Path
import re

from imports import imported_modules
from tracked import python_files, ROOT

PACKAGE = ROOT / 'da3_ros'
# Levels below this one run without ROS.
FIRST_ROS_LEVEL = 5
ROS_MODULE = re.compile(r'(rclpy|cv_bridge|sensor_msgs_py|tf2_\w+|launch\w*|diagnostic_updater|'
                        r'ament_index_python|rosidl\w*|\w+_(msgs|srvs|interfaces))(\.|$)')


def read_levels() -> dict[str, int]:
    """Read the table of docs/architecture.md: folder or module of the package -> level."""
    rows = re.findall(r'^\| `da3_ros/(\w+)(?:\.py)?` \| (\d+) \|',
                      (ROOT / 'docs' / 'architecture.md').read_text(), re.MULTILINE)
    return {name: int(level) for name, level in rows}


LEVELS = read_levels()


def part_of(path: Path) -> str:
    """Return the folder of the package, or the module, that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


def level_of(part: str) -> int:
    """Return the level of a part; all may use errors, and errors nothing."""
    return -1 if part == 'errors' else LEVELS[part]


def may_import(part: str, module: str) -> bool:
    """Tell whether a part may import a module of the package."""
    other = module.split('.')[1]
    return other == part or level_of(other) < level_of(part)


def package_files() -> list[Path]:
    """Return the package's files, but not its own __init__.py."""
    return [path for path in python_files('da3_ros') if path != PACKAGE / '__init__.py']


def test_every_part_has_a_level():
    parts = {part_of(path) for path in package_files()} - {'errors'}
    assert parts == set(LEVELS), 'the table of docs/architecture.md and da3_ros/ differ'


def test_imports_point_down():
    wrong = [(str(path.relative_to(ROOT)), module)
             for path in package_files() for module in imported_modules(path)
             if module.startswith('da3_ros.') and not may_import(part_of(path), module)]
    assert not wrong


def test_ros_stays_above_its_border():
    wrong = [(str(path.relative_to(ROOT)), module)
             for path in package_files() if level_of(part_of(path)) < FIRST_ROS_LEVEL
             for module in imported_modules(path) if ROS_MODULE.match(module)]
    assert not wrong


def test_geometry_needs_no_torch():
    for path in python_files('da3_ros/geometry'):
        assert 'torch' not in {module.split('.')[0] for module in imported_modules(path)}
