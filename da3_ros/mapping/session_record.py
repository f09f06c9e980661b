# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The one record of a session's past: bounded, packed, and corrected in one place."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
import functools
import threading

from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.correction import MapCorrection
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.picture import from_jpeg
import numpy as np
from numpy.typing import NDArray

# Poses are small: they are kept for long after their pictures had to go.
_MIN_POSES = 10_000
# Fewer keyframes could not be thinned out.
_MIN_KEYFRAMES = 2


@dataclass(frozen=True, eq=False)
class RecordedPose:
    """
    Where a keyframe was.

    :param id: the keyframe's.
    :param stamp_ns: the frame's.
    :param frame_id: the frame's.
    :param map_S_camera: as corrected by now; its scale is that of the depth as recorded.
    """

    id: int  # noqa: A003
    stamp_ns: int
    frame_id: str
    map_S_camera: Sim3


@dataclass(frozen=True, eq=False)
class CameraImage:
    """
    A keyframe's image at the size at which the camera sent it, rectified.

    :param jpeg: the image.
    :param width: of it.
    :param height: of it.
    :param intrinsics: (3, 3) float64 [px] of it.
    """

    jpeg: bytes
    width: int
    height: int
    intrinsics: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RecordedKeyframe:
    """
    One keyframe, packed: four bytes per pixel and a JPEG image. Where it was, its pose tells.

    :param id: the keyframe's.
    :param stamp_ns: the frame's.
    :param frame_id: the frame's.
    :param segment: the keyframe's.
    :param is_metric: whether lengths are metres.
    :param intrinsics: (3, 3) float64 [px] of the depth.
    :param jpeg: the image at the depth's size.
    :param depth: (h, w) float16 as published.
    :param confidence: (h, w) float16, or None.
    :param camera_image: the image at the camera's size, or None where it is not kept.
    """

    id: int  # noqa: A003
    stamp_ns: int
    frame_id: str
    segment: int
    is_metric: bool
    intrinsics: NDArray[np.float64]
    jpeg: bytes
    depth: NDArray[np.float16]
    confidence: NDArray[np.float16] | None
    camera_image: CameraImage | None = None

    @staticmethod
    def of(
        keyframe: PosedKeyframe, camera_image: CameraImage | None = None
    ) -> 'RecordedKeyframe':
        """
        Pack a keyframe.

        :param keyframe: with the depth as published.
        :param camera_image: its image at the camera's size, if that is to be kept.
        """
        confidence = keyframe.confidence
        with np.errstate(over='ignore'):
            return RecordedKeyframe(
                keyframe.id, keyframe.stamp_ns, keyframe.frame_id, keyframe.segment,
                keyframe.is_metric, keyframe.intrinsics, keyframe.jpeg,
                keyframe.depth.astype(np.float16),
                None if confidence is None else confidence.astype(np.float16), camera_image)

    def restored(self, frame_S_camera: Sim3) -> PosedKeyframe:
        """
        Unpack the keyframe.

        :param frame_S_camera: its pose in some frame; the depth gets the unit of that frame.
        """
        confidence = self.confidence
        return PosedKeyframe(
            id=self.id, stamp_ns=self.stamp_ns, frame_id=self.frame_id,
            image=from_jpeg(self.jpeg),
            depth=self.depth.astype(np.float32) * np.float32(frame_S_camera.scale),
            confidence=None if confidence is None else confidence.astype(np.float32),
            intrinsics=self.intrinsics, odom_T_camera=frame_S_camera.rigid_part(),
            segment=self.segment, is_metric=self.is_metric,
        )


@dataclass(frozen=True, eq=False)
class Session:
    """
    A session as it is known at one time.

    :param keyframes: that are kept, oldest first.
    :param poses: of these and of keyframes that are not kept.
    :param frame: name of the frame that everything is shown in.
    :param frame_T_map: (4, 4) where the map lies in it.
    """

    keyframes: tuple[RecordedKeyframe, ...]
    poses: tuple[RecordedPose, ...]
    frame: str
    frame_T_map: NDArray[np.float64]

    def frame_S_camera(self, keyframe_id: int) -> Sim3:
        """
        Return where a keyframe was in the frame.

        :param keyframe_id: of the session.
        """
        return Sim3.from_rigid(self.frame_T_map) @ self._map_S_camera[keyframe_id]

    def restored(self) -> Iterator[PosedKeyframe]:
        """Unpack one keyframe after the other; their poses and depths are those of the frame."""
        for keyframe in self.keyframes:
            yield keyframe.restored(self.frame_S_camera(keyframe.id))

    @functools.cached_property
    def _map_S_camera(self) -> dict[int, Sim3]:
        return {pose.id: pose.map_S_camera for pose in self.poses}


@dataclass(frozen=True, eq=False)
class Recalled:
    """
    A pose, and how much is known in it.

    :param map_S_camera: as corrected by now.
    :param num_corrections: corrections of the map so far.
    """

    map_S_camera: Sim3
    num_corrections: int


