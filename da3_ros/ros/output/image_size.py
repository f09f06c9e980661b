# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A keyframe at the size of the camera's image instead of that of the network's view."""

from dataclasses import replace

from da3_ros.geometry import camera
from da3_ros.inference.preprocessing import plan_processing, ProcessPlan, view_T_image
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.picture import Picture
from da3_ros.mapping.session_record import CameraImage
from da3_ros.mapping.upsampling import upsample_confidence, upsample_depth
from da3_ros.ros.parameters.settings import PreprocessSettings
import numpy as np
from numpy.typing import NDArray


def at_image_size(keyframe: PosedKeyframe, settings: PreprocessSettings) -> PosedKeyframe:
    """
    Bring image, depth, confidence and intrinsics to the size of the rectified image.

    :param keyframe: with what the network saw.
    :param settings: by which the image became the network's view.
    :returns: the same keyframe, finer; unknown where the network did not look.
    """
    image = keyframe.source
    if image is None or image.shape == keyframe.image.shape:
        return keyframe
    small_T_large = _view_T_source(keyframe, image, settings)
    return replace(
        keyframe,
        image=image,
        depth=upsample_depth(keyframe.depth, keyframe.image, image, small_T_large),
        confidence=None if keyframe.confidence is None else upsample_confidence(
            keyframe.confidence, (image.shape[0], image.shape[1]), small_T_large),
        intrinsics=_source_intrinsics(keyframe, small_T_large),
    )


def camera_image(
    keyframe: PosedKeyframe, settings: PreprocessSettings
) -> CameraImage | None:
    """
    Compress the rectified image.

    :param keyframe: with what the network saw.
    :param settings: by which the image became the network's view.
    :returns: it with its intrinsics, or None where the network saw no other one.
    """
    image = keyframe.source
    if image is None or image.shape == keyframe.image.shape:
        return None
    small_T_large = _view_T_source(keyframe, image, settings)
    return CameraImage(
        Picture(image).jpeg, image.shape[1], image.shape[0],
        _source_intrinsics(keyframe, small_T_large))


def _view_T_source(
    keyframe: PosedKeyframe, image: NDArray[np.uint8], settings: PreprocessSettings
) -> NDArray[np.float64]:
    height, width = image.shape[:2]
    view_size = (keyframe.depth.shape[0], keyframe.depth.shape[1])
    plan = plan_processing(height, width, size=settings.size, method=settings.method)
    if plan.size != view_size:
        # With model.name auto the resolution is another one, of images that are not cut.
        plan = ProcessPlan((view_size,), view_size)
    return view_T_image((height, width), plan)


def _source_intrinsics(
    keyframe: PosedKeyframe, view_T_source: NDArray[np.float64]
) -> NDArray[np.float64]:
    return camera.from_network(
        np.linalg.inv(view_T_source) @ camera.to_network(keyframe.intrinsics))
