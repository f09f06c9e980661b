# Copyright 2026 The da3_ros authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

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
