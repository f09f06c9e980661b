# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Points that several images see, each where it was measured: what a bundle adjustment works on.

Depth and poses say which images see the same, and where to look; what is found there is matched
by its look alone, so that the observations know more than the poses do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from da3_ros.export.features import Features
from da3_ros.geometry.arrays import Array
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

Indices = NDArray[np.intp]

# Images that are compared with each, of those that look at the nearest places.
_NUM_NEIGHBOURS = 12
_NUM_CANDIDATES = 40
_NUM_PROBES = 64
_MIN_SHARED = 0.1
# How far from where depth and pose say a spot may be found, of the width of the image.
_MAX_OFFSET = 0.03
# And how far a point may then lie from where it was seen.
_MAX_ERROR = 0.01
_MAX_DISTANCE = 0.1
# Descriptors: how much nearer the best one is than the next (Lowe), and how near at least.
_MAX_RATIO = 0.8
_MAX_DIFFERENCE = 300.0
# How much less a depth is worth than a direction.
_DEPTH_WEIGHT = 1e-3


@dataclass(frozen=True, eq=False)
class Tracks:
    """
    Points, and who sees each of them where; observations are sorted by image.

    :param positions: (P, 3).
    :param colours: (P, 3) uint8.
    :param errors: (P,) mean distance to where they were seen [px].
    :param images: (O,) which image an observation is of.
    :param pixels: (O, 2) where it was measured, pixel centres at integers.
    :param points: (O,) which point it is of.
    """

    positions: Array
    colours: NDArray[np.uint8]
    errors: Array
    images: Indices
    pixels: Array
    points: Indices


def find_tracks(
    features: Sequence[Features], *, check: Callable[[], object] = lambda: None
) -> Tracks:
    """
    Match the spots of images.

    :param features: of the images.
    :param check: called often; the matching is given up when it raises.
    """
    starts = np.cumsum([0, *map(len, features)])
    pairs = [np.zeros((0, 2), np.intp)]
    for i, j in _neighbours(features):
        check()
        pairs.append(_matches(features[i], features[j]) + [starts[i], starts[j]])
    spots = _Spots.of(features)
    count = int(starts[-1])
    first, second = np.concatenate(pairs).T
    links = coo_array((np.ones(len(first)), (first, second)), shape=(count, count))
    labels = connected_components(links, directed=False)[1]
    kept = _once_per_image(np.arange(count), labels, spots)
    kept = kept[_is_several(labels[kept])]
    # What does not fit is left out, and what is left is placed again.
    for _ in range(2):
        _, errors = spots.placed(kept, labels[kept])
        kept = kept[errors < _MAX_ERROR * spots.widths[kept]]
        kept = kept[_is_several(labels[kept])]
    return _tracks(kept, labels, spots)


def _tracks(kept: Indices, labels: Indices, spots: '_Spots') -> Tracks:
    positions, errors = spots.placed(kept, labels[kept])
    _, first, points = np.unique(labels[kept], return_index=True, return_inverse=True)
    counts = np.bincount(points, minlength=len(first))
    return Tracks(
        positions[first], spots.colours[kept[first]],
        np.bincount(points, errors, minlength=len(first)) / np.maximum(counts, 1),
        spots.images[kept], spots.pixels[kept], points)


