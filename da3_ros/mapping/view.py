# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What one window asks the engine, and its answer in the conventions of the mapping layer."""

from collections.abc import Sequence
from dataclasses import dataclass
import functools

from da3_ros.errors import IntrinsicsError, PredictionError
from da3_ros.geometry import camera
from da3_ros.inference.prediction import WindowPrediction
from da3_ros.mapping.keyframe import Keyframe
from da3_ros.mapping.picture import Picture
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class View:
    """
    One keyframe as one window saw it, in the window's frame and unit.

    :param keyframe: the keyframe.
    :param image: (h, w, 3) uint8 RGB at the depth's size.
    :param depth: (h, w) float32 z, NaN where unknown, +inf in the sky.
    :param confidence: (h, w) float32, or None.
    :param intrinsics: (3, 3) float64 [px] of ``depth``, pixel centres at integers.
    :param window_T_camera: (4, 4) float64, or None where the network estimates no cameras.
    :param appearance: (D,) float32 what it looks like, or None where the engine does not say.
    :param own_T_camera: (4, 4) float64 where the network itself sees the camera, or None where
        ``window_T_camera`` is just that.
    """

    keyframe: Keyframe
    image: NDArray[np.uint8]
    depth: NDArray[np.float32]
    confidence: NDArray[np.float32] | None
    intrinsics: NDArray[np.float64]
    window_T_camera: NDArray[np.float64] | None
    appearance: NDArray[np.float32] | None
    own_T_camera: NDArray[np.float64] | None = None

    @property
    def seen_T_camera(self) -> NDArray[np.float64] | None:
        """Return where the network sees the camera, whatever it was given, (4, 4) or None."""
        return self.window_T_camera if self.own_T_camera is None else self.own_T_camera

    @functools.cached_property
    def picture(self) -> Picture:
        """Return the image, for those who compress it."""
        return Picture(self.image)


def known_intrinsics(keyframes: Sequence[Keyframe]) -> NDArray[np.float64] | None:
    """
    Return the corner-origin intrinsics of one window's images, or None where none are known.

    A frame that came without takes those of its camera's others; NaN if they have none either.

    :param keyframes: N keyframes.
    :returns: (N, 3, 3).
    """
    known = {
        k.frame.camera: k.frame.intrinsics for k in keyframes if k.frame.intrinsics is not None
    }
    if not known:
        return None
    unknown = np.full((3, 3), np.nan)
    return camera.to_network(np.stack([
        known.get(k.frame.camera, unknown) if k.frame.intrinsics is None else k.frame.intrinsics
        for k in keyframes
    ]))


def read_views(
    prediction: WindowPrediction, keyframes: Sequence[Keyframe]
) -> tuple[View, ...]:
    """
    Pair a prediction with the keyframes it was made from.

    A keyframe whose intrinsics neither a CameraInfo nor the network knows is left out: its depth
    lies on no known rays, and has no metres where those depend on the focal length.

    :param prediction: of these keyframes, in this order.
    :param keyframes: N keyframes.
    :returns: at most N views, at least one.
    :raises IntrinsicsError: if none has intrinsics.
    :raises PredictionError: if views are missing, a view has no usable depth, or its intrinsics,
        pose or confidence are not finite.
    """
    if prediction.num_views != len(keyframes):
        raise PredictionError(
            f'window: got {prediction.num_views} views for {len(keyframes)} keyframes'
        )
    known = prediction.intrinsics
    if known is None or np.isnan(known).all():
        if known_intrinsics(keyframes) is not None:
            raise PredictionError('intrinsics: got none, expected at least those that were given')
        raise IntrinsicsError(
            f'keyframe {keyframes[0].id}: this network needs the camera intrinsics (CameraInfo)')
    return tuple(
        _read_view(prediction, i, known[i], keyframe) for i, keyframe in enumerate(keyframes)
        if not np.isnan(known[i]).all()
    )


def _read_view(
    prediction: WindowPrediction, index: int, intrinsics: NDArray[np.float64], keyframe: Keyframe
) -> View:
    """
    Read a view; its intrinsics are the CameraInfo's, else the network's.

    The engine gives known intrinsics back as its preprocessing carried them along (resized or
    cropped), so that only it needs to know how it resizes.
    """
    pose = None if prediction.poses is None else prediction.poses[index]
    confidence = None if prediction.confidence is None else prediction.confidence[index]
    appearance = None if prediction.appearance is None else prediction.appearance[index]
    own_pose = None if prediction.own_poses is None else prediction.own_poses[index]
    for name, values in (
        ('intrinsics', intrinsics), ('pose', pose), ('own pose', own_pose),
        ('confidence', confidence),
    ):
        if values is not None and not np.isfinite(values).all():
            raise PredictionError(f'keyframe {keyframe.id}: {name} not finite')
    depth = _read_depth(prediction, index, keyframe)
    image = prediction.images[index]
    return View(
        keyframe, image, depth, confidence, camera.from_network(intrinsics), pose, appearance,
        own_pose)


def _read_depth(
    prediction: WindowPrediction, index: int, keyframe: Keyframe
) -> NDArray[np.float32]:
    depth: NDArray[np.float32] = prediction.depth[index].astype(np.float32)
    depth[~(np.isfinite(depth) & (depth > 0.0))] = np.nan
    if np.isnan(depth).all():
        raise PredictionError(f'keyframe {keyframe.id}: no depth is finite and positive')
    if prediction.sky is not None:
        depth[prediction.sky[index]] = np.inf
    return depth
