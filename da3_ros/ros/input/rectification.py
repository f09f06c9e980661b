# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Undistort images, so that the network sees a pinhole camera."""

import cv2
from da3_ros.errors import MessageError
from da3_ros.geometry import camera
from da3_ros.ros.input.camera_model import CameraModel, check_intrinsics
from da3_ros.ros.input.image_decoding import RgbImage
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


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
        :raises MessageError: if the distortion leaves nothing to see.
        """
        self._maps: tuple[NDArray[np.int16], NDArray[np.uint16]] | None = None
        self.intrinsics: Array = model.intrinsics
        """(3, 3) [px] of the rectified images."""
        if not model.distortion:
            return
        try:
            self._rectify_by(model, size)
        except cv2.error as error:
            raise MessageError(f'CameraInfo: D {model.distortion}: {error}') from error

    def _rectify_by(self, model: CameraModel, size: tuple[int, int] | None) -> None:
        full = (model.width, model.height)
        k, d = model.intrinsics, np.array(model.distortion)
        is_fisheye = model.distortion_model == 'equidistant'
        if is_fisheye:
            rectified = cv2.fisheye.estimateNewCameraMatrixForUndistortRectify(
                k, d, full, np.eye(3), balance=0.0)
        else:
            rectified, _ = cv2.getOptimalNewCameraMatrix(k, d, full, 0.0)
        check_intrinsics(rectified, *full)
        if size is None or size[0] >= full[0] or size[1] >= full[1]:
            size = full
        self.intrinsics = camera.rescale(
            rectified, scale_x=size[0] / full[0], scale_y=size[1] / full[1])
        compute = cv2.fisheye.initUndistortRectifyMap if is_fisheye else (
            cv2.initUndistortRectifyMap)
        self._maps = compute(k, d, np.eye(3), self.intrinsics, size, cv2.CV_16SC2)

    def rectify(self, image: RgbImage) -> RgbImage:
        """
        Undistort an image.

        :param image: of the size of the camera model.
        :returns: of the wanted size; the image itself where there is no distortion.
        """
        if self._maps is None:
            return image
        return cv2.remap(image, *self._maps, cv2.INTER_LINEAR)
