# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The frames of all cameras become keyframes and go to the worker."""

from collections.abc import Callable, Iterable, Mapping

from da3_ros.mapping.frame_stream import FrameStream
from da3_ros.mapping.keyframe import Frame, Instant, Keyframe
from da3_ros.mapping.session_watch import Refusal, Refused
from da3_ros.ros.input.image_intake import ImageIntake
from da3_ros.ros.input.rig_views import RigViews
from da3_ros.ros.insight.counters import Counters, Event
from da3_ros.ros.insight.health import Health
from da3_ros.ros.insight.repetition import Repetition
from da3_ros.ros.parameters.settings import CameraSettings, PreprocessSettings
from rclpy.impl.rcutils_logger import RcutilsLogger

_EVENT_OF_REFUSAL = {
    Refusal.DUPLICATE: Event.DUPLICATE,
    Refusal.LATE: Event.LATE,
    Refusal.WRONG_STAMP: Event.WRONG_STAMP,
    Refusal.FOREIGN: Event.FOREIGN,
}


class RigIntake:
    """
    Pass the frames of all cameras on as one stream, and count what becomes of them.

    Everything runs in the executor's thread.
    """

    def __init__(
        self, settings: CameraSettings, preprocess: PreprocessSettings, *, stream: FrameStream,
        offer: Callable[[Instant], None], counters: Mapping[str, Counters], health: Health,
        logger: RcutilsLogger, keeps_size: bool = False,
        offer_live: Callable[[Keyframe], None] = lambda _frame: None,
    ) -> None:
        """
        Wait for the first image.

        :param settings: which cameras there are, and how images are received.
        :param preprocess: what the network makes of their size.
        :param stream: decides where sessions begin and what is kept.
        :param offer: takes keyframes.
        :param counters: of every camera.
        :param health: of the node.
        :param logger: of the node.
        :param keeps_size: rectified images are as large as the cameras'.
        :param offer_live: takes live frames.
        """
        self._settings = settings
        self._stream = stream
        self._offer_to = offer
        self._offer_live_to = offer_live
        self._counters = counters
        self._loggers = {
            name: logger.get_child(name) if name else logger for name in settings.names}
        self._told = {name: Repetition() for name in settings.names}
        self._views = RigViews(preprocess, settings.max_gap_s)
        self._absent: set[str] = set()
        self._is_idle = False
        self.cameras = {
            name: ImageIntake(
                name, settings, preprocess, take=self._take, counters=counters[name],
                health=health, logger=self._loggers[name], keeps_size=keeps_size,
            ) for name in settings.names
        }

    def set_paused(self, is_paused: bool) -> None:
        """
        Ignore images, or stop ignoring them.

        :param is_paused: which.
        """
        for camera in self.cameras.values():
            camera.is_paused = is_paused

    def release(self) -> None:
        """Offer what waits for the images of other cameras."""
        self._offer(self._stream.release())

    def release_if_idle(self) -> None:
        """Do so if no frame has come since the last call, and drop what nothing has confirmed."""
        if self._is_idle:
            self.release()
            self._refuse(self._stream.expire())
        self._is_idle = True

    def restart(self) -> None:
        """Keep the next frame, whatever it shows; what waits is offered first."""
        self.release()
        self._stream.restart()

    def close(self) -> None:
        """Offer or count what waits: no more images come."""
        ended = self._stream.end()
        self._offer(ended.instants)
        self._refuse(ended.refused)

    def _take(self, frame: Frame) -> None:
        self._is_idle = False
        view = self._views.check(frame)
        taken = self._stream.take(frame)
        self._refuse(taken.refused)
        for admitted in taken.admitted:
            if admitted.frame is frame:
                self._views.note(frame.camera, view)
            if admitted.new_session is not None:
                self._counters[admitted.frame.camera].add(Event.SESSIONS)
        self._offer(taken.instants)
        for live in taken.live:
            self._offer_live_to(live)

    def _refuse(self, refused: Iterable[Refused]) -> None:
        for each in refused:
            camera = each.frame.camera
            self._counters[camera].add(_EVENT_OF_REFUSAL[each.refusal])
            if each.refusal is Refusal.FOREIGN:
                line = self._told[camera].line(
                    'image dropped: two cameras seem to publish on this topic: '
                    f'{each.detail}, and back again')
                if line is not None:
                    self._loggers[camera].error(line)
            elif each.refusal is Refusal.WRONG_STAMP:
                line = self._told[camera].line(
                    f'image dropped: its stamp {each.frame.stamp_ns} ns is of another time than '
                    f'those around it: {each.detail}')
                if line is not None:
                    self._loggers[camera].warning(line)

    def _offer(self, instants: Iterable[Instant]) -> None:
        for instant in instants:
            for keyframe in instant.keyframes:
                self._counters[keyframe.frame.camera].add(Event.KEYFRAMES)
            self._note_absent(self.cameras.keys() - {k.frame.camera for k in instant.keyframes})
            self._offer_to(instant)

    def _note_absent(self, absent: set[str]) -> None:
        """Tell which cameras the windows do without from now on, and which they have again."""
        for camera in absent:
            self._counters[camera].add(Event.ABSENT)
        for camera in absent - self._absent:
            line = self._told[camera].line(
                f'no image within {self._settings.sync_tolerance_s} s of the other cameras: '
                'the windows go on without')
            if line is not None:
                self._loggers[camera].warning(line)
        for camera in self._absent - absent:
            line = self._told[camera].line('the windows have its images again')
            if line is not None:
                self._loggers[camera].info(line)
        self._absent = absent
