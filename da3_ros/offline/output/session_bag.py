# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A session as a bag: what the node would have published, to be played in RViz and Foxglove."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from da3_ros.errors import SaveError
from da3_ros.export.save import fused_points
from da3_ros.mapping.floor_grid import camera_positions, floor_grid
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.session_record import Session, SessionRecord
from da3_ros.offline.output.bag_writer import BagWriter, Topic
from da3_ros.ros import conversions
from da3_ros.ros.message_types import TFMessage
from da3_ros.ros.output.depth_preview import DepthPreview
from da3_ros.ros.output.grid_message import to_occupancy_grid
from da3_ros.ros.output.keyframe_messages import messages_of
from da3_ros.ros.output.path_history import PathHistory
from da3_ros.ros.output.placement import PlacedKeyframe
from da3_ros.ros.output.point_cloud import to_fused_cloud
from da3_ros.ros.parameters.settings import NodeSettings
from da3_ros.ros.topic_names import camera_topic, OF_CAMERAS

_NODE = '/da3'
_TF = Topic('/tf', 'tf2_msgs/msg/TFMessage')
_ODOMETRY = Topic(f'{_NODE}/odometry', 'nav_msgs/msg/Odometry')
_PATH = Topic(f'{_NODE}/path', 'nav_msgs/msg/Path', is_kept=True)
_MAP = Topic(f'{_NODE}/map', 'sensor_msgs/msg/PointCloud2', is_kept=True)
_GRID = Topic(f'{_NODE}/grid', 'nav_msgs/msg/OccupancyGrid', is_kept=True)
_TYPES = {
    'camera_info': 'sensor_msgs/msg/CameraInfo', 'rgb_camera_info': 'sensor_msgs/msg/CameraInfo',
    'points': 'sensor_msgs/msg/PointCloud2',
    'compressed_rgb': 'sensor_msgs/msg/CompressedImage',
    'compressed_preview': 'sensor_msgs/msg/CompressedImage',
}
_IMAGE = 'sensor_msgs/msg/Image'
# Poses of the path: more than anybody looks at.
_MAX_PATH = 100_000
# It loses some of what the raw one has, and neither RViz nor Foxglove shows it by itself.
_LEFT_OUT = ('compressed_depth',)


class SessionBag:
    """
    Write what the node publishes as it comes, and path, map and grid at the end.

    Messages are dated by the stamps of their images: played, the bag is as quick as the
    recording was, and nothing in it depends on the machine.
    """

    def __init__(self, path: Path, settings: NodeSettings, record: SessionRecord) -> None:
        """
        Begin.

        :param path: of the bag's folder, which does not exist.
        :param settings: of the node.
        :param record: of the session.
        :raises SaveError: if the disk does not take it.
        """
        self.path = path
        self._settings = settings
        self._record = record
        self._previews: dict[str, DepthPreview] = defaultdict(DepthPreview)
        self._history = PathHistory(record)
        self._stamp_ns = 0
        with self._refused():
            self._writer = BagWriter(path, is_compressed=True)

    def __enter__(self) -> 'SessionBag':
        """Return the bag, which is open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """
        Complete the bag, or give it up.

        :raises SaveError: if the disk does not take it.
        """
        with self._refused():
            self._writer.__exit__(kind, error, trace)

    def add(
        self, keyframe: PosedKeyframe, published: PosedKeyframe, placed: PlacedKeyframe
    ) -> None:
        """
        Write the messages of a keyframe, its transform first.

        :param keyframe: as it came out.
        :param published: the same with its depth as published; it is recorded.
        :param placed: where it lies.
        :raises SaveError: if the disk does not take it.
        """
        self._stamp_ns = max(self._stamp_ns, keyframe.stamp_ns)
        if placed.transforms:
            self._write(_TF, keyframe.stamp_ns, TFMessage(transforms=list(placed.transforms)))
        made = messages_of(
            keyframe, published, placed, self._settings, self._previews[keyframe.camera])
        for output, make in made.items():
            if output not in _LEFT_OUT:
                self._write(_topic(keyframe.camera, output), keyframe.stamp_ns, make())
        if placed.leads:
            self._history.extend(keyframe, placed, max_size=_MAX_PATH)

    def end(self, newest: PlacedKeyframe) -> None:
        """
        Write path, map and grid of the whole session.

        :param newest: where its newest keyframe lies, as it is known now.
        :raises SaveError: if the disk does not take it.
        """
        self._record.show(newest.path_frame, newest.path_T_map)
        path = self._history.message()
        if path is not None:
            self._write(_PATH, self._stamp_ns, path)
        self._write_map(self._record.session())

    def _write_map(self, session: Session) -> None:
        header = conversions.to_header(self._stamp_ns, session.frame)
        points = fused_points(session, self._settings.map)
        self._write(_MAP, self._stamp_ns, to_fused_cloud(points, header))
        grid = floor_grid(points, camera_positions(session), self._settings.grid)
        self._write(_GRID, self._stamp_ns, to_occupancy_grid(grid, header))

    def _write(self, topic: Topic, time_ns: int, message: Any) -> None:
        with self._refused():
            self._writer.write(topic, time_ns, message)

    @contextmanager
    def _refused(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SaveError(
                f"bag: got '{self.path}' ({error.strerror or error}), expected a folder with "
                'enough room that can be written') from error


def _topic(camera: str, output: str) -> Topic:
    if output == 'odometry':
        return _ODOMETRY
    name = camera_topic(camera, OF_CAMERAS[output])
    return Topic(f'{_NODE}/{name}', _TYPES.get(output, _IMAGE))