def _neighbours(features: Sequence[Features]) -> list[tuple[int, int]]:
    """Return pairs of images of which one sees a good part of what the other does."""
    seen = [i for i, each in enumerate(features) if len(each)]
    if len(seen) < 2:
        return []
    centres = np.array([np.median(features[i].positions, axis=0) for i in seen])
    num = min(_NUM_CANDIDATES, len(seen))
    _, near = cKDTree(centres).query(centres, k=num)
    pairs = set()
    for row, i in enumerate(seen):
        probes = features[i].positions[::max(1, len(features[i]) // _NUM_PROBES)]
        shares = {seen[k]: _shared(features[seen[k]], probes)
                  for k in np.atleast_1d(near[row]) if seen[k] != i}
        best = sorted(shares, key=lambda j: -shares[j])[:_NUM_NEIGHBOURS]
        pairs |= {(min(i, j), max(i, j)) for j in best if shares[j] > _MIN_SHARED}
    return sorted(pairs)


def _shared(by: Features, positions: Array) -> float:
    pixels = by.project(positions)
    return float(((pixels >= 0.0) & (pixels < by.size)).all(axis=1).mean())


def _matches(a: Features, b: Features) -> Indices:
    """Return pairs of spots that look alike, best for each other, and lie where they should."""
    if min(len(a), len(b)) < 2:
        return np.zeros((0, 2), np.intp)
    offsets = cdist(b.project(a.positions), b.pixels)
    depths = np.linalg.norm(a.positions - b.frame_T_camera[:3, 3], axis=1)
    apart = cdist(a.positions, b.positions)
    possible = (offsets < _MAX_OFFSET * b.size[0]) & (apart < _MAX_DISTANCE * depths[:, None])
    x, y = (each.descriptors.astype(np.float32) for each in (a, b))
    squares = (x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1) - 2.0 * (x @ y.T)
    differences = np.where(possible, np.sqrt(np.maximum(squares, 0.0)), np.inf)
    best = differences.argmin(axis=1)
    ordered = np.partition(differences, 1, axis=1)
    is_mutual = differences.argmin(axis=0)[best] == np.arange(len(best))
    good = is_mutual & (ordered[:, 0] < _MAX_DIFFERENCE) & (
        ordered[:, 0] < _MAX_RATIO * ordered[:, 1])
    return np.stack([np.flatnonzero(good), best[good]], axis=1)


@dataclass(frozen=True, eq=False)
class _Spots:
    """
    The spots of all images in one row.

    :param images: (M,) which image each is of.
    :param pixels: (M, 2) in that image.
    :param colours: (M, 3) uint8.
    :param positions: (M, 3) by the depth of that image.
    :param frame_T_camera: (N, 4, 4) of the images.
    :param intrinsics: (N, 3, 3) of the images.
    :param widths: (M,) of the image that each is of.
    """

    images: Indices
    pixels: Array
    colours: NDArray[np.uint8]
    positions: Array
    frame_T_camera: Array
    intrinsics: Array
    widths: Array

    @staticmethod
    def of(features: Sequence[Features]) -> '_Spots':
        counts = [len(each) for each in features]
        return _Spots(
            np.repeat(np.arange(len(features)), counts),
            np.concatenate([each.pixels for each in features]),
            np.concatenate([each.colours for each in features]),
            np.concatenate([each.positions for each in features]),
            np.stack([each.frame_T_camera for each in features]),
            np.stack([each.intrinsics for each in features]),
            np.repeat([float(each.size[0]) for each in features], counts))

    def placed(self, kept: Indices, labels: Indices) -> tuple[Array, Array]:
        """
        Place the point of each spot where the rays of all that are one pass nearest by.

        Depth counts for little, but where the rays are parallel it alone says how far away it is.

        :param kept: (K,) the spots.
        :param labels: (K,) equal for those that are one point.
        :returns: (K, 3) the points, (K,) their distances to the spots [px].
        """
        _, groups = np.unique(labels, return_inverse=True)
        poses = self.frame_T_camera[self.images[kept]]
        rays = self.positions[kept] - poses[:, :3, 3]
        squares = (rays * rays).sum(axis=1)[:, None, None]
        along = rays[:, :, None] * rays[:, None, :] / squares
        weights = (np.eye(3) - (1.0 - _DEPTH_WEIGHT) * along) / squares
        count = len(np.bincount(groups))
        left, right = np.zeros((count, 3, 3)), np.zeros((count, 3))
        np.add.at(left, groups, weights)
        np.add.at(right, groups, np.einsum('kij,kj->ki', weights, self.positions[kept]))
        points = np.linalg.solve(left, right[..., None])[..., 0][groups]
        in_camera = np.einsum('kji,kj->ki', poses[:, :3, :3], points - poses[:, :3, 3])
        images = np.einsum('kij,kj->ki', self.intrinsics[self.images[kept]], in_camera)
        with np.errstate(divide='ignore', invalid='ignore'):
            offsets = images[:, :2] / images[:, 2:] - self.pixels[kept]
        errors: Array = np.where(
            in_camera[:, 2] > 0.0, np.linalg.norm(offsets, axis=1), np.inf)
        return np.asarray(points, np.float64), errors


def _once_per_image(kept: Indices, labels: Indices, spots: _Spots) -> Indices:
    """Leave of the spots that are one point and of one image the one that fits best."""
    _, errors = spots.placed(kept, labels[kept])
    order = np.lexsort((errors, spots.images[kept], labels[kept]))
    pairs = np.stack([labels[kept], spots.images[kept]], axis=1)[order]
    is_first = np.ones(len(order), np.bool_)
    is_first[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
    return np.sort(kept[order[is_first]])


def _is_several(labels: Indices) -> NDArray[np.bool_]:
    """Tell which points are seen more than once."""
    return np.asarray(np.bincount(labels)[labels] > 1)
