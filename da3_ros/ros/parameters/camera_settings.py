# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Settings of the cameras and of how their images are received."""

from dataclasses import dataclass

from da3_ros.mapping.rig_config import RigConfig


@dataclass(frozen=True)
class CameraSettings:
    """
    How images are received.

    :param names: of the cameras; the empty name is that of a camera on the plain topics.
    :param sync_tolerance_s: images of two cameras that are this close are of one instant.
    :param transport: ``raw`` or ``compressed``.
    :param rectify: undistort by the CameraInfo; False for images that are rectified already.
    :param info_wait_s: images are dropped for this long if no CameraInfo came yet.
    :param max_gap_s: a longer gap between two images begins a new session.
    :param max_pixels: larger images are refused.
    :param bits: that images of 16 bits use; 0 finds them.
    """

    names: tuple[str, ...] = RigConfig.cameras
    sync_tolerance_s: float = RigConfig.sync_tolerance_s
    transport: str = 'raw'
    rectify: bool = True
    info_wait_s: float = 1.0
    max_gap_s: float = 10.0
    max_pixels: int = 64_000_000
    bits: int = 0

    @property
    def rig(self) -> RigConfig:
        """
        Return the settings of the mapping layer.

        :raises ValueError: if names are missing or not different.
        """
        return RigConfig(self.names, self.sync_tolerance_s)
