# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The frames of all cameras become keyframes and go to the worker."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from da3_ros.errors import MessageError
from da3_ros.mapping.keyframe import Frame, Instant
from da3_ros.ros.input.image_intake import ImageIntake, plan_view
from da3_ros.ros.input.session_watch import Arrival, SessionWatch, StreamSignature
from da3_ros.ros.insight.counters import Counters, Event
from da3_ros.ros.insight.health import Health
from da3_ros.ros.parameters.camera_settings import CameraSettings
from da3_ros.ros.parameters.settings import PreprocessSettings
from rclpy.impl.rcutils_logger import RcutilsLogger

_NS_PER_S = 10**9
_THROTTLE_S = 5.0
# Cameras that run free may be missing in every second instant.
_ABSENCE_THROTTLE_S = 60.0


class Selector(Protocol):
    """What tells keyframes: the pipeline."""

    def select(self, frame: Frame) -> Instant | None:
        """Take in a frame; return the instant that is complete now."""

    def ready(self) -> Instant | None:
        """Return another instant that is complete."""

    def release(self) -> Instant | None:
        """Return the instant that waits for frames."""


@dataclass(frozen=True)
class _View:
    """
    What the network sees of a camera.

    :param frame_id: of its last image.
    :param size: height and width of its view [px].
    :param stamp_ns: of its last image.
    """

    frame_id: str
    size: tuple[int, int]
    stamp_ns: int


class RigIntake:
    """
    Watch over the sessions of the cameras, and offer what they see at one time as one.

    Everything runs in the executor's thread.
    """

    def __init__(
        self, settings: CameraSettings, preprocess: PreprocessSettings, *, selector: Selector,
        offer: Callable[[Instant, str | None], None], counters: Mapping[str, Counters],
        health: Health, logger: RcutilsLogger, keeps_size: bool = False,
    ) -> None:
        """
        Wait for the first image.

        :param settings: which cameras there are, and how images are received.
        :param preprocess: what the network makes of their size.
        :param selector: tells keyframes.
        :param offer: takes keyframes, with the reason why a session begins, or None.
        :param counters: of every camera.
        :param health: of the node.
        :param logger: of the node.
        :param keeps_size: rectified images are as large as the cameras'.
        """
        self._settings = settings
        self._preprocess = preprocess
        self._selector = selector
        self._offer_to = offer
        self._counters = counters
        self._loggers = {
            name: logger.get_child(name) if name else logger for name in settings.names}
        self._watch = SessionWatch(settings.max_gap_s)
        self._views: dict[str, _View] = {}
        self._new_session: str | None = None
        self._absent: set[str] = set()
        self._is_idle = False
        self.cameras = {
            name: ImageIntake(
                name, settings, preprocess, admit=partial(self._admit, name), take=self._take,
                counters=counters[name], health=health, logger=self._loggers[name],
                keeps_size=keeps_size,
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
        while (instant := self._selector.release()) is not None:
            self._offer(instant)

    def release_if_idle(self) -> None:
        """Do so if no frame has come since the last call."""
        if self._is_idle:
            self.release()
        self._is_idle = True

    def _admit(self, camera: str, signature: StreamSignature, stamp_ns: int) -> bool:
        """Tell whether an image is one to go on with, and notice that a session begins."""
        view = self._view(camera, signature, stamp_ns)
        observation = self._watch.observe(signature, stamp_ns, camera=camera)
        if observation.arrival is Arrival.DUPLICATE:
            self._counters[camera].add(Event.DUPLICATE)
            return False
        if observation.arrival is Arrival.LATE:
            self._counters[camera].add(Event.LATE)
            return False
        if observation.arrival is Arrival.FOREIGN:
            self._counters[camera].add(Event.FOREIGN)
            self._loggers[camera].error(
                'image dropped: two cameras seem to publish on this topic: '
                f'{observation.reason}, again and again', throttle_duration_sec=_THROTTLE_S)
            return False
        if observation.arrival is Arrival.BEGINS:
            self.release()
            self._counters[camera].add(Event.SESSIONS)
            self._new_session = observation.reason
        self._views[camera] = view
        return True

    def _view(self, camera: str, signature: StreamSignature, stamp_ns: int) -> _View:
        """Foresee the view of an image, which must go together with those of the other cameras."""
        size = plan_view(self._preprocess, signature.width, signature.height).size
        for other, theirs in self._views.items():
            age_s = abs(stamp_ns - theirs.stamp_ns) / _NS_PER_S
            if other == camera or age_s >= self._settings.max_gap_s:
                continue
            if theirs.size != size:
                raise MessageError(
                    f'image size: got {signature.width}x{signature.height}, which the network '
                    f'sees as {size[1]}x{size[0]}, expected {theirs.size[1]}x{theirs.size[0]}, '
                    f'as it sees camera {other}')
            if theirs.frame_id == signature.frame_id != '':
                raise MessageError(
                    f'frame_id: got {signature.frame_id!r}, expected another than that of '
                    f'camera {other}')
        return _View(signature.frame_id, size, stamp_ns)

    def _take(self, frame: Frame) -> None:
        self._is_idle = False
        instant = self._selector.select(frame)
        while instant is not None:
            self._offer(instant)
            instant = self._selector.ready()

    def _offer(self, instant: Instant) -> None:
        for keyframe in instant.keyframes:
            self._counters[keyframe.frame.camera].add(Event.KEYFRAMES)
        self._note_absent(self.cameras.keys() - {k.frame.camera for k in instant.keyframes})
        self._offer_to(instant, self._new_session)
        self._new_session = None

    def _note_absent(self, absent: set[str]) -> None:
        """Tell which cameras the windows do without from now on, and which they have again."""
        for camera in absent:
            self._counters[camera].add(Event.ABSENT)
        for camera in absent - self._absent:
            self._loggers[camera].warning(
                f'no image within {self._settings.sync_tolerance_s} s of the other cameras: '
                'the windows go on without', throttle_duration_sec=_ABSENCE_THROTTLE_S)
        for camera in self._absent - absent:
            self._loggers[camera].info(
                'the windows have its images again', throttle_duration_sec=_ABSENCE_THROTTLE_S)
        self._absent = absent
