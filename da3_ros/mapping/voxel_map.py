# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The fused cloud of a whole session, bounded in size, without what is not there any more."""

from dataclasses import dataclass, replace

import cv2
from da3_ros.geometry import camera
from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.config import MapConfig
from da3_ros.mapping.correction import MapCorrection
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.points import fuse, WeightedPoints
import numpy as np
from numpy.typing import NDArray

# Keyframes are merged in batches; what waits for that is bounded too.
_MAX_WAITING_SHARE = 0.25
_MAX_LOOKS = 16
# So many keyframes in a row must look through a point before it goes: one may be wrong.
_NUM_LOOKS = 3
# What is seen must lie behind the point by this share of its depth, and by so many voxels.
_MIN_SHARE_BEHIND = 0.1
_MIN_VOXELS_BEHIND = 2.0
# Free space is known per block of so many pixels, by the nearest of a block and its neighbours.
_BLOCK_PX = 4


@dataclass(frozen=True, eq=False)
class _Look:
    """
    How far a keyframe looks.

    :param id: the keyframe's.
    :param free: (h, w) float32 depth up to which all of a block of pixels is free, 0 = unknown.
    :param far: (h, w) float32 depth up to which some of it is.
    :param intrinsics: (3, 3) [blocks].
    :param map_S_camera: where it is, and the unit of ``free``.
    """

    id: int  # noqa: A003
    free: NDArray[np.float32]
    far: NDArray[np.float32]
    intrinsics: NDArray[np.float64]
    map_S_camera: Sim3

    @staticmethod
    def of(
        keyframe: PosedKeyframe, depth: NDArray[np.float32], map_S_camera: Sim3
    ) -> '_Look':
        """Summarise a keyframe; what is beyond range is far, what is unknown may be near."""
        height, width = depth.shape
        rows, columns = height // _BLOCK_PX, width // _BLOCK_PX
        known = np.nan_to_num(
            depth[:rows * _BLOCK_PX, :columns * _BLOCK_PX], nan=0.0, posinf=np.inf)
        blocks = known.reshape(rows, _BLOCK_PX, columns, _BLOCK_PX)
        free, far, around = blocks.min(axis=(1, 3)), blocks.max(axis=(1, 3)), np.ones((3, 3))
        if blocks.size:
            free, far = cv2.erode(free, around), cv2.dilate(far, around)
        scale = 1.0 / _BLOCK_PX
        return _Look(
            keyframe.id, np.asarray(free, np.float32), np.asarray(far, np.float32),
            camera.rescale(keyframe.intrinsics, scale_x=scale, scale_y=scale), map_S_camera)

    def count(
        self, looked_through: NDArray[np.int32], points: WeightedPoints, voxel: float
    ) -> None:
        """
        Count points older than the keyframe that lie in free space; begin anew with what is there.

        :param looked_through: (N,) the count, which is changed.
        :param points: N points.
        :param voxel: edge of the cubes.
        """
        if not self.free.size:
            return
        older = np.flatnonzero(points.seen_by < self.id)
        camera_S_map = self.map_S_camera.inverse()
        linear = (camera_S_map.scale * camera_S_map.rotation.T).astype(np.float32)
        seen = points.positions.take(older, axis=0) @ linear + (
            camera_S_map.translation.astype(np.float32))
        ahead = seen[:, 2] > 0.0
        older, seen = older[ahead], seen[ahead]
        (fx, skew, cx), (_, fy, cy) = self.intrinsics.astype(np.float32)[:2]
        x, y = seen[:, 0] / seen[:, 2], seen[:, 1] / seen[:, 2]
        u, v = np.rint(fx * x + skew * y + cx), np.rint(fy * y + cy)
        height, width = self.free.shape
        inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
        older, depth = older[inside], seen[inside, 2]
        block = v[inside].astype(np.intp), u[inside].astype(np.intp)
        margin = np.maximum(
            _MIN_SHARE_BEHIND * depth, _MIN_VOXELS_BEHIND * voxel / self.map_S_camera.scale)
        is_through = self.free[block] > depth + margin
        is_there = ~is_through & (self.far[block] > depth - margin)
        looked_through[older[is_through]] += 1
        looked_through[older[is_there]] = 0


class VoxelMap:
    """
    One point per voxel of ``map``, from all keyframes.

    When there are too many, those go first that were not seen for longest, and of those last seen
    by one keyframe the farthest from the newest camera. A voxel belongs to the newest keyframe
    that saw it and moves with it when the map is corrected. What several later keyframes in a row
    look through is not there any more and goes.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._fused = WeightedPoints.none()
        self._waiting: list[WeightedPoints] = []
        self._looks: list[_Look] = []
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

    def look(
        self, keyframe: PosedKeyframe, depth: NDArray[np.float32], map_S_camera: Sim3,
        config: MapConfig,
    ) -> None:
        """
        Note what a keyframe looks through.

        :param keyframe: whose points were added.
        :param depth: (H, W) of it, NaN unknown, +inf beyond range.
        :param map_S_camera: where it is; its scale is that of ``depth``.
        :param config: size and number of the voxels.
        """
        self._looks.append(_Look.of(keyframe, depth, map_S_camera))
        if len(self._looks) >= _MAX_LOOKS:
            self.points(config)

    def correct(self, correction: MapCorrection) -> None:
        """
        Move what is there.

        :param correction: of everything added so far.
        """
        self._fused = correction.apply(self._fused)
        self._waiting = [correction.apply(points) for points in self._waiting]
        self._looks = [
            replace(look, map_S_camera=correction.move_of(look.id) @ look.map_S_camera)
            for look in self._looks]
        self._camera = correction.moves[-1].transform_points(self._camera)

    def points(self, config: MapConfig) -> WeightedPoints:
        """
        Return one point per voxel.

        :param config: size and number of the voxels.
        """
        joined = WeightedPoints.joined([self._fused, *self._waiting])
        fused = self._carved(fuse(joined, config.voxel_m), config.voxel_m)
        self._fused = self._bounded(fused, config.max_voxels)
        self._waiting, self._looks = [], []
        return self._fused

    def _carved(self, points: WeightedPoints, voxel: float) -> WeightedPoints:
        """Count who looks through what, and leave out what too many have."""
        if not self._looks:
            return points
        count = points.looked_through.copy()
        for look in self._looks:
            look.count(count, points, voxel)
        return replace(points, looked_through=count).only(count < _NUM_LOOKS)

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
