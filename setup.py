# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Builds the package for colcon; dependencies are in package.xml and requirements.txt."""

from pathlib import Path
import sys

from setuptools import find_packages, setup

PACKAGE = 'da3_ros'


def files(pattern: str) -> list[str]:
    """Return the files of this folder that match a pattern."""
    return sorted(str(path) for path in Path().glob(pattern))


def requirements(path: str, *, without: tuple[str, ...] = ()) -> list[str]:
    """
    Return the requirements that a file lists.

    :param path: below the folder of this file, which colcon may have linked.
    :param without: names that are left out.
    """
    lines = (Path(__file__).resolve().parent / path).read_text().splitlines()
    found = (line.partition('#')[0].strip() for line in lines)
    return [each for each in found if each and not each.startswith(without)]


# What is installed by pip where there is no ROS 2, and what only some want.
EXTRAS = {
    'offline': requirements('requirements.txt') + requirements(
        'tools/env/python.txt', without=('catkin_pkg', 'setuptools')),
    'fleet': ['ray>=2.40,<3', 'fsspec'],
    'glb': ['trimesh>=4,<6'],
    'laz': ['laspy[lazrs]>=2.5,<3'],
    'rerun': ['rerun-sdk>=0.20'],
}

COMMANDS = {
    'node': 'da3_ros.start:main',
    'demo': 'da3_ros.demo.__main__:main',
    'process': 'da3_ros.offline.process:main',
    'da3': 'da3_ros.offline.command:main',
    'plan': 'da3_ros.inference.plan:main',
    'fetch_weights': 'da3_ros.model.fetch_weights:main',
}
# "ros2 run da3_ros node" finds them in a folder of their own. pip puts them beside all others,
# where "node" is somebody else's.
IS_WHEEL = not {'bdist_wheel', 'dist_info', 'editable_wheel'}.isdisjoint(sys.argv)

setup(
    name=PACKAGE,
    version='0.1.0',
    packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*']),
    package_data={PACKAGE: ['model/weights/*']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        (f'share/{PACKAGE}', ['package.xml']),
        (f'share/{PACKAGE}/launch', files('launch/*.launch.py')),
        (f'share/{PACKAGE}/config', files('config/*')),
    ],
    install_requires=['setuptools'],
    zip_safe=False,
    author='The da3_ros authors',
    maintainer='The da3_ros authors',
    maintainer_email='da3-ros-maintainers@users.noreply.github.com',
    description='Depth Anything 3 for ROS 2, with joint inference over windows of keyframes',
    license='Apache-2.0',
    extras_require={'test': ['pytest'], **EXTRAS},
    entry_points={'console_scripts': [
        f'{name} = {main}' for name, main in COMMANDS.items() if name == 'da3' or not IS_WHEEL]},
)
