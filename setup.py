# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Builds the package for colcon; dependencies are in package.xml and requirements.txt."""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = 'da3_ros'


def files(pattern: str) -> list[str]:
    """Return the files of this folder that match a pattern."""
    return sorted(str(path) for path in Path().glob(pattern))


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
    extras_require={'test': ['pytest']},
    entry_points={
        'console_scripts': [
            'node = da3_ros.start:main',
            'demo = da3_ros.demo.__main__:main',
            'process = da3_ros.offline.process:main',
            'da3 = da3_ros.offline.command:main',
            'plan = da3_ros.inference.plan:main',
            'fetch_weights = da3_ros.model.fetch_weights:main',
        ],
    },
)
