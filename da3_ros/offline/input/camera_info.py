# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The calibration of a camera, of ROS 1, ROS 2 or a file."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Roi:
    """The region of interest of a CameraInfo."""

    x_offset: int = 0
    y_offset: int = 0
    width: int = 0
    height: int = 0


@dataclass(frozen=True)
class CameraInfo:
    """A calibration with the names of ROS 2; ROS 1 wrote K, D and P."""

    width: int
    height: int
    distortion_model: str
    d: tuple[float, ...]
    k: tuple[float, ...]
    p: tuple[float, ...]
    binning_x: int = 0
    binning_y: int = 0
    roi: Roi = Roi()

    @staticmethod
    def of(message: Any) -> 'CameraInfo':
        """
        Read a message.

        :param message: of ROS 1 or ROS 2.
        """
        def numbers(name: str) -> tuple[float, ...]:
            values = getattr(message, name) if hasattr(message, name) else getattr(
                message, name.upper())
            return tuple(float(value) for value in values)

        roi = message.roi
        return CameraInfo(
            message.width, message.height, message.distortion_model, numbers('d'), numbers('k'),
            numbers('p'), message.binning_x, message.binning_y,
            Roi(roi.x_offset, roi.y_offset, roi.width, roi.height))
