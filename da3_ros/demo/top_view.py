# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""Coloured points seen from above."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from da3_ros.demo.evaluation import Evaluation
from da3_ros.demo.messages import ColouredPoints
from da3_ros.demo.readback import Output, TrueView
from da3_ros.geometry import camera, rigid
from da3_ros.simulation.scene import Scene
import numpy as np
from numpy.typing import NDArray

_BORDER_M = 0.6
_PIXEL_M = 0.025
# Above it there are ceilings, which would hide everything.
CEILING_M = 2.0


@dataclass(frozen=True)
class Area:
    """
    The part of the ground that is shown.

    :param extent: x_min, x_max, y_min, y_max [m].
    """

    extent: tuple[float, float, float, float]

    @classmethod
    def of(cls, scene: Scene) -> 'Area':
        """Return the area of a scene with a border."""
        low, high = scene.lower - _BORDER_M, scene.upper + _BORDER_M
        return cls((float(low[0]), float(high[0]), float(low[1]), float(high[1])))

    @property
    def size_px(self) -> tuple[int, int]:
        """Columns and rows of its picture."""
        x_min, x_max, y_min, y_max = self.extent
        return round((x_max - x_min) / _PIXEL_M), round((y_max - y_min) / _PIXEL_M)


def true_cloud(truth: Mapping[int, TrueView], stamps: Sequence[int]) -> ColouredPoints:
    """Return the true points of keyframes, world frame."""
    parts = []
    for stamp in stamps:
        view = truth[stamp]
        points = camera.unproject(view.depth, view.intrinsics).reshape(-1, 3).astype(np.float64)
        kept = np.isfinite(points).all(axis=1)
        parts.append((
            rigid.transform_points(view.world_T_camera, points[kept]),
            view.image.reshape(-1, 3)[kept]))
    return _join(parts)


def published_cloud(outputs: Mapping[int, Output], evaluation: Evaluation) -> ColouredPoints:
    """Return the published points of all keyframes, moved into the true world."""
    parts = []
    for output in outputs.values():
        in_odom = rigid.transform_points(output.odom_T_camera, output.points.astype(np.float64))
        parts.append((evaluation.world_S_odom.transform_points(in_odom), output.colours))
    return _join(parts)


@dataclass(frozen=True, eq=False)
class TopView:
    """
    A picture of the ground.

    :param image: (rows, columns, 3) uint8 RGB, the first row at least y; white: no point.
    :param share: of the points that lie in the area and below the ceiling.
    """

    image: NDArray[np.uint8]
    share: float


def rasterize(cloud: ColouredPoints, area: Area) -> TopView:
    """
    Draw the highest point of every cell that is below the ceiling.

    :param cloud: world frame.
    :param area: what to show.
    """
    columns, rows = area.size_px
    origin = (area.extent[0], area.extent[2])
    cells = np.floor((cloud.points[:, :2] - origin) / _PIXEL_M).astype(int)
    shown = np.all((cells >= 0) & (cells < (columns, rows)), axis=1)
    shown &= cloud.points[:, 2] < CEILING_M
    upwards = np.argsort(cloud.points[shown, 2])
    x, y = cells[shown][upwards].T
    image = np.full((rows, columns, 3), 255, dtype=np.uint8)
    image[y, x] = cloud.colours[shown][upwards]
    return TopView(image, float(shown.mean()))


def _join(parts: Sequence[tuple[NDArray[np.float64], NDArray[np.uint8]]]) -> ColouredPoints:
    points = np.concatenate([points for points, _ in parts]).astype(np.float32)
    return ColouredPoints(points, np.concatenate([colours for _, colours in parts]))
