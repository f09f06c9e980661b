# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Make the bank of meshes from public models.

    python -m training.prepare_meshes --furniture BlendSwap-CC-0.sh3f --objects FOLDER --out m.npz

``BlendSwap-CC-0.sh3f`` is in Debian's package ``sweethome3d-furniture`` (1.8-1, CC0); the folder
holds scanned objects as ``NAME.npz`` with ``vertices`` [m] and ``faces``. Needs the package
``fast-simplification``.
"""

import argparse
from collections.abc import Iterator
import io
import logging
from pathlib import Path
import zipfile

import numpy as np

from training.mesh_bank import Mesh, Piece, save_pieces

_PIECE_FACES = 500
_OBJECT_FACES = 300
_MAX_PARTS = 6
_STANDING_M = 0.35
_SKIPPED = ('Exterior', 'Vehicles', 'Staircases')

_logger = logging.getLogger('training')


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description='Make the bank of meshes.')
    parser.add_argument('--furniture', type=Path, required=True)
    parser.add_argument('--objects', type=Path, required=True)
    parser.add_argument('--out', type=Path, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    pieces = [*read_catalogue(options.furniture), *_read_objects(options.objects)]
    save_pieces(options.out, pieces)
    _logger.info(
        '%d pieces, %d of them furniture; %d parts, %d triangles; %.1f MB', len(pieces),
        sum(piece.is_furniture for piece in pieces), sum(len(piece.parts) for piece in pieces),
        sum(len(part.faces) for piece in pieces for part in piece.parts),
        options.out.stat().st_size / 1e6)


def read_catalogue(path: Path) -> Iterator[Piece]:
    """
    Read the furniture of a catalogue of Sweet Home 3D.

    :param path: of the sh3f file.
    """
    with zipfile.ZipFile(path) as archive:
        entries = _entries(archive.read('PluginFurnitureCatalog.properties').decode('latin-1'))
        for entry in entries:
            if 'modelRotation' in entry or entry['category'] in _SKIPPED:
                continue
            size = [float(entry[name]) / 100.0 for name in ('width', 'depth', 'height')]
            text = archive.read(entry['model'].lstrip('/')).decode('latin-1')
            parts = _in_metres(_read_obj(text), np.array(size))
            if parts:
                yield Piece(tuple(parts), size[2] >= _STANDING_M)


def _entries(text: str) -> list[dict[str, str]]:
    entries: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        key, equals, value = line.partition('=')
        name, mark, number = key.partition('#')
        if equals and mark and number.isdigit():
            entries.setdefault(number, {})[name] = value.strip()
    return [entry for entry in entries.values() if 'model' in entry]


def _read_obj(text: str) -> list[Mesh]:
    """Read a Wavefront file; a mesh for every material, the smallest ones joined."""
    vertices: list[list[float]] = []
    groups: dict[str, list[tuple[int, int, int]]] = {}
    faces = groups.setdefault('', [])
    for line in io.StringIO(text):
        words = line.split()
        if not words:
            continue
        if words[0] == 'v':
            vertices.append([float(x) for x in words[1:4]])
        elif words[0] == 'usemtl':
            faces = groups.setdefault(words[1], [])
        elif words[0] == 'f':
            corners = [int(word.split('/')[0]) for word in words[1:]]
            corners = [c - 1 if c > 0 else len(vertices) + c for c in corners]
            faces += [(corners[0], corners[k], corners[k + 1])
                      for k in range(1, len(corners) - 1)]
    sets = sorted((np.array(group) for group in groups.values() if group), key=len, reverse=True)
    if len(sets) > _MAX_PARTS:
        sets = [*sets[:_MAX_PARTS - 1], np.concatenate(sets[_MAX_PARTS - 1:])]
    points = np.array(vertices, dtype=np.float64)
    return [Mesh(points, group.astype(np.int64)) for group in sets]


def _in_metres(parts: list[Mesh], size: np.ndarray) -> list[Mesh]:
    """Scale to a size (width, depth, height) [m], put z up, simplify."""
    used = np.concatenate([part.vertices[part.faces.ravel()] for part in parts])
    low, high = used.min(axis=0), used.max(axis=0)
    middle = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
    factor = size[[0, 2, 1]] / np.maximum(high - low, 1e-9)
    total = sum(len(part.faces) for part in parts)
    result = []
    for part in parts:
        placed = (part.vertices - middle) * factor
        turned = np.stack([placed[:, 0], -placed[:, 2], placed[:, 1]], axis=1)
        target = max(16, round(_PIECE_FACES * len(part.faces) / total))
        result.append(_simplify(turned, part.faces, target))
    return [part for part in result if len(part.faces)]


def _read_objects(folder: Path) -> Iterator[Piece]:
    for path in sorted(folder.glob('*.npz')):
        with np.load(path) as file:
            vertices, faces = file['vertices'].astype(np.float64), file['faces'].astype(np.int64)
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        vertices -= [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]]
        yield Piece((_simplify(vertices, faces, _OBJECT_FACES),), is_furniture=False)


def _simplify(vertices: np.ndarray, faces: np.ndarray, target: int) -> Mesh:
    """Leave about so many faces, and no vertex that none uses."""
    import fast_simplification

    used, inverse = np.unique(faces, return_inverse=True)
    points, corners = vertices[used], inverse.reshape(-1, 3)
    # Corners that are written apart hold faces apart, which the simplification would tear.
    points, index = np.unique(points.round(5), axis=0, return_inverse=True)
    corners = index.reshape(-1)[corners]
    if len(corners) > target:
        points, corners = fast_simplification.simplify(
            points.astype(np.float32), corners.astype(np.int32), target_count=target)
    corners = corners.astype(np.int64)
    degenerate = (corners == np.roll(corners, 1, axis=1)).any(axis=1)
    used, inverse = np.unique(corners[~degenerate], return_inverse=True)
    return Mesh(points[used].astype(np.float64), inverse.reshape(-1, 3))


if __name__ == '__main__':
    main()
