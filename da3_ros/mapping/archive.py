# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A bounded memory of a session, small enough to be kept until somebody saves it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.correction import MapCorrection
from da3_ros.mapping.keyframe import PosedKeyframe
import numpy as np
from numpy.typing import NDArray

# Poses are small: they are kept for long after their pictures had to go.
_MAX_POSES = 10_000
_JPEG_QUALITY = 95


@dataclass(frozen=True, eq=False)
class ArchivedPose:
    """
    Where a keyframe was.

    :param id: the keyframe's.
    :param stamp_ns: the frame's.
    :param frame_id: the frame's.
    :param map_S_camera: as corrected by now; its scale is that of the depth as published.
    """

    id: int  # noqa: A003
    stamp_ns: int
    frame_id: str
    map_S_camera: Sim3

    def moved(self, correction: MapCorrection) -> 'ArchivedPose':
        """
        Correct the pose.

        :param correction: of the map.
        """
        move = correction.move_of(self.id)
        return replace(self, map_S_camera=move @ self.map_S_camera)


@dataclass(frozen=True, eq=False)
class ArchivedKeyframe:
    """
    One keyframe, packed: four bytes per pixel and a JPEG image.

    :param pose: where it was.
    :param segment: the keyframe's.
    :param is_metric: whether lengths are metres.
    :param intrinsics: (3, 3) float64 [px] of the depth.
    :param jpeg: the image at the depth's size.
    :param depth: (h, w) float16 as published.
    :param confidence: (h, w) float16, or None.
    """

    pose: ArchivedPose
    segment: int
    is_metric: bool
    intrinsics: NDArray[np.float64]
    jpeg: bytes
    depth: NDArray[np.float16]
    confidence: NDArray[np.float16] | None

    def moved(self, correction: MapCorrection) -> 'ArchivedKeyframe':
        """
        Correct the pose.

        :param correction: of the map.
        """
        return replace(self, pose=self.pose.moved(correction))

    def restored(self, frame_S_camera: Sim3) -> PosedKeyframe:
        """
        Unpack the keyframe.

        :param frame_S_camera: its pose in some frame; the depth gets the unit of that frame.
        """
        bgr = cv2.imdecode(np.frombuffer(self.jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert bgr is not None
        confidence = self.confidence
        return PosedKeyframe(
            id=self.pose.id, stamp_ns=self.pose.stamp_ns,
            frame_id=self.pose.frame_id,
            image=np.ascontiguousarray(bgr[..., ::-1], dtype=np.uint8),
            depth=self.depth.astype(np.float32) * np.float32(frame_S_camera.scale),
            confidence=None if confidence is None else confidence.astype(np.float32),
            intrinsics=self.intrinsics, odom_T_camera=frame_S_camera.rigid_part(),
            segment=self.segment, is_metric=self.is_metric,
        )


def pack(
    keyframe: PosedKeyframe, depth: NDArray[np.float32], map_S_camera: Sim3
) -> ArchivedKeyframe:
    """
    Pack a keyframe.

    :param keyframe: with a pose.
    :param depth: (h, w) as published.
    :param map_S_camera: its pose.
    """
    bgr = np.ascontiguousarray(keyframe.image[..., ::-1])
    _, jpeg = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    confidence = keyframe.confidence
    with np.errstate(over='ignore'):
        return ArchivedKeyframe(
            ArchivedPose(keyframe.id, keyframe.stamp_ns, keyframe.frame_id, map_S_camera),
            keyframe.segment, keyframe.is_metric, keyframe.intrinsics,
            jpeg.tobytes(), depth.astype(np.float16),
            None if confidence is None else confidence.astype(np.float16))


class Archive:
    """
    The keyframes of a session, oldest first.

    When there are too many, the one with the nearest neighbours goes, so that what remains is
    spread evenly over the whole session; its pose stays for longer.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._keyframes: list[ArchivedKeyframe] = []
        self._poses: list[ArchivedPose] = []

    @property
    def keyframes(self) -> tuple[ArchivedKeyframe, ...]:
        """Return what is kept."""
        return tuple(self._keyframes)

    @property
    def poses(self) -> tuple[ArchivedPose, ...]:
        """Return the poses of these and of keyframes that had to go."""
        return tuple(self._poses)

    def add(self, keyframe: ArchivedKeyframe, *, max_keyframes: int) -> None:
        """
        Keep a keyframe.

        :param keyframe: the newest.
        :param max_keyframes: bound of their number, at least 2.
        """
        self._keyframes.append(keyframe)
        while len(self._keyframes) > max_keyframes:
            del self._keyframes[_most_crowded([kept.pose.id for kept in self._keyframes])]
        self._poses.append(keyframe.pose)
        if len(self._poses) > _MAX_POSES:
            del self._poses[1::2]

    def correct(self, correction: MapCorrection) -> None:
        """
        Move all keyframes.

        :param correction: of the map.
        """
        self._keyframes = [keyframe.moved(correction) for keyframe in self._keyframes]
        self._poses = [pose.moved(correction) for pose in self._poses]


def _most_crowded(ids: Sequence[int]) -> int:
    """Return the index, neither the first nor the last, whose neighbours are nearest."""
    return min(range(1, len(ids) - 1), key=lambda i: ids[i + 1] - ids[i - 1])
