# Copyright 2026 The da3_ros authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""Images come in, keyframes go to the worker."""

from collections.abc import Callable
import time

from da3_ros.errors import MessageError
from da3_ros.inference.preprocessing import plan_processing
from da3_ros.mapping.keyframe import Frame, Keyframe
from da3_ros.ros.camera_model import read_camera_model
from da3_ros.ros.conversions import stamp_ns
from da3_ros.ros.counters import Counters, Event
from da3_ros.ros.health import Health
from da3_ros.ros.image_decoding import decode_compressed, decode_image, RgbImage
from da3_ros.ros.rectification import Rectifier
from da3_ros.ros.session_watch import Arrival, SessionWatch, StreamSignature
from da3_ros.ros.settings import CameraSettings, PreprocessSettings
from rclpy.impl.rcutils_logger import RcutilsLogger
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

_THROTTLE_S = 5.0
_DEFAULT_FRAME_ID = 'camera_optical_frame'


class ImageIntake:
    """
    The callbacks of the subscriptions, in the executor's thread.

    Every image is decoded, rectified and offered to the selector; only keyframes go on.
    """

    def __init__(
        self, settings: CameraSettings, preprocess: PreprocessSettings, *,
        select: Callable[[Frame], Keyframe | None],
        offer: Callable[[Keyframe, str | None], None], counters: Counters, health: Health,
        logger: RcutilsLogger,
    ) -> None:
        """
        Wait for the first image.

        :param settings: how images are received.
        :param preprocess: what the network makes of their size.
        :param select: tells keyframes.
        :param offer: takes keyframes, with the reason why a session begins, or None.
        :param counters: of the node.
        :param health: of the node.
        :param logger: of the node.
        """
        self._settings = settings
        self._preprocess = preprocess
        self._select = select
        self._offer = offer
        self._counters = counters
        self._health = health
        self._logger = logger
        self._watch = SessionWatch(settings.max_gap_s)
        self._new_session: str | None = None
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
        self._health.note_image()
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
        try:
            is_raw = isinstance(message, Image)
            image = decode_image(message) if is_raw else decode_compressed(message)
            self._check_size(image)
        except MessageError as error:
            self._counters.add(Event.BAD_IMAGE)
            self._logger.error(f'image dropped: {error}', throttle_duration_sec=_THROTTLE_S)
            return
        self._take(message, image, self._rectifier(image))

    def _check_size(self, image: RgbImage) -> None:
        height, width = image.shape[:2]
        size, method = self._preprocess.size, self._preprocess.method
        try:
            plan_processing(height, width, size=size, method=method)
        except ValueError as error:
            raise MessageError(f'image size: {error}') from error

    def _take(
        self, message: Image | CompressedImage, image: RgbImage, rectifier: Rectifier | None
    ) -> None:
        height, width = image.shape[:2]
        encoding = message.encoding if isinstance(message, Image) else message.format
        signature = StreamSignature(
            message.header.frame_id, encoding, width, height, rectifier is not None
        )
        time_ns = stamp_ns(message.header.stamp)
        observation = self._watch.observe(signature, time_ns)
        if observation.arrival is Arrival.DUPLICATE:
            self._counters.add(Event.DUPLICATE)
            return
        if observation.arrival is Arrival.LATE:
            self._counters.add(Event.LATE)
            return
        if observation.arrival is Arrival.FOREIGN:
            self._counters.add(Event.FOREIGN)
            self._logger.error(
                'image dropped: two cameras seem to publish on this topic: '
                f'{observation.reason}, again and again', throttle_duration_sec=_THROTTLE_S)
            return
        if observation.arrival is Arrival.BEGINS:
            self._counters.add(Event.SESSIONS)
            self._new_session = observation.reason
        frame = Frame(
            stamp_ns=time_ns,
            image=image if rectifier is None else rectifier.rectify(image),
            intrinsics=None if rectifier is None else rectifier.intrinsics,
            frame_id=message.header.frame_id or self._nameless(),
        )
        keyframe = self._select(frame)
        if keyframe is not None:
            self._counters.add(Event.KEYFRAMES)
            self._offer(keyframe, self._new_session)
            self._new_session = None

    def _nameless(self) -> str:
        self._logger.warning(
            f'images have no frame_id: {_DEFAULT_FRAME_ID!r} is taken', once=True)
        return _DEFAULT_FRAME_ID

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
        try:
            rectifier = Rectifier(read_camera_model(
                info, width=width, height=height, is_rectified=not self._settings.rectify
            ))
        except MessageError as error:
            self._counters.add(Event.BAD_CAMERA_INFO)
            self._logger.warning(f'{error}; the network estimates the intrinsics',
                                 throttle_duration_sec=_THROTTLE_S)
            return None
        self._rectifiers = {key: rectifier}
        return rectifier


def _key(info: CameraInfo, width: int, height: int) -> str:
    """Return all that a rectifier depends on."""
    roi = info.roi
    numbers = (
        width, height, info.width, info.height, info.binning_x, info.binning_y, roi.x_offset,
        roi.y_offset, roi.width, roi.height, *info.k, *info.d, *info.p,
    )
    return f'{info.distortion_model} {numbers}'
