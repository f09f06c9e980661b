# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Messages become a bag of ROS 2, without ROS."""

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from rosbags.interfaces import (
    Connection,
    Nodetype,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores
from rosbags.typesys.store import Typestore

# Of ROS 2 Jazzy.
BAG_VERSION: Literal[9] = 9
_DEPTH = 10


@dataclass(frozen=True)
class Topic:
    """
    A topic of a bag.

    :param name: with a leading slash.
    :param type: such as ``sensor_msgs/msg/Image``.
    :param is_kept: whether a player keeps the last message for who comes later.
    """

    name: str
    type: str  # noqa: A003
    is_kept: bool = False


class BagWriter:
    """Write an MCAP bag; what its topics are is found out when their first message comes."""

    def __init__(self, path: Path, *, is_compressed: bool = False) -> None:
        """
        Create the bag.

        :param path: of its folder, which does not exist.
        :param is_compressed: pack the messages, losing nothing.
        :raises OSError: if the disk does not take it.
        """
        self._store: Typestore = get_typestore(Stores.ROS2_JAZZY)
        self._connections: dict[Topic, Connection] = {}
        self._writer = Writer(path, version=BAG_VERSION, storage_plugin=StoragePlugin.MCAP)
        if is_compressed:
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._writer.open()

    def __enter__(self) -> 'BagWriter':
        """Return the writer, which is open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Complete the bag, or give it up."""
        self._writer.__exit__(kind, error, trace)

    def write(self, topic: Topic, time_ns: int, message: Any) -> None:
        """
        Append a message.

        :param topic: that it is of.
        :param time_ns: when it was received.
        :param message: with the fields of its type.
        :raises OSError: if the disk does not take it.
        """
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic.name, topic.type, typestore=self._store,
                offered_qos_profiles=[_qos(topic)])
        data = self._store.serialize_cdr(_native(self._store, topic.type, message), topic.type)
        self._writer.write(self._connections[topic], time_ns, data)


def _native(store: Typestore, name: str, message: Any) -> Any:
    """Return a message as the store takes it: numbers that are many in numpy's arrays."""
    return store.types[name](**{
        key: _native_field(store, kind, getattr(message, key))
        for key, kind in store.fielddefs[name][1]})


def _native_field(store: Typestore, kind: Any, value: Any) -> Any:
    node, detail = kind
    if node == Nodetype.NAME:
        return _native(store, detail, value)
    if node == Nodetype.BASE:
        return value
    element = detail[0]
    if element[0] == Nodetype.NAME:
        return [_native(store, element[1], each) for each in value]
    return np.asarray(value, dtype=element[1][0])


def _qos(topic: Topic) -> Qos:
    """Return what a player of the bag shall offer."""
    unset = QosTime(0, 0)
    return Qos(
        QosHistory.KEEP_LAST, 1 if topic.is_kept else _DEPTH, QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL if topic.is_kept else QosDurability.VOLATILE,
        deadline=unset, lifespan=unset, liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=unset, avoid_ros_namespace_conventions=False)
