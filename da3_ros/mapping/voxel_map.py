# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The fused cloud of a whole session, bounded in size."""

from da3_ros.mapping.config import MapConfig
from da3_ros.mapping.correction import MapCorrection
from da3_ros.mapping.points import fuse, WeightedPoints
import numpy as np
from numpy.typing import NDArray

# Keyframes are merged in batches; what waits for that is bounded too.
_MAX_WAITING_SHARE = 0.25


class VoxelMap:
    """
    One point per voxel of ``map``, from all keyframes.

    When there are too many, those go first that were not seen for longest, and of those last seen
    by one keyframe the farthest from the newest camera. A voxel belongs to the newest keyframe
    that saw it and moves with it when the map is corrected.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._fused = WeightedPoints.none()
        self._waiting: list[WeightedPoints] = []
        self._camera = np.zeros(3)
        self._newest_id = -1

    def add(
        self, points: WeightedPoints, camera: NDArray[np.float64], config: MapConfig
    ) -> None:
        """
        Add the points of a keyframe.

        :param points: in ``map``, all seen by it.
        :param camera: (3,) where they were seen from.
        :param config: size and number of the voxels.
        """
        self._waiting.append(fuse(points, config.voxel_m))
        if len(points) and points.seen_by[0] >= self._newest_id:
            self._camera, self._newest_id = camera, int(points.seen_by[0])
        if sum(map(len, self._waiting)) > _MAX_WAITING_SHARE * config.max_voxels:
            self.points(config)

    def correct(self, correction: MapCorrection) -> None:
        """
        Move what is there.

        :param correction: of everything added so far.
        """
        self._fused = correction.apply(self._fused)
        self._waiting = [correction.apply(points) for points in self._waiting]
        self._camera = correction.moves[-1].transform_points(self._camera)

    def points(self, config: MapConfig) -> WeightedPoints:
        """
        Return one point per voxel.

        :param config: size and number of the voxels.
        """
        joined = WeightedPoints.joined([self._fused, *self._waiting])
        self._fused = self._bounded(fuse(joined, config.voxel_m), config.max_voxels)
        self._waiting = []
        return self._fused

    def _bounded(self, points: WeightedPoints, max_voxels: int) -> WeightedPoints:
        surplus = len(points) - max_voxels
        if surplus <= 0:
            return points
        distance = np.linalg.norm(points.positions - self._camera, axis=1)
        # Ids are whole numbers: less than one added to them orders those of one keyframe.
        nearness = 1.0 - distance / (1.0 + distance.max())
        kept = np.argpartition(points.seen_by + 0.5 * nearness, surplus)[surplus:]
        kept.sort()
        return points.only(kept)
