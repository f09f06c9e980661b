# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Settings of a rig of cameras, checked where they are made."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RigConfig:
    """
    Cameras that are seen together.

    :param cameras: their names; a camera alone may have the empty one.
    :param sync_tolerance_s: images of two cameras that are this close belong to one instant.
    """

    cameras: tuple[str, ...] = ('',)
    sync_tolerance_s: float = 0.05

    def __post_init__(self) -> None:
        """
        Check the values.

        :raises ValueError: if one is out of its range.
        """
        is_distinct = len(set(self.cameras)) == len(self.cameras) > 0
        if not is_distinct or not (self.cameras == ('',) or all(self.cameras)):
            raise ValueError(
                f'camera.names: got {self.cameras}, expected different names, or one empty name')
        if not self.sync_tolerance_s >= 0.0:
            raise ValueError(
                f'camera.sync_tolerance_s: got {self.sync_tolerance_s}, expected at least 0')
