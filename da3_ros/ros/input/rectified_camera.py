# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The pinhole camera that a lens is rectified to."""

import math

from da3_ros.errors import MessageError
from da3_ros.geometry.arrays import Array
from da3_ros.ros.input.camera_model import CameraModel
from da3_ros.ros.input.lens import distort
import numpy as np

# Nothing is shown that lies farther from the axis, to the side or up and down: beyond, a pinhole
# stretches a pixel to more than four.
_MAX_ANGLE_DEG = 60.0
# No lens widens its view by more, as seen at the border of the image.
_MAX_ZOOM_OUT = 3.0
# Real lenses squeeze the border of the image by less: where K's own view must be cut to a smaller
# share, the coefficients are those of another model.
_MIN_VIEW = 0.7
_NUM_ZOOMS = 128
_NUM_PER_SIDE = 33
_ROUNDING_PX = 1e-3


def rectified_intrinsics(model: CameraModel) -> Array:
    """
    Choose the rectified camera: K with another focal length, the shortest without unknown pixels.

    Axis and shape of the pixels are K's, so that the picture is cropped and never stretched or
    turned, and cameras of one kind keep one size. OpenCV's estimates bring the corners of the
    image to a plane, which fails where these lie beyond 90 degrees or where the model folds; this
    goes the other way, from the rays of the rectified camera into the image.

    :param model: of a camera with distortion.
    :returns: (3, 3) [px], for images of the camera's size.
    :raises MessageError: if the model does not hold over the image.
    """
    k = model.intrinsics
    corner_rays = (_border(model) - k[:2, 2]) / k[[0, 1], [0, 1]]
    widest = math.tan(math.radians(_MAX_ANGLE_DEG)) / float(np.abs(corner_rays).max())
    most = min(widest, _MAX_ZOOM_OUT)
    zoom = _largest_zoom(model, corner_rays, np.linspace(0.0, most, _NUM_ZOOMS)[1:])
    step = most / (_NUM_ZOOMS - 1)
    finer = np.linspace(zoom, min(zoom + step, most), _NUM_ZOOMS)
    zoom = max(zoom, _largest_zoom(model, corner_rays, finer))
    if zoom < _MIN_VIEW * min(1.0, widest):
        raise MessageError(
            f'CameraInfo: got D {model.distortion} of {model.distortion_model}, by which '
            f'{100.0 * zoom:.0f} % of the view of K are left before the lens folds or the image '
            f'ends, expected at least {100.0 * _MIN_VIEW:.0f} %: are they of another model?')
    rectified = k.copy()
    rectified[0, 1] = 0.0
    rectified[[0, 1], [0, 1]] /= zoom
    return rectified


def _largest_zoom(model: CameraModel, rays: Array, zooms: Array) -> float:
    """Return the largest by which the rays of the border may grow, or 0."""
    pixels = distort(model, zooms[:, None, None] * rays)
    with np.errstate(all='ignore'):
        heights = np.linalg.norm(pixels - model.intrinsics[:2, 2], axis=-1)
        # Where an image point comes nearer again while its ray goes out, the model has folded.
        grows = np.diff(heights, axis=0, prepend=-1.0) > 0.0
        is_inside = (
            (pixels >= -_ROUNDING_PX)
            & (pixels <= np.array([model.width, model.height]) - 1.0 + _ROUNDING_PX))
    is_sound = np.logical_and.accumulate(grows, axis=0).all(axis=1) & is_inside.all(axis=(1, 2))
    return float(zooms[is_sound].max(initial=0.0))


def _border(model: CameraModel) -> Array:
    """Return the outermost pixels of the image, (N, 2)."""
    share = np.linspace(0.0, 1.0, _NUM_PER_SIDE)
    low, high = np.zeros_like(share), np.ones_like(share)
    sides = [(share, low), (share, high), (low, share), (high, share)]
    unit = np.concatenate([np.stack(side, axis=-1) for side in sides])
    return np.asarray(unit * (model.width - 1, model.height - 1))
