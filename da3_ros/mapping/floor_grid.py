# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Where a robot can go: the fused map seen from above."""

from dataclasses import dataclass

from da3_ros.mapping.config import GridConfig
from da3_ros.mapping.points import WeightedPoints
from da3_ros.mapping.session_record import Session
import numpy as np
from numpy.typing import NDArray

OCCUPIED = 100
FREE = 0
UNKNOWN = -1

# Bounds of memory and time: 200 m of cells of 5 cm, and about a second.
_MAX_SIDE = 4000
_MAX_RAYS = 200_000


@dataclass(frozen=True, eq=False)
class FloorGrid:
    """
    What stands where, in the convention of map_server.

    :param cells: (h, w) int8 of ``OCCUPIED``, ``FREE`` and ``UNKNOWN``; rows along y, columns
        along x.
    :param cell_m: edge of a cell.
    :param origin: (2,) x and y of the outer corner of the first cell.
    """

    cells: NDArray[np.int8]
    cell_m: float
    origin: NDArray[np.float64]


def camera_positions(session: Session) -> dict[int, NDArray[np.float64]]:
    """
    Return where each keyframe was seen from.

    :param session: with poses.
    :returns: (3,) in the session's frame, by the id.
    """
    rotation, translation = session.frame_T_map[:3, :3], session.frame_T_map[:3, 3]
    return {pose.id: rotation @ pose.map_S_camera.translation + translation
            for pose in session.poses}


def floor_grid(
    points: WeightedPoints, cameras: dict[int, NDArray[np.float64]], config: GridConfig
) -> FloorGrid:
    """
    Look at points from above.

    A cell is occupied by a point within the band of heights, free where the ray from the camera
    to a point crosses it within the band, and else unknown: what was seen only above or below the
    band says nothing about it. What is too far from the middle of the cameras is left out.

    :param points: with z up.
    :param cameras: (3,) where they were seen from, by the keyframe that saw them last; points of
        others are without a ray.
    :param config: cells and band.
    """
    positions = points.positions.astype(np.float64)
    height = positions[:, 2]
    in_band = (height >= config.min_height_m) & (height <= config.max_height_m)
    starts, ends = _rays_in_band(positions, points.seen_by, cameras, config)
    first, (columns, rows) = _extent(
        np.concatenate([positions[in_band, :2], starts, ends]),
        np.array([camera[:2] for camera in cameras.values()]).reshape(-1, 2), config.cell_m)
    cells = np.full((rows, columns), UNKNOWN, np.int8)
    _clear(cells, *(_cells_of(each, config.cell_m) - first for each in (starts, ends)))
    _mark(cells, _cells_of(positions[in_band], config.cell_m) - first, OCCUPIED)
    return FloorGrid(cells, config.cell_m, first * np.float64(config.cell_m))


def _rays_in_band(
    positions: NDArray[np.float64], seen_by: NDArray[np.int64],
    cameras: dict[int, NDArray[np.float64]], config: GridConfig,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where the rays to the points enter the band and leave it, (N, 2) each."""
    ids, index = np.unique(seen_by, return_inverse=True)
    known = np.array([id_ in cameras for id_ in ids.tolist()], bool)
    kept = np.flatnonzero(known[index]) if len(ids) else np.zeros(0, np.intp)
    # Neighbours look along almost the same ray.
    kept = kept[::max(1, -(-len(kept) // _MAX_RAYS))]
    nowhere = np.zeros(3)
    centres = np.array([cameras.get(id_, nowhere) for id_ in ids.tolist()]).reshape(-1, 3)
    camera, point = centres[index[kept]], positions[kept]
    rise = point[:, 2] - camera[:, 2]
    level = np.abs(rise) < 1e-9
    safe = np.where(level, 1.0, rise)
    at_min = (config.min_height_m - camera[:, 2]) / safe
    at_max = (config.max_height_m - camera[:, 2]) / safe
    begin = np.where(level, 0.0, np.maximum(np.minimum(at_min, at_max), 0.0))
    end = np.where(level, 1.0, np.minimum(np.maximum(at_min, at_max), 1.0))
    inside = (camera[:, 2] >= config.min_height_m) & (camera[:, 2] <= config.max_height_m)
    crosses = (begin < end) & (~level | inside)
    origin, way = camera[crosses, :2], (point - camera)[crosses, :2]
    return origin + begin[crosses, None] * way, origin + end[crosses, None] * way


def _cells_of(positions: NDArray[np.float64], cell_m: float) -> NDArray[np.int64]:
    return np.floor(positions[:, :2] / cell_m).astype(np.int64)


def _extent(
    positions: NDArray[np.float64], cameras: NDArray[np.float64], cell_m: float
) -> tuple[NDArray[np.int64], tuple[int, int]]:
    """Return the first cell, and how many there are along x and y, of all that is to be shown."""
    if not len(positions):
        return np.zeros(2, np.int64), (0, 0)
    cells = _cells_of(positions, cell_m)
    lowest, highest = cells.min(axis=0), cells.max(axis=0)
    seen_from = _cells_of(cameras, cell_m) if len(cameras) else cells
    middle = (seen_from.min(axis=0) + seen_from.max(axis=0)) // 2
    lowest = np.maximum(lowest, middle - _MAX_SIDE // 2)
    highest = np.minimum(highest, middle + _MAX_SIDE // 2 - 1)
    columns, rows = np.maximum(highest - lowest + 1, 0).tolist()
    return lowest, (columns, rows)


def _clear(
    cells: NDArray[np.int8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> None:
    """Mark the cells along lines, one per step of the longer side, as free."""
    if not cells.size or not len(starts):
        return
    # Many points of a wall lie above each other.
    lines = np.unique(np.concatenate([starts, ends], axis=1), axis=0)
    starts, ways = lines[:, :2], lines[:, 2:] - lines[:, :2]
    lengths = np.abs(ways).max(axis=1)
    order = np.argsort(-lengths, kind='stable')
    starts, ways, lengths = starts[order], ways[order], lengths[order]
    # Beyond it everything is outside.
    for step in range(min(int(lengths[0]), 2 * _MAX_SIDE) + 1):
        num = int(np.searchsorted(-lengths, -step, side='right'))
        share = step / np.maximum(lengths[:num, None], 1)
        _mark(cells, starts[:num] + np.rint(share * ways[:num]).astype(np.int64), FREE)


def _mark(cells: NDArray[np.int8], which: NDArray[np.int64], value: int) -> None:
    inside = ((which >= 0) & (which < cells.shape[::-1])).all(axis=1)
    columns, rows = which[inside].T
    cells[rows, columns] = value
