# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Triangle meshes for the scenes of the training: pieces of furniture and scanned things.

A *piece* is one or more *parts*, each a mesh with a look of its own. A part's vertices lie in the
box [-1, 1]^3; a primitive of shape ``MESH + number of the part`` scales them by its half size, as
the shapes of ``da3_ros.simulation.scene`` are. A mesh is seen from both sides.

``nodes`` are boxes around triangles in depth-first order: 0-2 least corner, 3-5 greatest corner,
6 the node to go on with where a ray misses the box, 7 the number of the first triangle times 8
plus how many (0: an inner node, whose first child follows).
"""

from dataclasses import dataclass
from pathlib import Path

from da3_ros.geometry.arrays import Array
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

MESH = 4
"""Shape of the first part of a bank; one above those of ``da3_ros.simulation.scene.Shape``."""

_LEAF_TRIANGLES = 7


@dataclass(frozen=True)
class Part:
    """
    One mesh of a piece.

    :param number: in the bank.
    :param centre: (3,) of its box [m]; the piece stands on z = 0, around the origin.
    :param half_size: (3,) of its box [m].
    """

    number: int
    centre: tuple[float, float, float]
    half_size: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class MeshBank:
    """
    All meshes, as ``render.cu`` takes them.

    :param nodes: (M, 8) float32, see above.
    :param triangles: (K, 9) float32, three corners each.
    :param roots: (B + 1,) int32, first node of every part, and the end.
    :param furniture: pieces that stand on the ground.
    :param things: pieces that lie about.
    """

    nodes: Floats
    triangles: Floats
    roots: NDArray[np.int32]
    furniture: tuple[tuple[Part, ...], ...] = ()
    things: tuple[tuple[Part, ...], ...] = ()

    @classmethod
    def empty(cls) -> 'MeshBank':
        """Return a bank without meshes."""
        return cls(np.zeros((1, 8), np.float32), np.zeros((1, 9), np.float32),
                   np.zeros(1, np.int32))


@dataclass(frozen=True, eq=False)
class Mesh:
    """
    Triangles in metres.

    :param vertices: (V, 3).
    :param faces: (F, 3) integers.
    """

    vertices: Array
    faces: NDArray[np.int64]


@dataclass(frozen=True)
class Piece:
    """
    Meshes that belong together.

    :param parts: each with a look of its own.
    :param is_furniture: whether it stands on the ground.
    """

    parts: tuple[Mesh, ...]
    is_furniture: bool


def save_pieces(path: Path, pieces: list[Piece]) -> None:
    """
    Write pieces to one small file.

    :param path: of the npz.
    :param pieces: with fewer than 65536 vertices a part.
    """
    parts = [part for piece in pieces for part in piece.parts]
    low = np.array([part.vertices.min(axis=0) for part in parts])
    high = np.array([part.vertices.max(axis=0) for part in parts])
    centre, half = (low + high) / 2, np.maximum((high - low) / 2, 1e-3)
    unit = [(part.vertices - c) / h for part, c, h in zip(parts, centre, half, strict=True)]
    np.savez_compressed(
        path,
        vertices=np.concatenate(unit).astype(np.float16),
        faces=np.concatenate([part.faces for part in parts]).astype(np.uint16),
        vertex_counts=[len(part.vertices) for part in parts],
        face_counts=[len(part.faces) for part in parts],
        centre=centre.astype(np.float32), half_size=half.astype(np.float32),
        piece=np.repeat(np.arange(len(pieces)), [len(piece.parts) for piece in pieces]),
        is_furniture=[piece.is_furniture for piece in pieces],
    )


def load_bank(path: Path) -> MeshBank:
    """
    Read pieces and build the boxes around their triangles.

    :param path: written by ``save_pieces``.
    """
    with np.load(path) as file:
        data = {name: file[name] for name in file.files}
    vertices = np.split(data['vertices'].astype(np.float32), np.cumsum(data['vertex_counts'])[:-1])
    faces = np.split(data['faces'].astype(np.int64), np.cumsum(data['face_counts'])[:-1])
    meshes = [v[f].reshape(-1, 9) for v, f in zip(vertices, faces, strict=True)]
    kinds: tuple[list[tuple[Part, ...]], ...] = ([], [])
    for piece, is_furniture in enumerate(data['is_furniture']):
        kinds[int(is_furniture)].append(tuple(
            Part(int(k), tuple(map(float, data['centre'][k])),
                 tuple(map(float, data['half_size'][k])))
            for k in np.flatnonzero(data['piece'] == piece)))
    return build_bank(meshes, furniture=tuple(kinds[1]), things=tuple(kinds[0]))


def build_bank(
    meshes: list[Floats], *, furniture: tuple[tuple[Part, ...], ...] = (),
    things: tuple[tuple[Part, ...], ...] = (),
) -> MeshBank:
    """
    Build the boxes around triangles.

    :param meshes: (F, 9) corners of every part, in [-1, 1]^3.
    :param furniture: see ``MeshBank``.
    :param things: see ``MeshBank``.
    """
    tree = _Tree()
    roots = [0]
    for mesh in meshes:
        tree.plant(np.asarray(mesh, dtype=np.float32))
        roots.append(len(tree.nodes))
    return MeshBank(
        np.array(tree.nodes, dtype=np.float32), np.concatenate(tree.leaves),
        np.array(roots, dtype=np.int32), furniture, things)


class _Tree:
    """Nodes and triangles of all meshes while they grow."""

    def __init__(self) -> None:
        self.nodes: list[list[float]] = []
        self.leaves: list[Floats] = []
        self._num_triangles = 0

    def plant(self, triangles: Floats) -> None:
        """
        Append a mesh.

        :param triangles: (F, 9).
        """
        corners = triangles.reshape(-1, 3, 3)
        self._grow(triangles, corners.min(axis=1), corners.max(axis=1), corners.mean(axis=1),
                   np.arange(len(corners)))

    def _grow(
        self, triangles: Floats, low: Floats, high: Floats, middle: Floats,
        chosen: NDArray[np.intp],
    ) -> None:
        """Append the node around some of a mesh's triangles, and what is below it."""
        node = [*low[chosen].min(axis=0).tolist(), *high[chosen].max(axis=0).tolist(), 0.0, 0.0]
        self.nodes.append(node)
        if len(chosen) <= _LEAF_TRIANGLES:
            node[7] = 8.0 * self._num_triangles + len(chosen)
            self.leaves.append(triangles[chosen])
            self._num_triangles += len(chosen)
        else:
            places = middle[chosen]
            axis = int(np.argmax(places.max(axis=0) - places.min(axis=0)))
            half = len(chosen) // 2
            order = chosen[np.argpartition(places[:, axis], half)]
            for part in (order[:half], order[half:]):
                self._grow(triangles, low, high, middle, part)
        node[6] = float(len(self.nodes))
