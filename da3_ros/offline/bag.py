# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Bags of ROS 1 and ROS 2 as recordings."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
import sqlite3
import struct
from typing import Any

from da3_ros.errors import InputError, MessageError
from da3_ros.offline.broken_mcap import mended
from da3_ros.offline.source import Losses, Shot
from da3_ros.offline.topics import CAMERA_INFO, CameraTopics, choose_camera
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

_NS_PER_S = 10**9
# Whatever a file that is cut off or overwritten makes of the reader.
_READ_ERRORS = (
    AnyReaderError, Rosbag1Error, Rosbag2Error, OSError, EOFError, ValueError, IndexError,
    KeyError, RuntimeError, AssertionError, TypeError, sqlite3.Error, struct.error)


@dataclass(frozen=True)
class BagPart:
    """
    What of a bag is read.

    :param image: topic of the images, where there are several.
    :param camera_info: topic of the calibration, where it is not beside the image.
    :param start_s: from the beginning of the bag.
    :param end_s: from the beginning of the bag, or None for its end.
    """

    image: str | None = None
    camera_info: str | None = None
    start_s: float = 0.0
    end_s: float | None = None


class BagSource:
    """The images of one camera of a bag."""

    def __init__(
        self, reader: AnyReader, part: BagPart, settings: CameraSettings, losses: Losses
    ) -> None:
        """
        Find the camera.

        :param reader: of the bag, open.
        :param part: what is read.
        :param settings: how images are received.
        :param losses: where it is noted what does not come out.
        :raises InputError: if there is no such camera.
        """
        self.losses = losses
        self._reader = reader
        self._part = part
        self._settings = settings
        self._topics: CameraTopics = choose_camera(
            reader.connections, image=part.image, camera_info=part.camera_info)
        self._range = ValueRange(
            settings.bits, max_gap_s=settings.max_gap_s, warn=losses.recording.append)

    @property
    def description(self) -> str:
        """Return what is read, for a person."""
        info = self._topics.camera_info
        return f'{self._topics.image[0].topic} with ' + (
            info[0].topic if info else 'intrinsics that the network estimates')

    @property
    def num_images(self) -> int:
        """Return how many images the bag says that it has."""
        return sum(connection.msgcount for connection in self._topics.image)

    def shots(self) -> Iterator[Shot]:
        """Read the pictures; each with the newest calibration, the first with the first one."""
        info = self._first_info()
        newest_ns = 0
        for connection, time_ns, data in self._messages(
                (*self._topics.image, *self._topics.camera_info)):
            newest_ns = max(newest_ns, time_ns)
            try:
                message: Any = self._reader.deserialize(data, connection.msgtype)
                if connection.msgtype == CAMERA_INFO:
                    info = CameraInfo.of(message)
                    continue
                image = self._decode(message)
            except MessageError as error:
                self.losses.images[str(error)] += 1
                continue
            except (*_READ_ERRORS, SerdeError) as error:
                self.losses.images[f'{connection.topic}: message cannot be read: {error}'] += 1
                continue
            yield Shot(
                stamp_ns(message), newest_ns, image, info, message.header.frame_id,
                _encoding(message))

    def _first_info(self) -> 'CameraInfo | None':
        """Return the first calibration: drivers send it after the first image, or once."""
        if not self._topics.camera_info:
            return None
        for connection, _, data in self._messages(self._topics.camera_info, quiet=True):
            try:
                return CameraInfo.of(self._reader.deserialize(data, connection.msgtype))
            except (*_READ_ERRORS, SerdeError):
                continue
        return None

    def _messages(
        self, connections: Sequence[Connection], *, quiet: bool = False
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Read messages as far as the bag can be read."""
        begin = self._reader.start_time
        part = self._part
        start = None if quiet or not part.start_s else begin + round(part.start_s * _NS_PER_S)
        stop = None if part.end_s is None else begin + round(part.end_s * _NS_PER_S)
        num_read = 0
        try:
            for each in self._reader.messages(connections, start=start, stop=stop):
                num_read += 1
                yield each
        except _READ_ERRORS as error:
            if not quiet:
                self.losses.recording.append(
                    f'the bag cannot be read after {num_read} messages: {error}')

    def _decode(self, message: Any) -> RgbImage:
        to_8_bits = partial(
            self._range.to_8_bits, stream=f'{_encoding(message)} {message.header.frame_id}',
            stamp_ns=stamp_ns(message))
        decode = decode_image if hasattr(message, 'encoding') else decode_compressed
        return decode(message, max_pixels=self._settings.max_pixels, to_8_bits=to_8_bits)


@dataclass(frozen=True)
class Roi:
    """The region of interest of a CameraInfo."""

    x_offset: int = 0
    y_offset: int = 0
    width: int = 0
    height: int = 0


@dataclass(frozen=True)
class CameraInfo:
    """A calibration with the names of ROS 2; ROS 1 wrote K, D and P."""

    width: int
    height: int
    distortion_model: str
    d: tuple[float, ...]
    k: tuple[float, ...]
    p: tuple[float, ...]
    binning_x: int = 0
    binning_y: int = 0
    roi: Roi = Roi()

    @staticmethod
    def of(message: Any) -> 'CameraInfo':
        """
        Read a message.

        :param message: of ROS 1 or ROS 2.
        """
        def numbers(name: str) -> tuple[float, ...]:
            values = getattr(message, name) if hasattr(message, name) else getattr(
                message, name.upper())
            return tuple(float(value) for value in values)

        roi = message.roi
        return CameraInfo(
            message.width, message.height, message.distortion_model, numbers('d'), numbers('k'),
            numbers('p'), message.binning_x, message.binning_y,
            Roi(roi.x_offset, roi.y_offset, roi.width, roi.height))


def stamp_ns(message: Any) -> int:
    """Return the stamp of a message with a header."""
    stamp = message.header.stamp
    return int(stamp.sec) * _NS_PER_S + int(stamp.nanosec)


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
    store = get_typestore(Stores.ROS2_JAZZY)
    try:
        reader = AnyReader([path], default_typestore=store)
        reader.open()
    except _READ_ERRORS as error:
        files = sorted(path.glob('*.mcap')) if path.is_dir() else [path]
        broken = mended(files[-1]) if files and files[-1].suffix == '.mcap' else None
        if broken is None or len(files) > 1:
            raise InputError(f'{path}: the bag cannot be opened: {error}') from error
        try:
            reader = AnyReader([broken], default_typestore=store)  # type: ignore[list-item]
            reader.open()
        except _READ_ERRORS as again:
            raise InputError(f'{path}: the bag cannot be opened: {again}') from again
        losses.recording.append(broken.loss)
    return reader
