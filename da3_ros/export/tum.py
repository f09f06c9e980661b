# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Trajectories in the text format of the TUM RGB-D benchmark, which evo reads."""

from collections import defaultdict
from collections.abc import Sequence
from typing import BinaryIO

from da3_ros.export.atomic_folder import AtomicFolder, numbered
from da3_ros.geometry import rigid
from da3_ros.mapping.keyframe import NS_PER_S
from da3_ros.mapping.session_record import RecordedPose, Session


def write_trajectories(folder: AtomicFolder, session: Session) -> None:
    """
    Write ``trajectory.txt``: a line ``stamp tx ty tz qx qy qz qw`` per pose; stamps are exact.

    Of several cameras each has a file: ``trajectory_2.txt`` and so on.

    :param folder: to write to.
    :param session: with poses.
    """
    cameras = defaultdict(list)
    for pose in session.poses:
        cameras[pose.frame_id].append(pose)
    for number, (frame_id, poses) in enumerate(cameras.items(), 1):
        with folder.open(numbered('trajectory.txt', number)) as file:
            file.write(
                f'# {frame_id} in {session.frame}: stamp tx ty tz qx qy qz qw\n'.encode())
            _write(file, session, poses)


def _write(file: BinaryIO, session: Session, poses: Sequence[RecordedPose]) -> None:
    for pose in poses:
        frame_T_camera = session.frame_S_camera(pose.id).rigid_part()
        seconds, nanoseconds = divmod(pose.stamp_ns, NS_PER_S)
        numbers = [*frame_T_camera[:3, 3], *rigid.to_quaternion(frame_T_camera[:3, :3])]
        line = ' '.join([f'{seconds}.{nanoseconds:09d}', *(f'{n:.9f}' for n in numbers)])
        file.write(f'{line}\n'.encode())
