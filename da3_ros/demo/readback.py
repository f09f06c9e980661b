# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""Reads back what was true and what the node published."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from da3_ros.demo import topics
from da3_ros.demo.child import DemoError
from da3_ros.demo.messages import MessageCodec, read_image, read_points, read_pose, stamp_ns
from da3_ros.geometry.arrays import Array
from da3_ros.geometry.camera import DepthImage
import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import Reader


@dataclass(frozen=True, eq=False)
class TrueView:
    """
    What a frame would be for a perfect node.

    :param image: (H, W, 3) uint8 RGB.
    :param depth: (H, W) float32 [m].
    :param intrinsics: (3, 3) [px].
    :param world_T_camera: (4, 4) [m].
    """

    image: NDArray[np.uint8]
    depth: DepthImage
    intrinsics: Array
    world_T_camera: Array


@dataclass(frozen=True, eq=False)
class Output:
    """
    Everything that the node published for one keyframe.

    :param arrival_ns: wall clock when the last part of it had arrived.
    :param depth: (h, w) float32, NaN unknown, +inf beyond range.
    :param intrinsics: (3, 3) [px] of ``depth``.
    :param odom_T_camera: (4, 4).
    :param points: (N, 3) float32, camera frame.
    :param colours: (N, 3) uint8 RGB of the points.
    """

    arrival_ns: int
    depth: DepthImage
    intrinsics: Array
    odom_T_camera: Array
    points: NDArray[np.float32]
    colours: NDArray[np.uint8]


def read_truth(bag: Path) -> dict[int, TrueView]:
    """
    Read a film's bag.

    :param bag: from ``film_bag``.
    :returns: by stamp.
    """
    names = (topics.IMAGE, topics.CAMERA_INFO, topics.TRUE_DEPTH, topics.TRUE_ODOMETRY)
    return {
        stamp: TrueView(
            image=read_image(parts[topics.IMAGE]),
            depth=read_image(parts[topics.TRUE_DEPTH]),
            intrinsics=parts[topics.CAMERA_INFO].k.reshape(3, 3),
            world_T_camera=read_pose(parts[topics.TRUE_ODOMETRY]),
        )
        for stamp, (_, parts) in _sets(bag, names).items()
    }


def read_outputs(bag: Path, node: str) -> dict[int, Output]:
    """
    Read what the recorder wrote.

    :param bag: of the recorder.
    :param node: full name of the node.
    :returns: by stamp, in the order of arrival.
    :raises DemoError: if a part of a keyframe is missing, doubled or of another frame.
    """
    depth, info, odometry, points = (f'{node}/{name}' for name in (
        'depth/image', 'depth/camera_info', 'odometry', 'points'))
    outputs = {}
    for stamp, (arrival_ns, parts) in _sets(bag, (depth, info, odometry, points)).items():
        if parts[odometry].child_frame_id != topics.CAMERA_FRAME:
            raise DemoError(
                f'{odometry}: got frame {parts[odometry].child_frame_id}, '
                f'expected {topics.CAMERA_FRAME}')
        cloud = read_points(parts[points])
        outputs[stamp] = Output(
            arrival_ns=arrival_ns,
            depth=read_image(parts[depth]),
            intrinsics=parts[info].k.reshape(3, 3),
            odom_T_camera=read_pose(parts[odometry]),
            points=cloud.points,
            colours=cloud.colours,
        )
    return outputs


def _sets(bag: Path, names: Collection[str]) -> dict[int, tuple[int, dict[str, Any]]]:
    """Group messages by stamp: the time of the last one, and the messages by topic."""
    sets: dict[int, tuple[int, dict[str, Any]]] = {}
    for topic, time_ns, message in _messages(bag, names):
        stamp = stamp_ns(message)
        _, parts = sets.get(stamp, (0, {}))
        if topic in parts:
            raise DemoError(f'{topic}: two messages with the stamp {stamp}')
        sets[stamp] = time_ns, {**parts, topic: message}
    for stamp, (_, parts) in sets.items():
        missing = sorted(set(names) - set(parts))
        if missing:
            raise DemoError(f'no message with the stamp {stamp} on {", ".join(missing)}')
    return sets


def _messages(bag: Path, names: Collection[str]) -> Iterator[tuple[str, int, Any]]:
    codec = MessageCodec()
    with Reader(bag) as reader:
        connections = [c for c in reader.connections if c.topic in names]
        if len(connections) < len(names):
            found = {c.topic for c in connections}
            raise DemoError(f'{bag}: nothing on {", ".join(sorted(set(names) - found))}')
        for connection, time_ns, data in reader.messages(connections):
            yield connection.topic, time_ns, codec.deserialize(data, connection.msgtype)
