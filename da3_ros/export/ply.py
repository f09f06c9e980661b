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
