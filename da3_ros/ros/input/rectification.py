# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Undistort images, so that the network sees a pinhole camera."""

import cv2
from da3_ros.geometry import camera
from da3_ros.geometry.arrays import Array
from da3_ros.ros.input.camera_model import CameraModel
from da3_ros.ros.input.image_decoding import RgbImage
from da3_ros.ros.input.rectified_camera import rectified_intrinsics
import numpy as np
from numpy.typing import NDArray


class Rectifier:
    """
    Undistort the images of one camera, with maps that are computed once.

    The rectified camera looks the same way as the real one (so that the frame id of the image
    still holds), and sees as much as it can without unknown pixels at the border.
    """

    def __init__(self, model: CameraModel, *, size: tuple[int, int] | None = None) -> None:
        """
        Compute the maps.

        :param model: of the camera.
        :param size: width and height of undistorted images [px], if the camera's are larger.
        :raises MessageError: if the distortion leaves too little to see.
        """
        self._maps: tuple[NDArray[np.int16], NDArray[np.uint16]] | None = None
        self.intrinsics: Array = model.intrinsics
        """(3, 3) [px] of the rectified images."""
        if not model.distortion:
            return
        full = (model.width, model.height)
        if size is None or size[0] >= full[0] or size[1] >= full[1]:
            size = full
        self.intrinsics = camera.rescale(
            rectified_intrinsics(model), scale_x=size[0] / full[0], scale_y=size[1] / full[1])
        self._maps = _maps(model, self.intrinsics, size)

    def rectify(self, image: RgbImage) -> RgbImage:
        """
        Undistort an image.

        :param image: of the size of the camera model.
        :returns: of the wanted size; the image itself where there is no distortion.
        """
        if self._maps is None:
            return image
        return cv2.remap(image, *self._maps, cv2.INTER_LINEAR)


def _maps(
    model: CameraModel, intrinsics: Array, size: tuple[int, int]
) -> tuple[NDArray[np.int16], NDArray[np.uint16]]:
    """Find where in the image every pixel of the rectified one lies, as ``distort`` does."""
    compute = cv2.initUndistortRectifyMap
    if model.distortion_model == 'equidistant':
        compute = cv2.fisheye.initUndistortRectifyMap
    k = model.intrinsics
    u, v = compute(
        k, np.array(model.distortion), np.eye(3), intrinsics, size, cv2.CV_32FC1)
    if k[0, 1] != 0.0:
        # OpenCV leaves the skew out.
        u += (v - k[1, 2]) * (k[0, 1] / k[1, 1])
    return cv2.convertMaps(u, v, cv2.CV_16SC2)
