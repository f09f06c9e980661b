# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Where a lens brings rays, by the models of sensor_msgs: those of OpenCV.

OpenCV's own functions compute derivatives too (50 times the time) or leave the skew of K out.
"""

from da3_ros.geometry.arrays import Array
from da3_ros.ros.input.camera_model import CameraModel
import numpy as np

_MAX_COEFFICIENTS = 14


def distort(model: CameraModel, rays: Array) -> Array:
    """
    Find where a lens brings rays.

    :param model: of the camera.
    :param rays: (..., 2) x and y at depth 1, in the camera's optical frame.
    :returns: (..., 2) pixel coordinates u, v; not finite where the model has a pole.
    """
    with np.errstate(all='ignore'):
        bent = _fisheye(rays, model.distortion) if model.distortion_model == 'equidistant' else (
            _pinhole(rays, model.distortion))
        k = model.intrinsics
        return np.asarray(bent @ k[:2, :2].T + k[:2, 2])


def _fisheye(rays: Array, d: tuple[float, ...]) -> Array:
    """Bend rays by the model of Kannala and Brandt."""
    radius = np.linalg.norm(rays, axis=-1, keepdims=True)
    theta = np.arctan(radius)
    t = theta**2
    bent = theta * (1.0 + t * (d[0] + t * (d[1] + t * (d[2] + t * d[3]))))
    return np.asarray(rays * np.where(radius > 0.0, bent / radius, 1.0))


def _pinhole(rays: Array, d: tuple[float, ...]) -> Array:
    """Bend rays by the rational model with decentring, thin prism and tilted sensor."""
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4, tilt_x, tilt_y = (
        d + (0.0,) * (_MAX_COEFFICIENTS - len(d)))
    x, y = rays[..., 0], rays[..., 1]
    r = x**2 + y**2
    radial = (1.0 + r * (k1 + r * (k2 + r * k3))) / (1.0 + r * (k4 + r * (k5 + r * k6)))
    bent = np.stack([
        x * radial + 2.0 * p1 * x * y + p2 * (r + 2.0 * x**2) + r * (s1 + r * s2),
        y * radial + 2.0 * p2 * x * y + p1 * (r + 2.0 * y**2) + r * (s3 + r * s4),
    ], axis=-1)
    if tilt_x == tilt_y == 0.0:
        return bent
    tilted = np.concatenate([bent, np.ones_like(bent[..., :1])], axis=-1) @ _tilt(
        tilt_x, tilt_y).T
    return np.asarray(tilted[..., :2] / tilted[..., 2:])


def _tilt(tilt_x: float, tilt_y: float) -> Array:
    """Return the homography onto a sensor that is turned by angles [rad] about x, then y."""
    cos_x, sin_x, cos_y, sin_y = np.cos(tilt_x), np.sin(tilt_x), np.cos(tilt_y), np.sin(tilt_y)
    about_x = np.array([[1.0, 0.0, 0.0], [0.0, cos_x, sin_x], [0.0, -sin_x, cos_x]])
    about_y = np.array([[cos_y, 0.0, -sin_y], [0.0, 1.0, 0.0], [sin_y, 0.0, cos_y]])
    rotation = about_y @ about_x
    onto_sensor = np.array([
        [rotation[2, 2], 0.0, -rotation[0, 2]], [0.0, rotation[2, 2], -rotation[1, 2]],
        [0.0, 0.0, 1.0]])
    return np.asarray(onto_sensor @ rotation)
