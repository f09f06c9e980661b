# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A grid as a picture and a page beside it, which Nav2's map_server reads."""

from da3_ros.export.atomic_folder import AtomicFolder
from da3_ros.mapping.floor_grid import FloorGrid, FREE, OCCUPIED
import numpy as np

_BLACK, _GREY, _WHITE = 0, 205, 254
# Grey is 0.19608 of black: with the usual 0.25 map_server would take the unknown for free.
_FREE_BELOW = 0.196
_OCCUPIED_ABOVE = 0.65


def write_floor_map(folder: AtomicFolder, grid: FloorGrid) -> None:
    """
    Write ``grid.pgm`` and ``grid.yaml``.

    :param folder: to write to.
    :param grid: with at least one cell.
    """
    rows, columns = grid.cells.shape
    pixels = np.full(grid.cells.shape, _GREY, np.uint8)
    pixels[grid.cells == FREE] = _WHITE
    pixels[grid.cells == OCCUPIED] = _BLACK
    with folder.open('grid.pgm') as file:
        file.write(f'P5\n{columns} {rows}\n255\n'.encode())
        # Pictures begin at the top, which is the end of y.
        file.write(pixels[::-1].tobytes())
    x, y = grid.origin.tolist()
    with folder.open('grid.yaml') as file:
        file.write((
            f'image: grid.pgm\nmode: trinary\nresolution: {grid.cell_m!r}\n'
            f'origin: [{x:.9f}, {y:.9f}, 0.0]\nnegate: 0\n'
            f'occupied_thresh: {_OCCUPIED_ABOVE}\nfree_thresh: {_FREE_BELOW}\n').encode())
