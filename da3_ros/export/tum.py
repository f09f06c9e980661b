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

"""Trajectories in the text format of the TUM RGB-D benchmark, which evo reads."""

from typing import BinaryIO

from da3_ros.export.session import Session
from da3_ros.geometry import rigid

_NS_PER_S = 10**9


def write_trajectory(file: BinaryIO, session: Session) -> None:
    """
    Write a line ``stamp tx ty tz qx qy qz qw`` for each pose; the stamp is exact.

    :param file: to write to.
    :param session: with poses.
    """
    file.write(f'# camera in {session.frame}: stamp tx ty tz qx qy qz qw\n'.encode())
    for pose in session.poses:
        frame_T_camera = session.frame_S_camera(pose).rigid_part()
        seconds, nanoseconds = divmod(pose.stamp_ns, _NS_PER_S)
        numbers = [*frame_T_camera[:3, 3], *rigid.to_quaternion(frame_T_camera[:3, :3])]
        line = ' '.join([f'{seconds}.{nanoseconds:09d}', *(f'{n:.9f}' for n in numbers)])
        file.write(f'{line}\n'.encode())
