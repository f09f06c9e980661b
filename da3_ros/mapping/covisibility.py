# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Whether views of one window really see the same surfaces."""

from da3_ros.geometry import camera, rigid
from da3_ros.geometry.arrays import Array
from da3_ros.mapping.samples import ViewSamples
from da3_ros.mapping.view import View
import numpy as np
from numpy.typing import NDArray

# Two views see the same surface if its depth differs by less than this share.
_MAX_DEPTH_DIFFERENCE = 0.1
# Fewer points are no basis for a correlation of grey values.
_MIN_POINTS = 16


def shared_share(seen: View, by: View, samples: ViewSamples) -> float:
    """
    Return which share of a view's points another view sees too, at the same depth and as bright.

    A network places images that have nothing in common somewhere all the same: only the pictures
    themselves tell. The share is therefore multiplied by the correlation of the grey values, where
    that is positive.

    :param seen: the view whose points are looked for.
    :param by: the view in which they are looked for, of the same window.
    :param samples: of ``seen``.
    """
    assert by.window_T_camera is not None
    points = rigid.transform_points(rigid.inverse(by.window_T_camera), samples.points())
    u, v, is_inside = _pixels(points, by)
    with np.errstate(invalid='ignore'):
        difference = np.abs(points[:, 2] / by.depth[v, u] - 1.0)
    agrees = is_inside & (difference < _MAX_DEPTH_DIFFERENCE)
    num_known = int(np.isfinite(samples.depth).sum())
    if agrees.sum() < _MIN_POINTS:
        return 0.0
    there = by.image[v, u].mean(axis=1)[agrees]
    u, v, _ = _pixels(samples.rays, seen)
    here = seen.image[v, u].mean(axis=1)[agrees]
    return float(agrees.sum()) / num_known * max(_correlation(here, there), 0.0)


def _pixels(
    points: Array, view: View
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Return column and row of the nearest pixel, and whether the point is in the picture."""
    height, width = view.depth.shape
    pixels = np.nan_to_num(np.round(camera.project(points, view.intrinsics)), nan=-1.0)
    is_inside = np.all((pixels >= 0.0) & (pixels < (width, height)), axis=1)
    u, v = np.where(is_inside[:, None], pixels, 0.0).astype(np.intp).T
    return u, v, is_inside


def _correlation(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-9))
