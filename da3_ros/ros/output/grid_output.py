# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The fused map as a grid for navigation."""

from collections.abc import Callable

from da3_ros.mapping.config import GridConfig
from da3_ros.mapping.floor_grid import camera_positions, floor_grid, FloorGrid
from da3_ros.mapping.points import WeightedPoints
from da3_ros.mapping.session_record import SessionRecord
from da3_ros.ros import conversions
from nav_msgs.msg import OccupancyGrid
from rclpy.lifecycle import LifecyclePublisher
from std_msgs.msg import Header


def to_occupancy_grid(grid: FloorGrid, header: Header) -> OccupancyGrid:
    """
    Make the message.

    :param grid: what stands where.
    :param header: of the message.
    """
    message = OccupancyGrid(header=header)
    message.info.map_load_time = header.stamp
    message.info.resolution = float(grid.cell_m)
    message.info.height, message.info.width = (int(side) for side in grid.cells.shape)
    position = message.info.origin.position
    position.x, position.y = (float(value) for value in grid.origin)
    message.data = conversions.to_signed_bytes(grid.cells)
    return message


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
