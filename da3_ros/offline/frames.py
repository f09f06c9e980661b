# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Pictures become rectified frames, as the live node makes them."""

from collections.abc import Iterator
from typing import Any

from da3_ros.errors import MessageError
from da3_ros.inference.preprocessing import plan_processing
from da3_ros.mapping.keyframe import Frame
from da3_ros.offline.source import Losses, Shot, Source
from da3_ros.ros.input.camera_model import read_camera_model
from da3_ros.ros.input.rectification import Rectifier
from da3_ros.ros.parameters.settings import NodeSettings

_DEFAULT_FRAME_ID = 'camera_optical_frame'
# As in the node: pixels that the network will not see cost most.
_SPARE = 2


class FrameMaker:
    """Rectify the pictures of one camera."""

    def __init__(self, settings: NodeSettings, losses: Losses) -> None:
        """
        Know no calibration yet.

        :param settings: of the camera, and of what the network makes of its images.
        :param losses: where it is noted what does not come out.
        """
        self._settings = settings
        self._losses = losses
        self._key: tuple[Any, tuple[int, int]] | None = None
        self._rectifier: Rectifier | None = None

    def frames(self, source: Source) -> Iterator[Frame]:
        """
        Make frames of all pictures.

        :param source: of the recording.
        """
        for shot in source.shots():
            try:
                yield self._frame(shot)
            except MessageError as error:
                self._losses.images[str(error)] += 1

    def _frame(self, shot: Shot) -> Frame:
        height, width = shot.image.shape[:2]
        rectifier = self._newest_rectifier(shot.camera_info, width, height)
        return Frame(
            stamp_ns=shot.stamp_ns,
            image=shot.image if rectifier is None else rectifier.rectify(shot.image),
            intrinsics=None if rectifier is None else rectifier.intrinsics,
            frame_id=shot.frame_id.lstrip('/') or _DEFAULT_FRAME_ID,
            camera=self._settings.camera.names[0],
            # Not the time of this machine: the same recording gives the same frames.
            received_s=shot.time_ns * 1e-9,
            encoding=shot.encoding,
        )

    def _newest_rectifier(self, info: Any, width: int, height: int) -> Rectifier | None:
        """Return what rectifies by the newest calibration that can be used."""
        if info is None:
            self._plan(width, height)
            return None
        key = (info, (width, height))
        if key != self._key:
            is_same_size = self._key is not None and self._key[1] == key[1]
            self._key = key
            try:
                self._rectifier = self._compute(info, width, height)
            except MessageError as error:
                # A bad one among good ones takes nothing away.
                self._rectifier = self._rectifier if is_same_size else None
                self._note(error)
        return self._rectifier

    def _note(self, error: MessageError) -> None:
        instead = (
            'the network estimates the intrinsics' if self._rectifier is None
            else 'the last usable one is kept')
        note = f'{error}; {instead}'
        if note not in self._losses.recording:
            self._losses.recording.append(note)

    def _compute(self, info: Any, width: int, height: int) -> Rectifier:
        model = read_camera_model(
            info, width=width, height=height, is_rectified=not self._settings.camera.rectify)
        size = (width, height)
        if self._settings.depth.size == 'network':
            view_height, view_width = self._plan(width, height)
            size = (_SPARE * view_width, _SPARE * view_height)
        return Rectifier(model, size=size)

    def _plan(self, width: int, height: int) -> tuple[int, int]:
        """
        Foresee what the network will see.

        :raises MessageError: if that is nothing.
        """
        preprocess = self._settings.preprocess
        try:
            return plan_processing(
                height, width, size=preprocess.size, method=preprocess.method).resized[-1]
        except ValueError as error:
            raise MessageError(f'image size: {error}') from error
