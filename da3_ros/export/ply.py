# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Point clouds as PLY, which CloudCompare, MeshLab, Open3D and Blender read."""

from typing import BinaryIO

from da3_ros.mapping.points import WeightedPoints
import numpy as np
from numpy.typing import NDArray

_POSITION = [('x', '<f4'), ('y', '<f4'), ('z', '<f4')]
_NORMAL = [('nx', '<f4'), ('ny', '<f4'), ('nz', '<f4')]
_COLOUR = [('red', 'u1'), ('green', 'u1'), ('blue', 'u1')]
_TYPES = {'<f4': 'float', '|u1': 'uchar'}


def write_ply(file: BinaryIO, points: WeightedPoints, *, comment: str) -> None:
    """
    Write a binary cloud.

    :param file: to write to.
    :param points: with colours and confidence.
    :param comment: one line for the header.
    """
    vertices = np.zeros(
        len(points), np.dtype([*_POSITION, *_COLOUR, ('confidence', '<f4')]))
    vertices['confidence'] = points.confidence
    _write(file, vertices, points.positions, np.rint(points.colours), comment)


def write_start(
    file: BinaryIO, positions: NDArray[np.float64], colours: NDArray[np.uint8]
) -> None:
    """
    Write a binary cloud as programs for Gaussian splatting keep it, with normals that are zero.

    :param file: to write to.
    :param positions: (N, 3).
    :param colours: (N, 3) uint8.
    """
    vertices = np.zeros(len(positions), np.dtype([*_POSITION, *_NORMAL, *_COLOUR]))
    _write(file, vertices, positions, colours, 'to start from')


def _write(
    file: BinaryIO, vertices: NDArray[np.void], positions: NDArray[np.floating],
    colours: NDArray[np.generic], comment: str,
) -> None:
    for axis, name in enumerate('xyz'):
        vertices[name] = positions[:, axis]
    for channel, name in enumerate(('red', 'green', 'blue')):
        vertices[name] = colours[:, channel]
    properties = [f'property {_TYPES[vertices.dtype[name].str]} {name}'
                  for name in vertices.dtype.names or ()]
    header = ['ply', 'format binary_little_endian 1.0', f'comment {comment}',
              f'element vertex {len(vertices)}', *properties, 'end_header']
    file.write(('\n'.join(header) + '\n').encode('ascii', 'replace'))
    file.write(vertices.tobytes())
