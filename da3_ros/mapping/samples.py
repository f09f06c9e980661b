# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Views thinned out to the pixels that windows are compared by."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from da3_ros.geometry import camera, rigid
from da3_ros.geometry.arrays import Array
from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.view import View
import numpy as np
from numpy.typing import NDArray

# Confidence is heavy-tailed: no pixel counts for more than a few ordinary ones.
_MAX_RELATIVE_CONFIDENCE = 3.0


@dataclass(frozen=True, eq=False)
class ViewSamples:
    """
    Depth and camera of one keyframe as one window saw it, on a fixed grid of M pixels.

    :param id: the keyframe's.
    :param depth: (M,) z, NaN where unknown.
    :param weights: (M,) trust in each pixel, 1 for an ordinary one.
    :param rays: (M, 3) optical-frame points at depth 1.
    :param world_T_camera: (4, 4), in the unit of the depth.
    """

    id: int  # noqa: A003
    depth: Array
    weights: Array
    rays: Array
    world_T_camera: Array

    def transformed(self, a_S_world: Sim3) -> 'ViewSamples':
        """
        Express the view in another frame and unit.

        :param a_S_world: from this view's world.
        """
        return replace(
            self, depth=a_S_world.scale * self.depth,
            world_T_camera=a_S_world.transform_pose(self.world_T_camera),
        )

    def only(self, kept: NDArray[np.bool_]) -> 'ViewSamples':
        """
        Keep some of the pixels.

        :param kept: (M,).
        """
        return replace(
            self, depth=self.depth[kept], weights=self.weights[kept], rays=self.rays[kept]
        )

    def points(self, depth: Array | None = None) -> Array:
        """
        Back-project the pixels into this view's world.

        :param depth: (M,) depth to use instead of the view's own.
        :returns: (M, 3).
        """
        z = self.depth if depth is None else depth
        return rigid.transform_points(self.world_T_camera, self.rays * z[:, None])


def sample_view(view: View, num_samples: int) -> ViewSamples:
    """
    Thin a posed view out to a grid that depends on its size alone.

    :param view: with a pose.
    :param num_samples: about how many pixels to keep.
    """
    assert view.window_T_camera is not None
    height, width = view.depth.shape
    step = max(1, round(np.sqrt(height * width / num_samples)))
    rows, columns = np.mgrid[step // 2:height:step, step // 2:width:step].reshape(2, -1)
    depth = view.depth[rows, columns].astype(np.float64)
    depth[~np.isfinite(depth)] = np.nan
    trust = np.ones(depth.size)
    if view.confidence is not None:
        trust = _trust(view.confidence[rows, columns].astype(np.float64))
    rays = camera.rays_of(np.stack([columns, rows], axis=1), view.intrinsics)
    return ViewSamples(view.keyframe.id, depth, trust, rays, view.window_T_camera)


def newest_shared(
    last: Sequence[ViewSamples], views: Sequence[ViewSamples]
) -> tuple[ViewSamples, ViewSamples]:
    """
    Return the newest keyframe that two windows share, as each saw it.

    :param last: views of the earlier one.
    :param views: of the later one; where they share none, its first one is returned.
    """
    known = {view.id: view for view in last}
    for view in reversed(views):
        if view.id in known:
            return known[view.id], view
    return last[-1], views[0]


def _trust(confidence: Array) -> Array:
    """Weigh by confidence above none (1), relative to an ordinary pixel of the view."""
    above_none = np.nan_to_num(confidence - 1.0)
    ordinary = max(float(np.median(above_none)), 1e-6)
    return np.clip(above_none / ordinary, 0.0, _MAX_RELATIVE_CONFIDENCE)
