# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What the network will see of the cameras, which must go together."""

from dataclasses import dataclass

from da3_ros.errors import MessageError
from da3_ros.inference.preprocessing import plan_processing, ProcessPlan
from da3_ros.mapping.keyframe import Frame, NS_PER_S
from da3_ros.ros.parameters.settings import PreprocessSettings


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


@dataclass(frozen=True)
class View:
    """
    What the network sees of a camera.

    :param frame_id: of its last image.
    :param size: height and width of its view [px].
    :param stamp_ns: of its last image.
    """

    frame_id: str
    size: tuple[int, int]
    stamp_ns: int


class RigViews:
    """Compare the views of all cameras."""

    def __init__(self, settings: PreprocessSettings, max_gap_s: float) -> None:
        """
        Know no camera.

        :param settings: how images become views.
        :param max_gap_s: what a camera showed longer ago says nothing any more.
        """
        self._settings = settings
        self._max_gap_s = max_gap_s
        self._views: dict[str, View] = {}

    def check(self, frame: Frame) -> View:
        """
        Foresee the view of a frame.

        :param frame: of any camera.
        :raises MessageError: if it does not go together with those of the other cameras.
        """
        height, width = frame.image.shape[:2]
        size = plan_view(self._settings, width, height).size
        for other, theirs in self._views.items():
            age_s = abs(frame.stamp_ns - theirs.stamp_ns) / NS_PER_S
            if other == frame.camera or age_s >= self._max_gap_s:
                continue
            if theirs.size != size:
                raise MessageError(
                    f'image size: got {width}x{height}, which the network sees as '
                    f'{size[1]}x{size[0]}, expected {theirs.size[1]}x{theirs.size[0]}, as it sees '
                    f'camera {other}')
            if theirs.frame_id == frame.frame_id:
                raise MessageError(
                    f'frame_id: got {frame.frame_id!r}, expected another than that of '
                    f'camera {other}')
        return View(frame.frame_id, size, frame.stamp_ns)

    def note(self, camera: str, view: View) -> None:
        """
        Remember a view.

        :param camera: name of the camera.
        :param view: of a frame that goes on.
        """
        self._views[camera] = view
