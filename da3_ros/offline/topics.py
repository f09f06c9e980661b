# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The camera of a bag, found by the types of its topics."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from da3_ros.errors import InputError
from rosbags.interfaces import Connection

IMAGES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
CAMERA_INFO = 'sensor_msgs/msg/CameraInfo'
_TRANSPORTS = ('/compressed',)
# Other pictures that drivers record beside the one of the camera.
_NO_PICTURES = ('depth', 'disparity', 'confidence', '/theora')


@dataclass(frozen=True)
class CameraTopics:
    """
    Where a camera's messages are; a topic may have several connections.

    :param image: of its images.
    :param camera_info: of its calibration; empty where there is none.
    """

    image: tuple[Connection, ...]
    camera_info: tuple[Connection, ...] = ()


def choose_camera(
    connections: Sequence[Connection], *, image: str | None = None,
    camera_info: str | None = None,
) -> CameraTopics:
    """
    Find the camera of a bag.

    :param connections: of the bag.
    :param image: topic of the images, where there are several.
    :param camera_info: topic of the calibration, where it is not beside the image.
    :raises InputError: if there is none, or more than one to choose from.
    """
    held = {
        topic: tuple(group) for topic, group in groupby(
            sorted(connections, key=lambda c: c.topic), key=lambda c: c.topic)
        if any(c.msgcount > 0 for c in connections if c.topic == topic)}
    chosen = _topic(held, image)
    info = camera_info or beside(chosen)
    if info in held and held[info][0].msgtype == CAMERA_INFO:
        return CameraTopics(held[chosen], held[info])
    if camera_info is not None:
        raise InputError(
            f'camera_info: got {camera_info}, expected a topic of {CAMERA_INFO}; the bag has '
            f'{listed(held)}')
    return CameraTopics(held[chosen])


def _topic(held: dict[str, tuple[Connection, ...]], image: str | None) -> str:
    pictures = [topic for topic, group in held.items() if group[0].msgtype in IMAGES]
    if image is not None:
        if image in pictures:
            return image
        raise InputError(
            f'image: got {image}, expected a topic of {" or ".join(IMAGES)}; the bag has '
            f'{listed(held)}')
    found = [t for t in pictures if not any(word in t for word in _NO_PICTURES)] or pictures
    # An image and its compressed form are one camera: the one that lost nothing is taken.
    raw = [t for t in found if not any(
        t.endswith(end) and t.removesuffix(end) in found for end in _TRANSPORTS)]
    if not raw:
        raise InputError(
            f'expected a topic of {" or ".join(IMAGES)}; the bag has {listed(held)}')
    if len(raw) > 1:
        raise InputError(
            'the bag has several cameras; name one of these topics of images: '
            f'{listed({topic: held[topic] for topic in raw})}')
    return raw[0]


def beside(image: str) -> str:
    """
    Return where image_transport looks for the calibration.

    :param image: topic of the images.
    """
    for end in _TRANSPORTS:
        image = image.removesuffix(end)
    return image.rpartition('/')[0] + '/camera_info'


def listed(held: dict[str, tuple[Connection, ...]]) -> str:
    """
    Name topics with their types and counts.

    :param held: connections by topic.
    """
    return ', '.join(
        f'{topic} ({group[0].msgtype}, {sum(c.msgcount for c in group)} messages)'
        for topic, group in sorted(held.items())) or 'no messages'
