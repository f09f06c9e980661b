# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The variables of a run inside the environment."""

import os
from pathlib import Path
import tempfile

PROFILE = Path(__file__).resolve().parents[2] / 'config' / 'fastdds_large_images.xml'


def variables(venv: Path, *, with_wheels: bool) -> dict[str, str]:
    """
    Return the environment of a command.

    What the caller has set stays, except for what names another environment.

    :param venv: the virtual environment.
    :param with_wheels: whether ROS 2 lies in it as wheels, as against a sourced one.
    """
    result = dict(os.environ)
    # Set by the wheels of another environment that this call may come from.
    result.pop('_ROS_WHEELS_BOOTSTRAP_COMPLETE', None)
    result.pop('PYTHONHOME', None)
    result['VIRTUAL_ENV'] = str(venv)
    result['PATH'] = os.pathsep.join([str(venv / 'bin'), result.get('PATH', os.defpath)])
    if with_wheels:
        # Wheels do not set the first; the others may name a ROS 2 that is not sourced.
        result['AMENT_PREFIX_PATH'] = str(venv)
        result['RMW_IMPLEMENTATION'] = 'rmw_fastrtps_cpp'
        result.pop('ROS_DISTRO', None)

    # Without it rclpy sends wrong types as garbage instead of raising.
    result.setdefault('ROS_PYTHON_CHECK_FIELDS', '1')
    result.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    # Domains up to 101 keep clear of the ports that Linux hands out.
    result.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 101))
    logs = Path(tempfile.gettempdir(), f'da3_ros-{os.getuid()}', 'log')
    result.setdefault('ROS_LOG_DIR', str(logs))
    result.setdefault('FASTRTPS_DEFAULT_PROFILES_FILE', str(PROFILE))
    return result
