# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Cameras by classical means, to compare a network with: features, matches, geometry.

Both are told the camera's intrinsics, which the network is not. What they cannot find they say.
"""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
import tempfile

import cv2
from da3_ros.geometry import rigid
from da3_ros.geometry.arrays import Array
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

_MAX_FEATURES = 4000
_MAX_RATIO = 0.8
_MAX_ERROR_PX = 1.0
_MIN_INLIERS = 20


def two_view_motions(images: Sequence[Image], intrinsics: Array) -> Array:
    """
    Find the motion between the views of every pair: SIFT, essential matrix (OpenCV).

    :param images: N images (H, W, 3) RGB of one size.
    :param intrinsics: (3, 3) [px].
    :returns: (N (N - 1) / 2, 3, 4) first_T_second with translations of unit length, pairs in the
        order of ``itertools.combinations``; no motion where too little matches.
    """
    sift = cv2.SIFT_create(_MAX_FEATURES)
    features = [sift.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None)
                for image in images]
    return np.stack([
        _motion(first, second, intrinsics) for first, second in combinations(features, 2)])


def _motion(
    first: tuple[Sequence[cv2.KeyPoint], NDArray[np.float32] | None],
    second: tuple[Sequence[cv2.KeyPoint], NDArray[np.float32] | None], intrinsics: Array,
) -> Array:
    still = np.eye(3, 4)
    points = _matches(first, second)
    if len(points) < _MIN_INLIERS:
        return still
    essential, inliers = cv2.findEssentialMat(
        points[:, 0], points[:, 1], intrinsics, cv2.USAC_MAGSAC, 0.9999, _MAX_ERROR_PX)
    if essential is None or essential.shape != (3, 3):
        return still
    count, rotation, translation, _ = cv2.recoverPose(
        essential, points[:, 0], points[:, 1], intrinsics, mask=inliers)
    if count < _MIN_INLIERS:
        return still
    second_T_first = rigid.from_rotation_translation(rotation, translation[:, 0])
    motion: Array = rigid.inverse(second_T_first)[:3]
    return motion


def _matches(
    first: tuple[Sequence[cv2.KeyPoint], NDArray[np.float32] | None],
    second: tuple[Sequence[cv2.KeyPoint], NDArray[np.float32] | None],
) -> Array:
    """Return (M, 2, 2): the places of what looks alike, clearly more than anything else does."""
    if first[1] is None or second[1] is None or min(len(first[1]), len(second[1])) < 2:
        return np.zeros((0, 2, 2))
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(first[1], second[1], k=2)
    return np.array([
        (first[0][best.queryIdx].pt, second[0][best.trainIdx].pt)
        for best, other in pairs if best.distance < _MAX_RATIO * other.distance
    ]).reshape(-1, 2, 2)


def structure_from_motion(images: Sequence[Image], intrinsics: Array) -> list[Array | None]:
    """
    Find the cameras of a window with COLMAP (``pip install pycolmap``), on the CPU.

    :param images: N images (H, W, 3) RGB of one size.
    :param intrinsics: (3, 3) [px]; kept as they are.
    :returns: N poses world_T_camera (4, 4) in one frame and unit, None for what was not placed.
    """
    import pycolmap

    pycolmap.logging.minloglevel = 3
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / 'images').mkdir()
        for number, image in enumerate(images):
            cv2.imwrite(str(folder / 'images' / f'{number:04}.png'), image[..., ::-1])
        parameters = ','.join(str(x) for x in intrinsics[(0, 1, 0, 1), (0, 1, 2, 2)])
        pycolmap.extract_features(
            folder / 'features.db', folder / 'images', camera_mode=pycolmap.CameraMode.SINGLE,
            reader_options=pycolmap.ImageReaderOptions(
                camera_model='PINHOLE', camera_params=parameters),
            device=pycolmap.Device.cpu)
        pycolmap.match_exhaustive(
            folder / 'features.db', device=pycolmap.Device.cpu,
            matching_options=pycolmap.FeatureMatchingOptions(num_threads=1),
            verification_options=pycolmap.TwoViewGeometryOptions(
                ransac=pycolmap.RANSACOptions(random_seed=0)))
        models = pycolmap.incremental_mapping(
            folder / 'features.db', folder / 'images', folder / 'models',
            pycolmap.IncrementalPipelineOptions(
                random_seed=0, num_threads=1, min_model_size=3, ba_refine_focal_length=False,
                ba_refine_extra_params=False))
    poses: list[Array | None] = [None] * len(images)
    if models:
        largest = max(models.values(), key=lambda model: model.num_reg_images())
        for image in largest.images.values():
            if image.has_pose:
                camera_T_world = np.vstack((image.cam_from_world().matrix(), (0, 0, 0, 1)))
                poses[int(Path(image.name).stem)] = rigid.inverse(camera_T_world)
    return poses
