# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Pictures become rectified frames with poses, as the live node makes them."""

from collections.abc import Iterator
from typing import Any

from da3_ros.errors import MessageError
from da3_ros.mapping.keyframe import Frame
from da3_ros.offline.input.robot import NoRobot, Robot
from da3_ros.offline.input.source import Losses, Shot, Source
from da3_ros.ros.input.camera_model import read_camera_model
from da3_ros.ros.input.rectification import Rectifier
from da3_ros.ros.input.rig_views import plan_view, RigViews
from da3_ros.ros.parameters.settings import NodeSettings

_DEFAULT_FRAME_ID = 'camera_optical_frame'
# As in the node: pixels that the network will not see cost most.
_SPARE = 2


class FrameMaker:
    """Make frames of the pictures of all cameras."""

    def __init__(
        self, settings: NodeSettings, losses: Losses, robot: Robot | None = None
    ) -> None:
        """
        Know no calibration yet.

        :param settings: of the cameras, and of what the network makes of their images.
        :param losses: where it is noted what does not come out.
        :param robot: who says where the cameras were; None: nobody.
        """
        self._losses = losses
        self._robot = NoRobot() if robot is None else robot
        self._views = RigViews(settings.preprocess, settings.camera.max_gap_s)
        self._lenses = {name: _Lens(settings, losses) for name in settings.camera.names}

    def frames(self, source: Source) -> Iterator[Frame]:
        """
        Make frames of all pictures.

        :param source: of the recording.
        """
        for shot in source.shots():
            try:
                frame = self._frame(shot)
                self._views.note(frame.camera, self._views.check(frame))
            except MessageError as error:
                self._losses.note_image(str(error))
            else:
                yield frame

    def _frame(self, shot: Shot) -> Frame:
        height, width = shot.image.shape[:2]
        rectifier = self._lenses[shot.camera].newest_rectifier(shot.camera_info, width, height)
        frame_id = shot.frame_id.lstrip('/') or (
            f'{shot.camera}_{_DEFAULT_FRAME_ID}' if shot.camera else _DEFAULT_FRAME_ID)
        poses = self._robot.poses(shot, frame_id)
        return Frame(
            stamp_ns=shot.stamp_ns,
            image=shot.image if rectifier is None else rectifier.rectify(shot.image),
            intrinsics=None if rectifier is None else rectifier.intrinsics,
            frame_id=frame_id,
            robot_T_camera=poses.robot_T_camera,
            camera=shot.camera,
            # Not the time of this machine: the same recording gives the same frames.
            received_s=shot.time_ns * 1e-9,
            base_T_camera=poses.base_T_camera,
            encoding=shot.encoding,
        )


class _Lens:
    """Rectify the pictures of one camera."""

    def __init__(self, settings: NodeSettings, losses: Losses) -> None:
        self._settings = settings
        self._losses = losses
        self._key: tuple[Any, tuple[int, int]] | None = None
        self._rectifier: Rectifier | None = None

    def newest_rectifier(self, info: Any, width: int, height: int) -> Rectifier | None:
        """Return what rectifies by the newest calibration that can be used."""
        if info is None:
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
            view_height, view_width = plan_view(
                self._settings.preprocess, width, height).resized[-1]
            size = (_SPARE * view_width, _SPARE * view_height)
        return Rectifier(model, size=size)
