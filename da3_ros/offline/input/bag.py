# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Bags of ROS 1 and ROS 2 as recordings."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
import re
import sqlite3
import struct
from typing import Any

from da3_ros.errors import InputError, MessageError
from da3_ros.mapping.keyframe import NS_PER_S
from da3_ros.offline.input.broken_mcap import mended, MendedMcap
from da3_ros.offline.input.camera_info import CameraInfo
from da3_ros.offline.input.robot import read_transforms
from da3_ros.offline.input.source import Losses, Shot
from da3_ros.offline.input.topics import by_camera, CAMERA_INFO, CameraTopics, choose_cameras
from da3_ros.offline.input.transforms import TransformTree
from da3_ros.ros.input.compressed_decoding import decode_compressed
from da3_ros.ros.input.image_decoding import decode_image, RgbImage
from da3_ros.ros.input.value_range import ValueRange
from da3_ros.ros.parameters.settings import CameraSettings
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.interfaces import Connection
from rosbags.rosbag1 import ReaderError as Rosbag1Error
from rosbags.rosbag2 import ReaderError as Rosbag2Error
from rosbags.serde import SerdeError
from rosbags.typesys import get_typestore, Stores

_STATIC = '/tf_static'
_TRANSFORMS = ('/tf', _STATIC)
# Whatever a file that is cut off or overwritten makes of the reader.
_READ_ERRORS = (
    AnyReaderError, Rosbag1Error, Rosbag2Error, OSError, EOFError, ValueError, IndexError,
    KeyError, RuntimeError, AssertionError, TypeError, sqlite3.Error, struct.error)


@dataclass(frozen=True)
class BagPart:
    """
    What of a bag is read.

    :param image: topic of the images, where there are several; of each camera of a rig as
        ``NAME:=TOPIC``, where its name is not a part of the topic.
    :param camera_info: topic of the calibration likewise, where it is not beside the image.
    :param start_s: from the beginning of the bag.
    :param end_s: from the beginning of the bag, or None for its end.
    """

    image: tuple[str, ...] = ()
    camera_info: tuple[str, ...] = ()
    start_s: float = 0.0
    end_s: float | None = None


