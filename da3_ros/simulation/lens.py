# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The lens of a simulated camera: an undistorted pinhole."""

from dataclasses import dataclass
import math

from da3_ros.geometry.arrays import Array
import numpy as np


@dataclass(frozen=True)
class Lens:
    """
    A pinhole with square pixels and its principal point in the image's centre.

    :param width: [px].
    :param height: [px].
    :param fov_x_deg: horizontal field of view [deg].
    :raises ValueError: if a size is not positive or the angle outside of (0, 180).
    """

    width: int
    height: int
    fov_x_deg: float

    def __post_init__(self) -> None:
        """Check the values."""
        if self.width < 1 or self.height < 1:
            raise ValueError(f'size: got {self.width}x{self.height}, expected positive')
        if not 0.0 < self.fov_x_deg < 180.0:
            raise ValueError(f'fov_x_deg: got {self.fov_x_deg}, expected within (0, 180)')

    @property
    def intrinsics(self) -> Array:
        """K, (3, 3) [px], pixel centres at integers."""
        focal = 0.5 * self.width / math.tan(0.5 * math.radians(self.fov_x_deg))
        return np.array([
            [focal, 0.0, 0.5 * (self.width - 1)],
            [0.0, focal, 0.5 * (self.height - 1)],
            [0.0, 0.0, 1.0],
        ])
