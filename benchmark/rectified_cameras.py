# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The rectified cameras of real calibrations: what OpenCV estimates, and what the node takes."""

import argparse
from collections.abc import Sequence
from pathlib import Path
import sys

import cv2
from da3_ros.errors import MessageError
from da3_ros.ros.input.camera_model import CameraModel, read_camera_model
from da3_ros.ros.input.lens import distort
from da3_ros.ros.input.rectified_camera import rectified_intrinsics
import numpy as np
from sensor_msgs.msg import CameraInfo
import yaml

_CALIBRATIONS = Path(__file__).parents[1] / 'test' / 'ros' / 'calibrations.yaml'
_NUM_SAMPLES = 100


def by_opencv(model: CameraModel) -> np.ndarray:
    """Estimate the rectified camera as image_proc and the node did before."""
    k, d = model.intrinsics, np.array(model.distortion)
    size = (model.width, model.height)
    if model.distortion_model == 'equidistant':
        return cv2.fisheye.estimateNewCameraMatrixForUndistortRectify(
            k, d, size, np.eye(3), balance=0.0)
    return cv2.getOptimalNewCameraMatrix(k, d, size, 0.0)[0]


def describe(model: CameraModel, rectified: np.ndarray) -> str:
    """Give the columns: view, axis, unknown share, shape of the pixels."""
    size = np.array([model.width, model.height])
    focal, centre = rectified[[0, 1], [0, 1]], rectified[:2, 2]
    view_deg = np.degrees(np.arctan(centre / focal) + np.arctan((size - 1 - centre) / focal))
    v, u = np.meshgrid(
        np.linspace(0, model.height - 1, _NUM_SAMPLES), np.linspace(0, model.width - 1,
                                                                    _NUM_SAMPLES), indexing='ij')
    pixels = distort(model, (np.stack([u, v], axis=-1) - centre) / focal)
    unknown = 1.0 - ((pixels >= -0.5) & (pixels <= size - 0.5)).all(axis=-1).mean()
    ratio = focal[1] / focal[0] / (model.intrinsics[1, 1] / model.intrinsics[0, 0])
    axis = centre / size
    return (f'{view_deg[0]:.1f} x {view_deg[1]:.1f} | {axis[0]:.2f}, {axis[1]:.2f} | '
            f'{100.0 * unknown:.0f} | {ratio:.2f}')


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table."""
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    columns = 'view deg | axis | unknown % | pixel ratio'
    sys.stdout.write(
        f'| camera | model | size | OpenCV: {columns} | node: {columns} |\n{"|---" * 11}|\n')
    for camera, _, name, width, height, (fx, skew, cx, fy, cy), d in yaml.safe_load(
            _CALIBRATIONS.read_text()):
        info = CameraInfo(width=width, height=height, distortion_model=name)
        info.d = [float(value) for value in d]
        info.k = [float(value) for value in (fx, skew, cx, 0, fy, cy, 0, 0, 1)]
        model = read_camera_model(info, width=width, height=height, is_rectified=False)
        try:
            taken = describe(model, rectified_intrinsics(model))
        except MessageError as error:
            taken = f'{error} | | | '
        sys.stdout.write(f'| {camera} | {name} | {width}x{height} | '
                         f'{describe(model, by_opencv(model))} | {taken} |\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
