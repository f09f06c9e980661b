# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What every recording gives: pictures in the order in which they were taken."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from da3_ros.ros.input.image_decoding import RgbImage


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
    """

    stamp_ns: int
    time_ns: int
    image: RgbImage
    camera_info: Any
    frame_id: str = ''
    encoding: str = ''


@dataclass(eq=False)
class Losses:
    """
    What of a recording does not come out, for a person.

    :param images: that could not be read, by the reason.
    :param recording: what is wrong with the recording itself.
    """

    images: Counter[str] = field(default_factory=Counter)
    recording: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return what was lost, a line each."""
        return [*self.recording, *(
            f'{count} image{"s" if count > 1 else ""} lost: {reason}'
            for reason, count in self.images.items())]


class Source(Protocol):
    """A recording that is open."""

    losses: Losses

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