class SessionRecord:
    """
    What is remembered of a session; written by one thread, read by any.

    The path, the map for those who come late, and what is saved are all made from it, so that a
    correction of the map is applied to the past once. When there are too many keyframes, the one
    with the nearest neighbours goes, so that what remains is spread evenly over the whole session;
    its pose stays for longer.
    """

    def __init__(self, on_end: Callable[[Session], None] = lambda _session: None) -> None:
        """
        Start empty.

        :param on_end: gets every session that ends with keyframes in it; quick.
        """
        self._on_end = on_end
        self._lock = threading.Lock()
        self._last: Session | None = None
        self._keyframes: list[RecordedKeyframe] = []
        self._poses: dict[int, RecordedPose] = {}
        self._num_corrections = 0
        self._frame = ''
        self._frame_T_map: NDArray[np.float64] = np.eye(4)

    def begin_session(self) -> None:
        """Forget the world so far, but not how often the map was corrected."""
        with self._lock:
            ended = self._session() if self._keyframes else None
            self._last = ended or self._last
            self._keyframes = []
            self._poses = {}
        if ended is not None:
            self._on_end(ended)

    def add(
        self, keyframe: PosedKeyframe, map_T_odom: NDArray[np.float64], *, max_keyframes: int,
        max_poses: int = _MIN_POSES, camera_image: CameraImage | None = None,
    ) -> RecordedKeyframe:
        """
        Remember a keyframe.

        :param keyframe: the newest, with a pose and the depth as published.
        :param map_T_odom: (4, 4) the pipeline's correction of its ``odom``.
        :param max_keyframes: bound of their number; 0 remembers the pose alone.
        :param max_poses: bound of the number of poses, if it is more than that of any session.
        :param camera_image: the keyframe's at the camera's size, if that is to be kept.
        :returns: the keyframe as it is kept, or would be.
        """
        packed = RecordedKeyframe.of(keyframe, camera_image)
        pose = RecordedPose(
            keyframe.id, keyframe.stamp_ns, keyframe.frame_id,
            Sim3.from_rigid(map_T_odom @ keyframe.odom_T_camera))
        with self._lock:
            self._last = None
            self._poses[keyframe.id] = pose
            if max_keyframes:
                self._keyframes.append(packed)
                while len(self._keyframes) > max(_MIN_KEYFRAMES, max_keyframes):
                    del self._keyframes[_most_crowded([kept.id for kept in self._keyframes])]
            if len(self._poses) > max(_MIN_POSES, max_poses):
                self._thin_out_poses()
        return packed

    def correct(self, correction: MapCorrection) -> None:
        """
        Move everything.

        :param correction: of the map.
        """
        with self._lock:
            self._num_corrections += 1
            self._poses = {
                pose.id: replace(
                    pose, map_S_camera=correction.move_of(pose.id) @ pose.map_S_camera)
                for pose in self._poses.values()}

    def show(self, frame: str, frame_T_map: NDArray[np.float64]) -> None:
        """
        Tell in which frame the past is shown from now on.

        :param frame: its name.
        :param frame_T_map: (4, 4) where the map lies in it.
        """
        with self._lock:
            self._frame, self._frame_T_map = frame, frame_T_map

    @property
    def num_corrections(self) -> int:
        """Return how often the map was corrected, in all sessions."""
        with self._lock:
            return self._num_corrections

    @property
    def shown(self) -> tuple[str, NDArray[np.float64]]:
        """Return the frame that the past is shown in, and where the map lies in it."""
        with self._lock:
            return self._frame, self._frame_T_map

    def recall(self, keyframe_id: int) -> Recalled | None:
        """
        Return where a keyframe was, or None where that is forgotten.

        :param keyframe_id: of the keyframe.
        """
        with self._lock:
            pose = self._poses.get(keyframe_id)
            return None if pose is None else Recalled(pose.map_S_camera, self._num_corrections)

    def session(self) -> Session:
        """Return the session as it is known now."""
        with self._lock:
            return self._session()

    def last_session(self) -> Session:
        """Return the one before, where a new one has begun and nothing was added to it yet."""
        with self._lock:
            return self._session() if self._last is None else self._last

    def _session(self) -> Session:
        return Session(
            tuple(self._keyframes), tuple(self._poses.values()), self._frame, self._frame_T_map)

    def _thin_out_poses(self) -> None:
        """Forget every other pose, but none of a keyframe that is kept, nor the newest."""
        kept = {keyframe.id for keyframe in self._keyframes}
        kept.add(next(reversed(self._poses)))
        self._poses = {
            pose.id: pose for number, pose in enumerate(self._poses.values())
            if number % 2 == 0 or pose.id in kept}


def _most_crowded(ids: Sequence[int]) -> int:
    """Return the index, neither the first nor the last, whose neighbours are nearest."""
    return min(range(1, len(ids) - 1), key=lambda i: ids[i + 1] - ids[i - 1])
