# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Readers of the saved files, written from the formats' own documents and not from ours."""

from collections import namedtuple
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation
import yaml

PLY_TYPES = {'float': '<f4', 'uchar': 'u1'}

Camera = namedtuple('Camera', 'model width height fx fy cx cy')
Image = namedtuple('Image', 'camera_T_world camera_id name pixels point_ids')
Grid = namedtuple('Grid', 'cells cell_m origin')
Point = namedtuple('Point', 'position colour error track')


def read_floor_map(path):
    """Read a map of map_server in its mode trinary, as its loader does."""
    page = yaml.safe_load(path.read_text())
    assert (page['mode'], page['negate'], page['origin'][2]) == ('trinary', 0, 0.0)
    magic, size, white, pixels = (path.parent / page['image']).read_bytes().split(b'\n', 3)
    assert (magic, white) == (b'P5', b'255')
    columns, rows = map(int, size.split())
    shade = np.frombuffer(pixels, np.uint8).reshape(rows, columns)[::-1] / 255.0
    occupied = 1.0 - shade
    cells = np.full((rows, columns), -1)
    cells[occupied < page['free_thresh']] = 0
    cells[occupied > page['occupied_thresh']] = 100
    return Grid(cells, page['resolution'], np.array(page['origin'][:2]))


def read_ply(path):
    """Read the vertices of a binary little-endian PLY file."""
    header, data = path.read_bytes().split(b'end_header\n', 1)
    lines = header.decode('ascii').splitlines()
    assert lines[:2] == ['ply', 'format binary_little_endian 1.0']
    count = next(int(line.split()[2]) for line in lines if line.startswith('element vertex'))
    fields = [line.split()[1:] for line in lines if line.startswith('property')]
    vertices = np.frombuffer(data, [(name, PLY_TYPES[kind]) for kind, name in fields])
    assert len(vertices) == count
    return vertices, [line for line in lines if line.startswith('comment')]


def read_tum(path):
    """Read a trajectory: stamps in integer nanoseconds, and poses."""
    stamps, poses = [], []
    for line in path.read_text().splitlines():
        if line.startswith('#'):
            continue
        stamp, *numbers = line.split(' ')
        seconds, digits = stamp.split('.')
        assert len(digits) == 9
        values = np.array(numbers, float)
        pose = np.eye(4)
        pose[:3, 3] = values[:3]
        pose[:3, :3] = Rotation.from_quat(values[3:]).as_matrix()
        stamps.append(int(seconds) * 10**9 + int(digits))
        poses.append(pose)
    return stamps, poses


class ColmapModel:
    """A sparse model in text form."""

    def __init__(self, folder: Path) -> None:
        """Read the three files."""
        self.cameras = {}
        for line in _lines(folder / 'cameras.txt'):
            id_, model, width, height, *parameters = line.split()
            self.cameras[int(id_)] = Camera(
                model, int(width), int(height), *map(float, parameters))
        self.images = {}
        lines = _lines(folder / 'images.txt')
        for first, second in zip(lines[::2], lines[1::2], strict=True):
            id_, *numbers = first.split()[:8]
            w, x, y, z, *translation = map(float, numbers)
            camera_T_world = np.eye(4)
            camera_T_world[:3, :3] = Rotation.from_quat([x, y, z, w]).as_matrix()
            camera_T_world[:3, 3] = translation
            camera_id, name = first.split()[8:]
            observations = np.array(second.split(), float).reshape(-1, 3)
            self.images[int(id_)] = Image(
                camera_T_world, int(camera_id), name, observations[:, :2],
                observations[:, 2].astype(int))
        self.points = {}
        for line in _lines(folder / 'points3D.txt'):
            id_, *rest = line.split()
            track = np.array(rest[7:], int).reshape(-1, 2)
            self.points[int(id_)] = Point(
                np.array(rest[:3], float), np.array(rest[3:6], int), float(rest[6]), track)

    def project(self, image, positions):
        """Project points of the world into an image, by the model's own convention."""
        camera = self.cameras[image.camera_id]
        assert camera.model == 'PINHOLE'
        x, y, z = (positions @ image.camera_T_world[:3, :3].T + image.camera_T_world[:3, 3]).T
        return np.stack([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy], axis=1), z


def _lines(path):
    """Read the lines that are no comments; that of an image without points is empty."""
    return [line for line in path.read_text().splitlines() if not line.startswith('#')]
