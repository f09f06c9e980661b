# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The CameraInfos of one camera: which one holds, and the rectifiers made from them."""

from da3_ros.errors import MessageError
from da3_ros.ros.input.camera_model import read_camera_model
from da3_ros.ros.input.rectification import Rectifier
from da3_ros.ros.insight.counters import Counters, Event
from da3_ros.ros.insight.repetition import Repetition
from rclpy.impl.rcutils_logger import RcutilsLogger
from sensor_msgs.msg import CameraInfo

# More than one: two cameras may publish CameraInfo on one topic, and maps take time to compute.
_MAX_RECTIFIERS = 3

Size = tuple[int, int]


class Calibrations:
    """
    Keep the newest CameraInfo, and the last one that could be used.

    Drivers send zeros while they start and at times between good ones: such a message takes
    nothing away.
    """

    def __init__(
        self, *, is_rectified: bool, counters: Counters, logger: RcutilsLogger
    ) -> None:
        """
        Know nothing yet.

        :param is_rectified: images are rectified already, so that P describes them.
        :param counters: of the camera.
        :param logger: of the camera.
        """
        self._is_rectified = is_rectified
        self._counters = counters
        self._logger = logger
        self._newest: CameraInfo | None = None
        self._usable: CameraInfo | None = None
        self._rectifiers: dict[str, Rectifier | str] = {}
        self._told = Repetition()

    def __bool__(self) -> bool:
        """Tell whether any CameraInfo came."""
        return self._newest is not None

    def take(self, message: CameraInfo) -> None:
        """
        Let a CameraInfo hold from now on.

        :param message: of the camera.
        """
        self._newest = message

    def rectifier(self, image_size: Size, *, output_size: Size) -> Rectifier | None:
        """
        Return what rectifies images now.

        :param image_size: width and height [px].
        :param output_size: of the rectified images [px], if the camera's are larger.
        :returns: None while there is no usable CameraInfo for images of that size.
        """
        if self._newest is None:
            return None
        found = self._prepared(self._newest, image_size, output_size)
        if isinstance(found, Rectifier):
            self._usable = self._newest
            return found
        self._counters.add(Event.BAD_CAMERA_INFO)
        kept = None if self._usable is None else self._prepared(
            self._usable, image_size, output_size)
        instead = (
            'the last usable one is kept' if isinstance(kept, Rectifier)
            else 'the network estimates the intrinsics')
        line = self._told.line(f'{found}; {instead}')
        if line is not None:
            self._logger.warning(line)
        return kept if isinstance(kept, Rectifier) else None

    def _prepared(
        self, info: CameraInfo, image_size: Size, output_size: Size
    ) -> Rectifier | str:
        """Return the rectifier by a CameraInfo, or why there is none; compute each once."""
        key = _key(info, image_size)
        if key not in self._rectifiers:
            if len(self._rectifiers) == _MAX_RECTIFIERS:
                del self._rectifiers[next(iter(self._rectifiers))]
            self._rectifiers[key] = self._compute(info, image_size, output_size)
        return self._rectifiers[key]

    def _compute(
        self, info: CameraInfo, image_size: Size, output_size: Size
    ) -> Rectifier | str:
        width, height = image_size
        try:
            model = read_camera_model(
                info, width=width, height=height, is_rectified=self._is_rectified)
            return Rectifier(model, size=output_size)
        except MessageError as error:
            return str(error)


def _key(info: CameraInfo, image_size: Size) -> str:
    """Return all that a rectifier depends on."""
    roi = info.roi
    numbers = (
        *image_size, info.width, info.height, info.binning_x, info.binning_y, roi.x_offset,
        roi.y_offset, roi.width, roi.height, *info.k, *info.d, *info.p,
    )
    return f'{info.distortion_model} {numbers}'
