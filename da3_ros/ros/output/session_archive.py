# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The keyframes of the session, remembered for the save service."""

from collections.abc import Callable
import threading

from da3_ros.export.session import Session
from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.archive import Archive, pack
from da3_ros.mapping.correction import MapCorrection
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.ros.output.depth_mask import mask_depth
from da3_ros.ros.output.placement import PlacedKeyframe
from da3_ros.ros.parameters.settings import NodeSettings
import numpy as np
from numpy.typing import NDArray

# Fewer could not be thinned out.
_MIN_KEYFRAMES = 2


class SessionArchive:
    """Written by the worker's thread, read by any."""

    def __init__(self, settings: Callable[[], NodeSettings]) -> None:
        """
        Start empty.

        :param settings: gives the newest snapshot.
        """
        self._settings = settings
        self._lock = threading.Lock()
        self._archive = Archive()
        self._frame = ''
        self._frame_T_map: NDArray[np.float64] = np.eye(4)
        self._num_corrections = 0

    def begin_session(self) -> None:
        """Forget the world so far."""
        with self._lock:
            self._archive = Archive()

    def add(
        self, keyframe: PosedKeyframe, map_T_odom: NDArray[np.float64], placed: PlacedKeyframe
    ) -> None:
        """
        Remember a keyframe.

        :param keyframe: with a pose.
        :param map_T_odom: (4, 4) the pipeline's correction of its ``odom``.
        :param placed: tells the frame that everything is saved in.
        """
        settings = self._settings()
        if settings.save.max_keyframes == 0:
            return
        packed = pack(
            keyframe, mask_depth(keyframe.depth, keyframe.confidence, settings.depth),
            Sim3.from_rigid(map_T_odom @ keyframe.odom_T_camera))
        with self._lock:
            self._archive.add(
                packed, max_keyframes=max(_MIN_KEYFRAMES, settings.save.max_keyframes))
            self._frame, self._frame_T_map = placed.path_frame, placed.path_T_map

    def correct(self, correction: MapCorrection, placed: PlacedKeyframe | None) -> None:
        """
        Move all keyframes.

        :param correction: of the pipeline's ``map``.
        :param placed: tells the frame from now on, or None where it stays.
        """
        with self._lock:
            self._archive.correct(correction)
            self._num_corrections += 1
            if placed is not None:
                self._frame, self._frame_T_map = placed.path_frame, placed.path_T_map

    def session(self) -> Session:
        """Return the session as it is known now."""
        with self._lock:
            return Session(
                self._archive.keyframes, self._archive.poses, self._frame, self._frame_T_map,
                self._num_corrections)
