# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The images of one camera come in and become frames."""

from collections.abc import Callable
import time

from da3_ros.errors import MessageError
from da3_ros.inference.preprocessing import plan_processing, ProcessPlan
from da3_ros.mapping.keyframe import Frame
from da3_ros.ros.conversions import stamp_ns
from da3_ros.ros.input.camera_model import read_camera_model
from da3_ros.ros.input.image_decoding import decode_compressed, decode_image, RgbImage
from da3_ros.ros.input.rectification import Rectifier
from da3_ros.ros.insight.counters import Counters, Event
from da3_ros.ros.insight.health import Health
from da3_ros.ros.parameters.settings import CameraSettings, PreprocessSettings
from rclpy.impl.rcutils_logger import RcutilsLogger
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

_THROTTLE_S = 5.0
# Pixels that the network will not see cost most; half as many as these would be too few.
_SPARE = 2
# More than one: two cameras may publish CameraInfo on one topic, and maps take time to compute.
_MAX_RECTIFIERS = 3
_DEFAULT_FRAME_ID = 'camera_optical_frame'


def plan_view(settings: PreprocessSettings, width: int, height: int) -> ProcessPlan:
    """
    Foresee what the network will see of an image.

    :param settings: how images become views.
    :param width: of the image [px].
    :param height: of the image [px].
    :raises MessageError: if that is nothing.
    """
    try:
        return plan_processing(height, width, size=settings.size, method=settings.method)
    except ValueError as error:
        raise MessageError(f'image size: {error}') from error


class ImageIntake:
    """
    The callbacks of a camera's subscriptions, in the executor's thread.

    Every image is decoded, rectified and passed on.
    """

    def __init__(
        self, camera: str, settings: CameraSettings, preprocess: PreprocessSettings, *,
        take: Callable[[Frame], None], counters: Counters, health: Health, logger: RcutilsLogger,
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
        """
        self._camera = camera
        self._settings = settings
        self._preprocess = preprocess
        self._take = take
        self._counters = counters
        self._health = health
        self._logger = logger
        self._camera_info: CameraInfo | None = None
        self._rectifiers: dict[str, Rectifier] = {}
        self._deadline_s: float | None = None
        self._held: Image | CompressedImage | None = None
        self.is_paused = False

    def on_camera_info(self, message: CameraInfo) -> None:
        """
        Keep the newest calibration.

        :param message: of the camera.
        """
        self._camera_info = message
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
            is_raw = isinstance(message, Image)
            image = decode_image(message) if is_raw else decode_compressed(message)
            self._pass_on(message, image, received_s)
        except MessageError as error:
            self._counters.add(Event.BAD_IMAGE)
            self._logger.error(f'image dropped: {error}', throttle_duration_sec=_THROTTLE_S)

    def _pass_on(
        self, message: Image | CompressedImage, image: RgbImage, received_s: float
    ) -> None:
        rectifier = self._rectifier(image)
        self._take(Frame(
            stamp_ns=stamp_ns(message.header.stamp),
            image=image if rectifier is None else rectifier.rectify(image),
            intrinsics=None if rectifier is None else rectifier.intrinsics,
            frame_id=message.header.frame_id or self._nameless(),
            camera=self._camera,
            received_s=received_s,
            encoding=message.encoding if isinstance(message, Image) else message.format,
        ))

    def _nameless(self) -> str:
        frame_id = f'{self._camera}_{_DEFAULT_FRAME_ID}' if self._camera else _DEFAULT_FRAME_ID
        self._logger.warning(f'images have no frame_id: {frame_id!r} is taken', once=True)
        return frame_id

    def _must_wait(self) -> bool:
        """Tell whether a CameraInfo may still come."""
        if self._camera_info is not None:
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
        """Return the rectifier of the newest calibration, or None where there is no usable one."""
        info = self._camera_info
        if info is None:
            return None
        height, width = image.shape[:2]
        key = _key(info, width, height)
        known = self._rectifiers.get(key)
        if known is not None:
            return known
        view_height, view_width = plan_view(self._preprocess, width, height).resized[-1]
        try:
            model = read_camera_model(
                info, width=width, height=height, is_rectified=not self._settings.rectify)
            rectifier = Rectifier(model, size=(_SPARE * view_width, _SPARE * view_height))
        except MessageError as error:
            self._counters.add(Event.BAD_CAMERA_INFO)
            self._logger.warning(f'{error}; the network estimates the intrinsics',
                                 throttle_duration_sec=_THROTTLE_S)
            return None
        if len(self._rectifiers) == _MAX_RECTIFIERS:
            del self._rectifiers[next(iter(self._rectifiers))]
        self._rectifiers[key] = rectifier
        return rectifier


def _key(info: CameraInfo, width: int, height: int) -> str:
    """Return all that a rectifier depends on."""
    roi = info.roi
    numbers = (
        width, height, info.width, info.height, info.binning_x, info.binning_y, roi.x_offset,
        roi.y_offset, roi.width, roi.height, *info.k, *info.d, *info.p,
    )
    return f'{info.distortion_model} {numbers}'
