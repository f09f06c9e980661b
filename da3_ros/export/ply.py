# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Point clouds as PLY, which CloudCompare, MeshLab, Open3D and Blender read."""

from typing import BinaryIO

from da3_ros.mapping.points import WeightedPoints
import numpy as np

_VERTEX = np.dtype([
    ('x', '<f4'), ('y', '<f4'), ('z', '<f4'), ('red', 'u1'), ('green', 'u1'), ('blue', 'u1'),
    ('confidence', '<f4'),
])
_TYPES = {'<f4': 'float', '|u1': 'uchar'}


def write_ply(file: BinaryIO, points: WeightedPoints, *, comment: str) -> None:
    """
    Write a binary cloud.

    :param file: to write to.
    :param points: with colours and confidence.
    :param comment: one line for the header.
    """
    properties = [f'property {_TYPES[_VERTEX[name].str]} {name}' for name in _VERTEX.names or ()]
    header = ['ply', 'format binary_little_endian 1.0', f'comment {comment}',
              f'element vertex {len(points)}', *properties, 'end_header']
    file.write(('\n'.join(header) + '\n').encode('ascii', 'replace'))
    vertices = np.empty(len(points), _VERTEX)
    for axis, name in enumerate('xyz'):
        vertices[name] = points.positions[:, axis]
    for channel, name in enumerate(('red', 'green', 'blue')):
        vertices[name] = np.rint(points.colours[:, channel])
    vertices['confidence'] = points.confidence
    file.write(vertices.tobytes())
