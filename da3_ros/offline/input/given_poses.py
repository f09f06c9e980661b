# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Poses that somebody gives for a recording: a TUM file, or a COLMAP model."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path, PurePosixPath
import struct

from da3_ros.errors import InputError
from da3_ros.geometry import rigid
from da3_ros.geometry.arrays import Array
from da3_ros.mapping.keyframe import NS_PER_S
import numpy as np

# Text keeps microseconds, and some keep a tenth of a millisecond.
_SAME_NS = 200_000
# Between poses that are further apart nobody knows how the camera moved.
_MAX_GAP_NS = 500_000_000
_MIN_NORM, _MAX_NORM = 0.99, 1.01
_IMAGE = struct.Struct('<I7dI')
_POINT_BYTES = 24


@dataclass(frozen=True, eq=False)
class GivenPoses:
    """
    Where the camera was.

    :param path: of the file.
    :param by_name: (4, 4) world_T_camera by the name of the image.
    :param stamps_ns: increasing.
    :param by_stamp: (4, 4) world_T_camera for every stamp.
    """

    path: Path
    by_name: Mapping[str, Array]
    stamps_ns: tuple[int, ...] = ()
    by_stamp: tuple[Array, ...] = ()

    def pose(self, name: str, stamp_ns: int) -> Array | str:
        """
        Return the pose of an image, or why there is none.

        :param name: of the image; may be empty.
        :param stamp_ns: of the image.
        """
        if not self.stamps_ns:
            found = self.by_name.get(name)
            return f'{self.path.name} does not name the image' if found is None else found
        after = bisect_left(self.stamps_ns, stamp_ns)
        near = [i for i in (after - 1, after) if 0 <= i < len(self.stamps_ns)]
        nearest = min(near, key=lambda i: abs(self.stamps_ns[i] - stamp_ns))
        if abs(self.stamps_ns[nearest] - stamp_ns) <= _SAME_NS:
            return self.by_stamp[nearest]
        if len(near) < 2:
            first, last = self.stamps_ns[0] / NS_PER_S, self.stamps_ns[-1] / NS_PER_S
            return f'{self.path.name} knows poses from {first:.4f} to {last:.4f} s only'
        begin_ns, end_ns = (self.stamps_ns[i] for i in near)
        if end_ns - begin_ns > _MAX_GAP_NS:
            return f'{self.path.name} knows no poses close enough in time'
        before, behind = (self.by_stamp[i] for i in near)
        return rigid.interpolate(
            before, behind, (stamp_ns - begin_ns) / (end_ns - begin_ns))


def read_poses(path: Path) -> GivenPoses:
    """
    Read poses.

    :param path: of a TUM file (stamp x y z qx qy qz qw: where the camera was), or of the folder
        of a COLMAP model, or of its ``images.txt`` or ``images.bin``.
    :raises InputError: if it is none; the text names file and line.
    """
    try:
        if path.is_dir():
            found = [file for pattern in ('images.bin', 'images.txt')
                     for file in sorted(path.rglob(pattern))]
            if not found:
                raise InputError(
                    f'poses: got the folder {path}, expected a COLMAP model with images.txt or '
                    'images.bin')
            path = found[0]
        if path.suffix == '.bin':
            return GivenPoses(path, dict(_of_binary(path, path.read_bytes())))
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f'poses: got {path} ({error}), expected a TUM file or a COLMAP model') from error
    if path.name == 'images.txt':
        return GivenPoses(path, dict(_of_text(path, text)))
    return _of_tum(path, text)


def _of_tum(path: Path, text: str) -> GivenPoses:
    poses: dict[int, Array] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.replace(',', ' ').split()
        if not words or words[0].startswith('#'):
            continue
        where = f'{path}, line {number}'
        if len(words) != 8:
            raise InputError(
                f'poses: got {len(words)} values in {where}, expected 8: '
                'stamp x y z qx qy qz qw')
        values = _numbers(words[1:], where)
        try:
            # As text, so that no digit of the nanoseconds is lost.
            stamp_ns = int(Decimal(words[0]) * NS_PER_S)
        except (InvalidOperation, ValueError, OverflowError) as error:
            raise InputError(
                f'poses: got {words[0]!r} in {where}, expected seconds') from error
        if stamp_ns in poses:
            raise InputError(f'poses: got the stamp {words[0]} again in {where}')
        poses[stamp_ns] = _pose(values[:3], values[3:], where)
    if not poses:
        raise InputError(f'poses: got {path} without a pose, expected a TUM file')
    stamps_ns = tuple(sorted(poses))
    return GivenPoses(path, {}, stamps_ns, tuple(poses[stamp] for stamp in stamps_ns))


def _of_text(path: Path, text: str) -> Iterator[tuple[str, Array]]:
    """Read ``images.txt``: two lines an image, of which the second has its points."""
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1)
             if not line.startswith('#')]
    for number, line in lines[::2]:
        if not line.strip():
            continue
        words = line.split(maxsplit=9)
        where = f'{path}, line {number}'
        if len(words) != 10:
            raise InputError(
                f'poses: got {len(words)} values in {where}, expected 10: IMAGE_ID qw qx qy qz '
                'x y z CAMERA_ID NAME')
        qw, qx, qy, qz, *position = _numbers(words[1:8], where)
        yield (PurePosixPath(words[9].strip()).name,
               rigid.inverse(_pose(position, [qx, qy, qz, qw], where)))


def _of_binary(path: Path, data: bytes) -> Iterator[tuple[str, Array]]:
    try:
        (count,), offset = struct.unpack_from('<Q', data), 8
        for _ in range(count):
            number, qw, qx, qy, qz, x, y, z, _ = _IMAGE.unpack_from(data, offset)
            offset += _IMAGE.size
            end = data.index(b'\0', offset)
            name = data[offset:end].decode()
            (num_points,) = struct.unpack_from('<Q', data, end + 1)
            offset = end + 9 + _POINT_BYTES * num_points
            where = f'{path}, image {number}'
            yield (PurePosixPath(name).name,
                   rigid.inverse(_pose([x, y, z], [qx, qy, qz, qw], where)))
    except (struct.error, ValueError) as error:
        raise InputError(
            f'poses: got {path}, which cannot be read ({error}), expected the images.bin of '
            'COLMAP') from error


def _numbers(words: list[str], where: str) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise InputError(f'poses: got {" ".join(words)!r} in {where}, expected numbers') from error


def _pose(position: list[float], quaternion: list[float], where: str) -> Array:
    norm = float(np.linalg.norm(quaternion))
    if not np.isfinite(position).all() or not _MIN_NORM < norm < _MAX_NORM:
        raise InputError(
            f'poses: got the position {position} and the quaternion {quaternion} in {where}, '
            'expected finite numbers and a quaternion of length 1')
    return rigid.from_rotation_translation(
        rigid.from_quaternion(np.array(quaternion)), np.array(position))
