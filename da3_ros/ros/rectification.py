# Copyright 2026 The da3_ros authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""Undistort images, so that the network sees a pinhole camera."""

import cv2
from da3_ros.errors import MessageError
from da3_ros.ros.camera_model import CameraModel, check_intrinsics
from da3_ros.ros.image_decoding import RgbImage
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Rectifier:
    """
    Undistort the images of one camera, with maps that are computed once.

    The rectified camera looks the same way as the real one (so that the frame id of the image
    still holds), and sees as much as it can without unknown pixels at the border.
    """

    def __init__(self, model: CameraModel) -> None:
        """
        Compute the maps.

        :param model: of the camera.
        :raises MessageError: if the distortion leaves nothing to see.
        """
        self._maps: tuple[NDArray[np.int16], NDArray[np.uint16]] | None = None
        self.intrinsics: Array = model.intrinsics
        """(3, 3) [px] of the rectified images."""
        if not model.distortion:
            return
        try:
            self._rectify_by(model)
        except cv2.error as error:
            raise MessageError(f'CameraInfo: D {model.distortion}: {error}') from error
        check_intrinsics(self.intrinsics, model.width, model.height)

    def _rectify_by(self, model: CameraModel) -> None:
        size = (model.width, model.height)
        k, d = model.intrinsics, np.array(model.distortion)
        if model.distortion_model == 'equidistant':
            self.intrinsics = cv2.fisheye.estimateNewCameraMatrixForUndistortRectify(
                k, d, size, np.eye(3), balance=0.0
            )
            self._maps = cv2.fisheye.initUndistortRectifyMap(
                k, d, np.eye(3), self.intrinsics, size, cv2.CV_16SC2
            )
        else:
            self.intrinsics, _ = cv2.getOptimalNewCameraMatrix(k, d, size, 0.0)
            self._maps = cv2.initUndistortRectifyMap(
                k, d, np.eye(3), self.intrinsics, size, cv2.CV_16SC2
            )

    def rectify(self, image: RgbImage) -> RgbImage:
        """
        Undistort an image.

        :param image: of the size of the camera model.
        :returns: of the same size; the image itself where there is no distortion.
        """
        if self._maps is None:
            return image
        return cv2.remap(image, *self._maps, cv2.INTER_LINEAR)
