# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The images of one camera come in and become frames."""

from collections.abc import Callable
from functools import partial
import time

from da3_ros.errors import MessageError
from da3_ros.mapping.keyframe import Frame
from da3_ros.ros.conversions import stamp_ns
from da3_ros.ros.input.calibrations import Calibrations
from da3_ros.ros.input.compressed_decoding import decode_compressed
from da3_ros.ros.input.image_decoding import decode_image, RgbImage
from da3_ros.ros.input.rectification import Rectifier
from da3_ros.ros.input.rig_views import plan_view
from da3_ros.ros.input.value_range import ValueRange
from da3_ros.ros.insight.counters import Counters, Event
from da3_ros.ros.insight.health import Health
from da3_ros.ros.insight.repetition import Repetition
from da3_ros.ros.parameters.settings import CameraSettings, PreprocessSettings
from rclpy.impl.rcutils_logger import RcutilsLogger
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

# Pixels that the network will not see cost most; half as many as these would be too few.
_SPARE = 2
_DEFAULT_FRAME_ID = 'camera_optical_frame'


class ImageIntake:
    """
    The callbacks of a camera's subscriptions, in the executor's thread.

    Every image is decoded, rectified and passed on.
    """

    def __init__(
        self, camera: str, settings: CameraSettings, preprocess: PreprocessSettings, *,
        take: Callable[[Frame], None], counters: Counters, health: Health, logger: RcutilsLogger,
        keeps_size: bool = False,
    ) -> None:
        """
        Wait for the first image.

        :param camera: name of the camera; may be empty.
        :param settings: how images are received.
        :param preprocess: what the network makes of their size.
        :param take: takes the frames; may raise MessageError.
        :param counters: of the camera.
        :param health: of the node.
        :param logger: of the camera.
        :param keeps_size: rectified images are as large as the camera's.
        """
        self._camera = camera
        self._keeps_size = keeps_size
        self._settings = settings
        self._preprocess = preprocess
        self._take = take
        self._counters = counters
        self._health = health
        self._logger = logger
        self._calibrations = Calibrations(
            is_rectified=not settings.rectify, counters=counters, logger=logger)
        self._range = ValueRange(
            settings.bits, max_gap_s=settings.max_gap_s, warn=logger.warning)
        self._deadline_s: float | None = None
        self._told = Repetition()
        self._held: Image | CompressedImage | None = None
        self.is_paused = False

    def on_camera_info(self, message: CameraInfo) -> None:
        """
        Keep the newest calibration.

        :param message: of the camera.
        """
        self._calibrations.take(message)
        self._release_held()

    def on_image(self, message: Image | CompressedImage) -> None:
        """
        Take in an image; whatever it is, the node goes on.

        :param message: of the camera.
        """
        self._counters.add(Event.RECEIVED)
        self._health.note_image(self._camera, stamp_ns(message.header.stamp))
        if self.is_paused:
            self._counters.add(Event.PAUSED)
            return
        if self._must_wait():
            if self._held is not None:
                self._counters.add(Event.NO_CAMERA_INFO)
            self._held = message
            return
        self._release_held()
        self._process(message)

    def _release_held(self) -> None:
        """Go on with the image that came just before the first CameraInfo."""
        held, self._held = self._held, None
        if held is not None:
            self._process(held)

    def _process(self, message: Image | CompressedImage) -> None:
        received_s = time.monotonic()
        try:
            self._pass_on(message, self._decode(message), received_s)
        except MessageError as error:
            self._counters.add(Event.BAD_IMAGE)
            # Its first words name what is wrong: of another fault nobody has heard yet.
            line = self._told.line(f'image dropped: {error}', str(error).partition(':')[0])
            if line is not None:
                self._logger.error(line)

    def _decode(self, message: Image | CompressedImage) -> RgbImage:
        header, most = message.header, self._settings.max_pixels
        encoding = message.encoding if isinstance(message, Image) else message.format
        to_8_bits = partial(
            self._range.to_8_bits, stream=f'{encoding} {header.frame_id}',
            stamp_ns=stamp_ns(header.stamp))
        if isinstance(message, Image):
            return decode_image(message, max_pixels=most, to_8_bits=to_8_bits)
        return decode_compressed(message, max_pixels=most, to_8_bits=to_8_bits)

    def _pass_on(
        self, message: Image | CompressedImage, image: RgbImage, received_s: float
    ) -> None:
        rectifier = self._rectifier(image)
        self._take(Frame(
            stamp_ns=stamp_ns(message.header.stamp),
            image=image if rectifier is None else rectifier.rectify(image),
            intrinsics=None if rectifier is None else rectifier.intrinsics,
            frame_id=self._frame_id(message),
            camera=self._camera,
            received_s=received_s,
            encoding=message.encoding if isinstance(message, Image) else message.format,
        ))

    def _frame_id(self, message: Image | CompressedImage) -> str:
        """Return the frame's name as TF takes it: not empty, and without ROS 1's slash."""
        sent: str = message.header.frame_id
        frame_id = sent.lstrip('/')
        if not frame_id:
            frame_id = f'{self._camera}_{_DEFAULT_FRAME_ID}' if self._camera else _DEFAULT_FRAME_ID
        if frame_id != sent:
            self._logger.warning(
                f'images have the frame_id {sent!r}, which TF does not take: {frame_id!r} is '
                'taken', once=True)
        return frame_id

    def _must_wait(self) -> bool:
        """Tell whether a CameraInfo may still come."""
        if self._calibrations:
            return False
        now_s = time.monotonic()
        if self._deadline_s is None:
            self._deadline_s = now_s + self._settings.info_wait_s
        if now_s < self._deadline_s:
            return True
        self._logger.warning(
            'no CameraInfo: the network estimates the intrinsics, and images are taken for '
            'rectified', once=True)
        return False

    def _rectifier(self, image: RgbImage) -> Rectifier | None:
        height, width = image.shape[:2]
        if self._keeps_size:
            return self._calibrations.rectifier((width, height), output_size=(width, height))
        view_height, view_width = plan_view(self._preprocess, width, height).resized[-1]
        return self._calibrations.rectifier(
            (width, height), output_size=(_SPARE * view_width, _SPARE * view_height))
