# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Coloured points with weights, and their fusion into one point per voxel."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

from da3_ros.geometry import camera
from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.keyframe import PosedKeyframe
import numpy as np
from numpy.typing import NDArray

# The confidence of the network begins at 1 for none; such points still count a little.
_NO_CONFIDENCE = 1.0
_WEIGHTS = (1e-3, 1e3)
# Voxels along an axis: three indices make one 64-bit key.
_BITS = 21
_HALF = 1 << (_BITS - 1)


@dataclass(frozen=True, eq=False)
class WeightedPoints:
    """
    Points, each the weighted mean of one or more observations.

    :param positions: (N, 3) float32.
    :param colours: (N, 3) float32 RGB in [0, 255].
    :param weights: (N,) float32 sum of the weights of the observations.
    :param counts: (N,) int32 number of observations.
    :param seen_by: (N,) int64 id of the newest keyframe among them.
    :param looked_through: (N,) int32 keyframes that have looked through the point since then;
        none at first.
    """

    positions: NDArray[np.float32]
    colours: NDArray[np.float32]
    weights: NDArray[np.float32]
    counts: NDArray[np.int32]
    seen_by: NDArray[np.int64]
    looked_through: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))

    def __post_init__(self) -> None:
        """Fill in that nobody looked through."""
        if len(self.looked_through) != len(self.weights):
            object.__setattr__(self, 'looked_through', np.zeros(len(self.weights), np.int32))

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.weights)

    @property
    def confidence(self) -> NDArray[np.float32]:
        """Return the mean confidence of the observations, (N,), 1 = none."""
        return (_NO_CONFIDENCE + self.weights / self.counts).astype(np.float32)

    def only(self, kept: NDArray[np.bool_] | NDArray[np.intp]) -> 'WeightedPoints':
        """
        Keep some of the points.

        :param kept: a mask, or indices.
        """
        return WeightedPoints(*(getattr(self, each.name)[kept] for each in fields(self)))

    def moved(self, a_T_b: NDArray[np.float64]) -> 'WeightedPoints':
        """
        Express the points in another frame.

        :param a_T_b: (4, 4) from their frame.
        """
        return replace(self, positions=_transformed(Sim3.from_rigid(a_T_b), self.positions))

    @staticmethod
    def none() -> 'WeightedPoints':
        """Return no points."""
        return WeightedPoints(
            np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32),
            np.zeros(0, np.float32), np.zeros(0, np.int32), np.zeros(0, np.int64))

    @staticmethod
    def joined(parts: 'Sequence[WeightedPoints]') -> 'WeightedPoints':
        """
        Put points together.

        :param parts: at least one.
        """
        if len(parts) == 1:
            return parts[0]
        return WeightedPoints(*(
            np.concatenate([getattr(part, each.name) for part in parts])
            for each in fields(WeightedPoints)))


def observe(
    keyframe: PosedKeyframe,
    depth: NDArray[np.float32],
    *,
    frame_S_camera: Sim3,
    min_confidence: float,
    limit: float,
) -> WeightedPoints:
    """
    Back-project a keyframe; every pixel is one observation, weighted by its confidence.

    :param keyframe: colours, confidence and camera.
    :param depth: (H, W); pixels that are not finite are left out.
    :param frame_S_camera: to the frame of the points.
    :param min_confidence: pixels below it are left out.
    :param limit: pixels with a larger depth are left out.
    """
    valid = np.isfinite(depth) & (depth <= limit)
    weights = np.ones(depth.shape, np.float32)
    if keyframe.confidence is not None:
        valid &= keyframe.confidence >= min_confidence
        weights = np.clip(keyframe.confidence - np.float32(_NO_CONFIDENCE), *_WEIGHTS)
    # Several times as fast as indexing with the mask.
    kept = np.flatnonzero(valid)
    points = camera.unproject(depth, keyframe.intrinsics).reshape(-1, 3).take(kept, axis=0)
    colours = keyframe.image.reshape(-1, 3).take(kept, axis=0)
    return WeightedPoints(
        _transformed(frame_S_camera, points), colours.astype(np.float32),
        weights.ravel().take(kept).astype(np.float32, copy=False),
        np.ones(len(kept), np.int32), np.full(len(kept), keyframe.id, np.int64))


def fuse(points: WeightedPoints, voxel: float) -> WeightedPoints:
    """
    Leave one point in each cube of a regular grid: the weighted mean of those in it.

    Points more than 2^20 voxels away from the origin along an axis are dropped.

    :param points: of one frame.
    :param voxel: edge of the cubes.
    :returns: in the order of the cubes.
    """
    cells = np.floor(points.positions / np.float32(voxel))
    is_near = np.abs(cells) < _HALF
    if not is_near.all():
        near = is_near.all(axis=1)
        points, cells = points.only(near), cells[near]
    if len(points) == 0:
        return points
    keys = _keys(cells)
    # Stable sorting is quick where fused points are joined with a few new ones.
    order = np.argsort(keys, kind='stable')
    keys = keys[order]
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    weights = points.weights[order].astype(np.float64)
    total = np.add.reduceat(weights, starts)
    return WeightedPoints(
        _mean(points.positions[order], weights, total, starts),
        _mean(points.colours[order], weights, total, starts),
        total.astype(np.float32),
        np.add.reduceat(points.counts[order], starts, dtype=np.int32),
        np.maximum.reduceat(points.seen_by[order], starts),
        # Who is seen again is there.
        np.minimum.reduceat(points.looked_through[order], starts),
    )


def _transformed(a_S_b: Sim3, positions: NDArray[np.float32]) -> NDArray[np.float32]:
    # In single precision: that of the messages, and six times as fast.
    linear = (a_S_b.scale * a_S_b.rotation.T).astype(np.float32)
    moved: NDArray[np.float32] = positions @ linear + a_S_b.translation.astype(np.float32)
    return moved


def _keys(cells: NDArray[np.float32]) -> NDArray[np.int64]:
    x, y, z = (cells[:, axis].astype(np.int64) + _HALF for axis in range(3))
    keys: NDArray[np.int64] = x << (2 * _BITS) | y << _BITS | z
    return keys


def _mean(
    values: NDArray[np.float32], weights: NDArray[np.float64], total: NDArray[np.float64],
    starts: NDArray[np.intp],
) -> NDArray[np.float32]:
    means = np.add.reduceat(values * weights[:, None], starts, axis=0) / total[:, None]
    return means.astype(np.float32)
