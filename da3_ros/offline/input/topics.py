# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The cameras of a bag, found by the types of its topics."""

from collections.abc import Mapping, Sequence
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
    camera_info: str | None = None, name: str = '', takes_best: bool = False,
) -> CameraTopics:
    """
    Find the camera of a bag.

    :param connections: of the bag.
    :param image: topic of the images, where there are several.
    :param camera_info: topic of the calibration, where it is not beside the image.
    :param name: of the camera, which is a part of its topic; may be empty.
    :param takes_best: of several cameras take one with a calibration, then the one with most
        images.
    :raises InputError: if there is none, or more than one to choose from.
    """
    held = {
        topic: tuple(group) for topic, group in groupby(
            sorted(connections, key=lambda c: c.topic), key=lambda c: c.topic)
        if any(c.msgcount > 0 for c in connections if c.topic == topic)}
    chosen = _topic(held, image, name, takes_best=takes_best)
    info = camera_info or beside(chosen)
    if info in held and held[info][0].msgtype == CAMERA_INFO:
        return CameraTopics(held[chosen], held[info])
    if camera_info is not None:
        raise InputError(
            f'camera_info: got {camera_info}, expected a topic of {CAMERA_INFO}; the bag has '
            f'{listed(held)}')
    return CameraTopics(held[chosen])


def choose_cameras(
    connections: Sequence[Connection], names: Sequence[str], *, images: Mapping[str, str],
    camera_infos: Mapping[str, str],
) -> dict[str, CameraTopics]:
    """
    Find all cameras of a rig in a bag.

    :param connections: of the bag.
    :param names: of the cameras; the empty one is that of a camera alone.
    :param images: topics of images, by the camera's name, where that is not in the topic's.
    :param camera_infos: topics of calibrations likewise, where they are not beside the images.
    :raises InputError: if a camera is not there, or there is more than one to choose from.
    """
    found = {
        name: choose_camera(
            connections, image=images.get(name), camera_info=camera_infos.get(name), name=name)
        for name in names}
    for name, topics in found.items():
        for other, theirs in found.items():
            if name < other and topics.image[0].topic == theirs.image[0].topic:
                raise InputError(
                    f'image: got {topics.image[0].topic} for the cameras {name} and {other}, '
                    'expected a topic of each')
    return found


def by_camera(option: str, entries: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """
    Read topics that were given, ``TOPIC`` for a camera alone, else ``NAME:=TOPIC``.

    :param option: its name, for what is wrong.
    :param entries: as they were given.
    :param names: of the cameras.
    :raises ValueError: if an entry is of no camera, or two are of the same.
    """
    topics: dict[str, str] = {}
    for entry in entries:
        name, separator, topic = entry.rpartition(':=')
        expected = 'TOPIC' if [*names] == [''] else (
            f'NAME:=TOPIC with a name of camera.names, {", ".join(names)}')
        if name not in names or bool(separator) != bool(name) or not topic or name in topics:
            raise ValueError(f'{option}: got {entry!r}, expected {expected}, once for a camera')
        topics[name] = topic
    return topics


def _topic(
    held: dict[str, tuple[Connection, ...]], image: str | None, name: str, *, takes_best: bool
) -> str:
    pictures = [topic for topic, group in held.items() if group[0].msgtype in IMAGES]
    if image is not None:
        if image in pictures:
            return image
        raise InputError(
            f'image: got {image}, expected a topic of {" or ".join(IMAGES)}; the bag has '
            f'{listed(held)}')
    if name:
        pictures = [topic for topic in pictures if name in topic.split('/')]
    found = [t for t in pictures if not any(word in t for word in _NO_PICTURES)] or pictures
    # An image and its compressed form are one camera: the one that lost nothing is taken.
    raw = [t for t in found if not any(
        t.endswith(end) and t.removesuffix(end) in found for end in _TRANSPORTS)]
    whose = f' of camera {name} (with {name} between slashes)' if name else ''
    if not raw:
        raise InputError(
            f'expected a topic{whose} of {" or ".join(IMAGES)}; the bag has {listed(held)}')
    if takes_best:
        return max(raw, key=lambda topic: (
            beside(topic) in held, sum(c.msgcount for c in held[topic]), topic))
    if len(raw) > 1:
        what = f'several topics{whose}' if name else 'several cameras'
        raise InputError(
            f'the bag has {what}; name one of these topics of images: '
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
