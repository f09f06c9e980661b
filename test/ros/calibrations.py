# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Calibrations of real cameras, from calibrations.yaml."""

from pathlib import Path

from da3_ros.ros.input.camera_model import CameraModel, read_camera_model
from sensor_msgs.msg import CameraInfo
import yaml

ROWS = yaml.safe_load(Path(__file__).with_name('calibrations.yaml').read_text())
NAMES = tuple(row[0] for row in ROWS)


def camera_info(name: str) -> CameraInfo:
    """Make the message that the camera's driver sends."""
    _, _, model, width, height, (fx, skew, cx, fy, cy), d = ROWS[NAMES.index(name)]
    return CameraInfo(
        width=width, height=height, distortion_model=model, d=[float(value) for value in d],
        k=[float(value) for value in (fx, skew, cx, 0, fy, cy, 0, 0, 1)])


def camera_model(name: str) -> CameraModel:
    """Read it."""
    info = camera_info(name)
    return read_camera_model(info, width=info.width, height=info.height, is_rectified=False)
