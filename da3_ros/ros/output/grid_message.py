# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The grid for navigation as a message."""

from da3_ros.mapping.floor_grid import FloorGrid
from da3_ros.ros import conversions
from da3_ros.ros.message_types import Header, OccupancyGrid
import numpy as np


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
    map_T_grid = np.eye(4)
    map_T_grid[:2, 3] = grid.origin
    message.info.origin = conversions.to_pose(map_T_grid)
    message.data = conversions.to_signed_bytes(grid.cells)
    return message
