# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What of a bag is replayed: one camera, and the transforms."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from da3_ros.demo.child import DemoError
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader, ReaderError

_IMAGES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
_CAMERA_INFO = 'sensor_msgs/msg/CameraInfo'
_TRANSFORMS = ('/tf', '/tf_static')
_COMPRESSED = '/compressed'
# Other pictures that drivers record beside the one of the camera.
_NO_PICTURES = ('depth', 'disparity', 'confidence', '/theora')


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
    held = {c.topic: c for c in reader.connections if c.msgcount > 0}
    images = [c for c in held.values() if c.msgtype in _IMAGES and (
        c.topic == image if image else not any(word in c.topic for word in _NO_PICTURES))]
    if not images:
        wanted = f'images on {image}' if image else f'a topic of {" or ".join(_IMAGES)}'
        raise DemoError(f'{reader.path}: expected {wanted}, got {_listed(tuple(held.values()))}')
    chosen = max(images, key=lambda c: (_info_topic(c) in held, c.msgcount, c.topic))
    info = held.get(_info_topic(chosen))
    return BagTopics(
        image=chosen,
        camera_info=info if info is not None and info.msgtype == _CAMERA_INFO else None,
        transforms=tuple(held[topic] for topic in _TRANSFORMS if topic in held))


def _info_topic(image: Connection) -> str:
    """Return where image_transport looks for the calibration: beside the image."""
    return image.topic.removesuffix(_COMPRESSED).rpartition('/')[0] + '/camera_info'


def _listed(connections: Sequence[Connection]) -> str:
    topics = sorted(f'{c.topic} ({c.msgtype})' for c in connections)
    return ', '.join(topics) or 'no messages'
