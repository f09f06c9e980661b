# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Depth, confidence and cameras as numpy arrays."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import BinaryIO
import zipfile

from da3_ros.export.atomic_folder import AtomicFolder, numbered
from da3_ros.mapping.session_record import RecordedKeyframe, Session
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]


def write_arrays(folder: AtomicFolder, session: Session) -> None:
    """
    Write ``keyframes.npz``, with the keyframes along the first axis of every array.

    Cameras whose images differ in name or size get a file each: ``keyframes_2.npz`` and so on.

    :param folder: to write to.
    :param session: with keyframes.
    """
    groups = defaultdict(list)
    for keyframe in session.keyframes:
        groups[keyframe.frame_id, keyframe.depth.shape].append(keyframe)
    for number, keyframes in enumerate(groups.values(), 1):
        with folder.open(numbered('keyframes.npz', number)) as file:
            _write_group(file, session, keyframes)


def _write_group(
    file: BinaryIO, session: Session, keyframes: Sequence[RecordedKeyframe]
) -> None:
    poses = [session.frame_S_camera(keyframe.id) for keyframe in keyframes]
    first = keyframes[0]
    # Stored as np.savez does it, but one keyframe after the other: never all in memory twice.
    with zipfile.ZipFile(file, 'w') as archive:
        _write(archive, 'stamp_ns', [np.int64(k.stamp_ns) for k in keyframes].__getitem__,
               len(keyframes))
        _write(archive, 'frame_T_camera', lambda i: poses[i].rigid_part(), len(keyframes))
        _write(archive, 'K', lambda i: keyframes[i].intrinsics, len(keyframes))
        _write(archive, 'segment', lambda i: np.int64(keyframes[i].segment), len(keyframes))
        _write(archive, 'is_metric', lambda i: np.bool_(keyframes[i].is_metric), len(keyframes))
        _write(archive, 'frame_id', lambda _: np.str_(first.frame_id), 1)
        _write(archive, 'frame', lambda _: np.str_(session.frame), 1)
        _write(archive, 'depth', lambda i: (
            keyframes[i].depth * np.float32(poses[i].scale)).astype(np.float16), len(keyframes))
        if first.confidence is not None:
            _write(archive, 'confidence', lambda i: np.asarray(keyframes[i].confidence),
                   len(keyframes))


def _write(
    archive: zipfile.ZipFile, name: str, item: Callable[[int], Array | np.generic], count: int
) -> None:
    """Write an array item by item."""
    first = np.asarray(item(0))
    with archive.open(f'{name}.npy', 'w', force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, {
            'descr': np.lib.format.dtype_to_descr(first.dtype), 'fortran_order': False,
            'shape': (count, *first.shape)})
        for index in range(count):
            file.write(np.ascontiguousarray(item(index)).tobytes())