class BagSource:
    """The images of the cameras of a bag."""

    def __init__(
        self, reader: AnyReader, part: BagPart, settings: CameraSettings, losses: Losses
    ) -> None:
        """
        Find the cameras.

        :param reader: of the bag, open.
        :param part: what is read.
        :param settings: which cameras there are, and how images are received.
        :param losses: where it is noted what does not come out.
        :raises InputError: if there is no such camera.
        :raises ValueError: if a topic is given for none.
        """
        self.losses = losses
        self._reader = reader
        self._part = part
        self._settings = settings
        self._cameras: dict[str, CameraTopics] = choose_cameras(
            reader.connections, settings.names,
            images=by_camera('image', part.image, settings.names),
            camera_infos=by_camera('camera_info', part.camera_info, settings.names))
        self._ranges = {
            name: ValueRange(
                settings.bits, max_gap_s=settings.max_gap_s, warn=losses.recording.append)
            for name in settings.names}

    @property
    def description(self) -> str:
        """Return what is read, for a person."""
        return ', '.join(
            f'{topics.image[0].topic} with ' + (
                topics.camera_info[0].topic if topics.camera_info
                else 'intrinsics that the network estimates')
            for topics in self._cameras.values())

    @property
    def num_images(self) -> int:
        """Return how many images the bag says that it has."""
        return sum(connection.msgcount for topics in self._cameras.values()
                   for connection in topics.image)

    def transforms(self) -> TransformTree:
        """Read the transforms of the whole bag."""
        connections = [c for c in self._reader.connections if c.topic in _TRANSFORMS
                       and c.msgtype == 'tf2_msgs/msg/TFMessage' and c.msgcount > 0]
        if not connections:
            return TransformTree()
        return read_transforms(
            (connection.topic == _STATIC, message)
            for connection, data in self._all(connections)
            if (message := self._read(connection, data)) is not None)

    def shots(self) -> Iterator[Shot]:
        """Read the pictures; each with the newest calibration, the first with the first one."""
        infos = {name: self._first_info(topics) for name, topics in self._cameras.items()}
        wanted = [c for topics in self._cameras.values()
                  for c in (*topics.image, *topics.camera_info)]
        newest_ns = 0
        # Two cameras may share a calibration.
        for connection, time_ns, data in self._messages(list({id(c): c for c in wanted}.values())):
            newest_ns = max(newest_ns, time_ns)
            message = self._read(connection, data)
            if message is None:
                continue
            if connection.msgtype == CAMERA_INFO:
                infos |= {name: CameraInfo.of(message) for name, topics in self._cameras.items()
                          if connection in topics.camera_info}
                continue
            name = next(n for n, topics in self._cameras.items() if connection in topics.image)
            image = self._decoded(connection, message, name)
            if image is not None:
                yield Shot(
                    stamp_ns(message), newest_ns, image, infos[name], message.header.frame_id,
                    _encoding(message), name)

    def _read(self, connection: Connection, data: bytes) -> Any:
        """Return a message, or None with the loss noted."""
        try:
            return self._reader.deserialize(data, connection.msgtype)
        except (*_READ_ERRORS, SerdeError) as error:
            self.losses.note_image(f'{connection.topic}: message cannot be read: {error}')
            return None

    def _decoded(self, connection: Connection, message: Any, camera: str) -> RgbImage | None:
        try:
            return self._decode(message, camera)
        except MessageError as error:
            self.losses.note_image(str(error))
        except _READ_ERRORS as error:
            self.losses.note_image(f'{connection.topic}: image cannot be read: {error}')
        return None

    def _first_info(self, topics: CameraTopics) -> CameraInfo | None:
        """Return the first calibration: drivers send it after the first image, or once."""
        if not topics.camera_info:
            return None
        for connection, data in self._all(topics.camera_info):
            try:
                return CameraInfo.of(self._reader.deserialize(data, connection.msgtype))
            except (*_READ_ERRORS, SerdeError):
                continue
        return None

    def _all(self, connections: Sequence[Connection]) -> Iterator[tuple[Connection, bytes]]:
        """Read the messages of all times as far as the bag can be read."""
        with suppress(*_READ_ERRORS):
            for connection, _, data in self._reader.messages(connections):
                yield connection, data

    def _messages(
        self, connections: Sequence[Connection]
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Read the messages of the part as far as the bag can be read."""
        begin = self._reader.start_time
        part = self._part
        start = None if not part.start_s else begin + round(part.start_s * NS_PER_S)
        stop = None if part.end_s is None else begin + round(part.end_s * NS_PER_S)
        num_read = 0
        try:
            for each in self._reader.messages(connections, start=start, stop=stop):
                num_read += 1
                yield each
        except _READ_ERRORS as error:
            self.losses.recording.append(
                f'the bag cannot be read after {num_read} messages: {error}')

    def _decode(self, message: Any, camera: str) -> RgbImage:
        to_8_bits = partial(
            self._ranges[camera].to_8_bits,
            stream=f'{_encoding(message)} {message.header.frame_id}', stamp_ns=stamp_ns(message))
        decode = decode_image if hasattr(message, 'encoding') else decode_compressed
        return decode(message, max_pixels=self._settings.max_pixels, to_8_bits=to_8_bits)


def stamp_ns(message: Any) -> int:
    """Return the stamp of a message with a header."""
    stamp = message.header.stamp
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)


def _encoding(message: Any) -> str:
    return str(message.encoding if hasattr(message, 'encoding') else message.format)


@contextmanager
def open_bag(path: Path, part: BagPart, settings: CameraSettings) -> Iterator[BagSource]:
    """
    Open a bag of ROS 1 or ROS 2; of one whose end is missing, what is there.

    :param path: a folder, or a file that ends with ``.bag``, ``.mcap`` or ``.db3``.
    :param part: what of it is read.
    :param settings: how images are received.
    :raises InputError: if nothing of it can be read, or it has no such camera.
    """
    losses = Losses()
    reader = _opened(path, losses)
    try:
        try:
            source = BagSource(reader, part, settings, losses)
        except InputError as error:
            raise InputError('; '.join([f'{path}: {error}', *losses.recording])) from error
        yield source
    finally:
        reader.close()


def _opened(path: Path, losses: Losses) -> AnyReader:
    """Open a bag, or what of its files can be opened, as a recorder that was killed leaves it."""
    try:
        return _open([path])
    except _READ_ERRORS as error:
        reason = f'the bag cannot be opened: {error}'
    files = [path] if path.is_file() else sorted(
        [*path.glob('*.mcap'), *path.glob('*.db3')], key=_number)
    pieces = [piece for file in files if (piece := _piece(file, losses)) is not None]
    if not pieces:
        raise InputError('; '.join([f'{path}: {reason}', *losses.recording]))
    if path.is_dir():
        losses.recording.append(f'{path.name}: {reason}; its files are read one by one')
    try:
        return _open(pieces)
    except _READ_ERRORS as error:
        raise InputError(f'{path}: the bag cannot be opened: {error}') from error


def _piece(file: Path, losses: Losses) -> Path | MendedMcap | None:
    """Return what can be opened of a file, with the rest noted as lost."""
    broken = mended(file) if file.suffix == '.mcap' else None
    piece = broken or file
    try:
        _open([piece]).close()
    except _READ_ERRORS as error:
        losses.recording.append(f'{file.name} cannot be opened: {error}')
        return None
    if broken is not None:
        losses.recording.append(broken.loss)
    return piece


def _open(paths: Sequence[Path | MendedMcap]) -> AnyReader:
    reader = AnyReader(
        [*paths], default_typestore=get_typestore(Stores.ROS2_JAZZY))  # type: ignore[list-item]
    reader.open()
    return reader


def _number(path: Path) -> list[str]:
    """Sort ``bag_2`` before ``bag_10``."""
    return [part.zfill(20) for part in re.split(r'(\d+)', path.stem)]
