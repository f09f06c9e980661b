# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What every recording gives: pictures in the order in which they were taken."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
import re
from typing import Any, Protocol

from da3_ros.offline.input.transforms import TransformTree
from da3_ros.ros.input.image_decoding import RgbImage

_VALUES = re.compile(r'\d+')


@dataclass(frozen=True, eq=False)
class Shot:
    """
    One picture of a recording, as it was recorded.

    :param stamp_ns: when it was taken.
    :param time_ns: when it was recorded; never smaller than that of the picture before it.
    :param image: (H, W, 3) uint8 RGB, not rectified.
    :param camera_info: what holds for it, with the fields of a sensor_msgs CameraInfo, or None.
    :param frame_id: name of the camera's frame; may be empty.
    :param encoding: how it was encoded; may be empty.
    :param camera: name of the camera in the rig; empty where there is only one.
    :param name: of its file; may be empty.
    """

    stamp_ns: int
    time_ns: int
    image: RgbImage
    camera_info: Any
    frame_id: str = ''
    encoding: str = ''
    camera: str = ''
    name: str = ''


@dataclass(eq=False)
class Losses:
    """
    What of a recording does not come out, for a person.

    :param images: that could not be read, by the kind of reason: what differs from image to
        image is left out, so that a long recording makes no long list.
    :param recording: what is wrong with the recording itself.
    :param unposed: images of which nobody said where the camera was, by what was asked.
    """

    images: Counter[str] = field(default_factory=Counter)
    recording: list[str] = field(default_factory=list)
    unposed: Counter[str] = field(default_factory=Counter)
    _first_reasons: dict[str, str] = field(default_factory=dict)

    def note_image(self, reason: str) -> None:
        """
        Note that an image does not come out.

        :param reason: why; of its kind the first one is told.
        """
        kind = _VALUES.sub('#', reason)
        self.images[kind] += 1
        self._first_reasons.setdefault(kind, reason)

    def note_unposed(self, asked: str, reason: str) -> None:
        """
        Note that a pose is missing.

        :param asked: what was asked.
        :param reason: why there is none; the first one is told.
        """
        self.unposed[asked] += 1
        self._first_reasons.setdefault(asked, reason)

    def lines(self) -> list[str]:
        """Return what was lost, a line each."""
        return [*self.recording, *(
            f'{count} images lost, the first: {self._first_reasons[kind]}' if count > 1
            else f'1 image lost: {self._first_reasons[kind]}'
            for kind, count in self.images.items()), *(
            f'{count} image{"s" if count > 1 else ""} without a pose, {asked}: '
            f'{self._first_reasons[asked]}' for asked, count in self.unposed.items())]


class Source(Protocol):
    """A recording that is open."""

    losses: Losses

    def transforms(self) -> TransformTree:
        """Read what the recording says of where frames are; nothing where it does not."""
        ...

    @property
    def description(self) -> str:
        """Return what is read, for a person."""
        ...

    @property
    def num_images(self) -> int:
        """Return how many images there are at most; 0 where nobody knows."""
        ...

    def shots(self) -> Iterator[Shot]:
        """Read the pictures, once and in order; what cannot be read is noted and left out."""
        ...
