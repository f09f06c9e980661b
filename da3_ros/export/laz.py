# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Point clouds as LAZ, which programs for surveys read (LAS 1.4, point format 7)."""

from datetime import date
from typing import BinaryIO

from da3_ros.export.optional import library_of
from da3_ros.mapping.points import WeightedPoints
import numpy as np

_POINT_FORMAT = 7
_VERSION = '1.4'
# Coordinates are whole numbers of this, in the unit of the cloud.
_STEP = 1e-4
_MAX_STEPS = 2**31 - 1
# Colours have 16 bits.
_COLOUR_SCALE = 257.0


def write_laz(file: BinaryIO, points: WeightedPoints, *, day: date) -> None:
    """
    Write a cloud.

    :param file: to write to.
    :param points: with colours and confidence.
    :param day: that the header tells: of the recording, not of the writing.
    :raises SaveError: if laspy is not installed.
    """
    laspy = library_of('laz')
    header = laspy.LasHeader(version=_VERSION, point_format=_POINT_FORMAT)
    positions = points.positions.astype(np.float64)
    if len(points):
        header.offsets = np.floor(positions.min(axis=0))
        extent = float((positions.max(axis=0) - header.offsets).max())
        header.scales = np.full(3, max(_STEP, extent / _MAX_STEPS))
    header.add_extra_dim(laspy.ExtraBytesParams('confidence', np.float32))
    header.creation_date = day
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = positions.T
    for channel, name in enumerate(('red', 'green', 'blue')):
        setattr(cloud, name, np.rint(_COLOUR_SCALE * points.colours[:, channel]))
    cloud.confidence = points.confidence
    # It closes what it writes to, but what is written here is closed by who opened it.
    cloud.write(_Kept(file), do_compress=True)


class _Kept:
    """A file that stays open."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.write, self.seek, self.tell = file.write, file.seek, file.tell
        self.flush = file.flush

    def close(self) -> None:
        self._file.flush()
