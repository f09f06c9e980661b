# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The fused map as a grid for navigation."""

from collections.abc import Callable

from da3_ros.mapping.config import GridConfig
from da3_ros.mapping.floor_grid import camera_positions, floor_grid
from da3_ros.mapping.points import WeightedPoints
from da3_ros.mapping.session_record import SessionRecord
from da3_ros.ros.output.grid_message import to_occupancy_grid
from rclpy.lifecycle import LifecyclePublisher
from std_msgs.msg import Header


class GridOutput:
    """Makes the grid of the fused points."""

    def __init__(
        self, publisher: LifecyclePublisher, record: SessionRecord,
        config: Callable[[], GridConfig],
    ) -> None:
        """
        Make nothing yet.

        :param publisher: of the grid.
        :param record: of the session; tells where the cameras were.
        :param config: gives the newest settings.
        """
        self.publisher = publisher
        self._record = record
        self._config = config

    def publish(self, points: WeightedPoints, header: Header) -> None:
        """
        Send the grid.

        :param points: the fused ones, in the frame of the record.
        :param header: of that frame.
        """
        cameras = camera_positions(self._record.session())
        self.publisher.publish(
            to_occupancy_grid(floor_grid(points, cameras, self._config()), header))
