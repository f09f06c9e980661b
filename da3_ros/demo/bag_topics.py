# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What of a bag is replayed: one camera, and the transforms."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from da3_ros.demo.child import DemoError
from da3_ros.errors import InputError
from da3_ros.offline.input.topics import choose_camera
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader, ReaderError

_TRANSFORMS = ('/tf', '/tf_static')


@dataclass(frozen=True)
class BagTopics:
    """
    Connections of a bag.

    :param image: of the camera.
    :param camera_info: of the camera, or None.
    :param transforms: of /tf and /tf_static, as far as there are any.
    """

    image: Connection
    camera_info: Connection | None
    transforms: tuple[Connection, ...]

    @property
    def awaited(self) -> tuple[Connection, ...]:
        """Return those that somebody must subscribe to before the replay begins."""
        return (self.image,) if self.camera_info is None else (self.camera_info, self.image)

    @property
    def all(self) -> tuple[Connection, ...]:  # noqa: A003
        """Return every one of them."""
        return (*self.transforms, *self.awaited)


@contextmanager
def open_bag(path: Path) -> Iterator[Reader]:
    """
    Open a bag of ROS 2.

    :param path: its folder.
    :raises DemoError: if it is none.
    """
    if path.is_file():
        raise DemoError(
            f'{path}: got a file, expected the folder of a ROS 2 bag; rosbags-convert makes one '
            'of a ROS 1 bag')
    try:
        reader = Reader(path)
        reader.open()
    except (ReaderError, OSError) as error:
        raise DemoError(f'{path}: expected the folder of a ROS 2 bag: {error}') from error
    try:
        yield reader
    finally:
        reader.close()


def choose_topics(reader: Reader, *, image: str | None = None) -> BagTopics:
    """
    Find a camera in a bag by the types of its topics.

    :param reader: of the bag, open.
    :param image: topic of the camera's images; without it the camera is taken that has a
        CameraInfo, then the one with most images.
    :raises DemoError: if there is no such topic.
    """
    try:
        camera = choose_camera(reader.connections, image=image, takes_best=True)
    except InputError as error:
        raise DemoError(f'{reader.path}: {error}') from error
    held = {c.topic: c for c in reader.connections if c.msgcount > 0}
    return BagTopics(
        image=camera.image[0],
        camera_info=camera.camera_info[0] if camera.camera_info else None,
        transforms=tuple(held[topic] for topic in _TRANSFORMS if topic in held))
