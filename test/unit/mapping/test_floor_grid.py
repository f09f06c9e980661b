# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The fused map seen from above: what stands there, what is free, and what nobody saw."""

from da3_ros.mapping import floor_grid as module
from da3_ros.mapping.config import GridConfig
from da3_ros.mapping.floor_grid import FREE, OCCUPIED, UNKNOWN
from da3_ros.mapping.points import WeightedPoints
import numpy as np
import pytest

CONFIG = GridConfig(cell_m=0.5, min_height_m=0.2, max_height_m=2.0)
CAMERA = {0: np.array([0.25, 0.25, 1.0])}


def points_at(*positions, seen_by=0):
    """Make observations."""
    count = len(positions)
    return WeightedPoints(
        np.array(positions, np.float32).reshape(-1, 3), np.zeros((count, 3), np.float32),
        np.ones(count, np.float32), np.ones(count, np.int32), np.full(count, seen_by, np.int64))


def grid_of(*positions, cameras=CAMERA, config=CONFIG, **options):
    """Look at points from above."""
    return module.floor_grid(points_at(*positions, **options), cameras, config)


def value(grid, x, y):
    """Read the cell at a place, as the convention of map_server says."""
    column, row = np.floor((np.array([x, y]) - grid.origin) / grid.cell_m).astype(int)
    assert min(column, row) >= 0
    return grid.cells[row, column]


def test_a_point_is_in_the_way_and_what_is_before_it_is_free():
    """Behind it nothing is known; rows are y, columns are x."""
    grid = grid_of((3.25, 0.25, 1.0), (0.25, -1.75, 1.0))
    assert [value(grid, x, 0.25) for x in (0.25, 1.25, 2.75, 3.25)] == [FREE] * 3 + [OCCUPIED]
    assert [value(grid, 0.25, y) for y in (-1.75, -1.25, -0.25)] == [OCCUPIED, FREE, FREE]
    assert value(grid, 3.25, -1.75) == UNKNOWN
    assert grid.cells.shape == (5, 7)
    np.testing.assert_allclose(grid.origin, (0.0, -2.0))


@pytest.mark.parametrize(('z', 'last_free'), [(0.0, 4.0), (3.0, 2.5)])
def test_a_ray_says_something_only_within_the_band(z, last_free):
    """One to the floor or to the ceiling leaves the band before it ends."""
    grid = grid_of((5.25, 0.25, z), (6.25, 3.25, 1.0))
    assert value(grid, last_free - 0.1, 0.25) == FREE
    assert value(grid, last_free + 0.6, 0.25) == UNKNOWN
    assert value(grid, 5.25, 0.25) == UNKNOWN


@pytest.mark.parametrize(('z', 'expected'), [
    (0.1, UNKNOWN), (0.3, OCCUPIED), (1.9, OCCUPIED), (2.1, UNKNOWN)])
def test_what_is_lower_or_higher_is_not_in_the_way(z, expected):
    """The band has two ends."""
    grid = grid_of((3.25, 0.25, z), (4.25, 4.25, 1.0), (0.25, -1.75, 1.0), seen_by=7)
    assert value(grid, 3.25, 0.25) == expected


def test_cameras_out_of_the_band_clear_what_they_look_at_in_it():
    """From a mast, the way down to the floor; level with the ceiling nothing."""
    mast = {0: np.array([0.25, 0.25, 4.0])}
    grid = grid_of((8.25, 0.25, 0.0), (0.25, 0.25, 1.0), cameras=mast)
    assert value(grid, 5.25, 0.25) == FREE
    assert value(grid, 3.25, 0.25) == UNKNOWN
    level = grid_of((8.25, 0.25, 4.0), (8.25, 0.25, 1.9), cameras=mast)
    assert (level.cells == FREE).sum() <= 1


def test_a_cell_that_holds_something_is_not_free_for_rays_over_it():
    """Whatever else was seen behind it."""
    grid = grid_of((2.25, 0.25, 0.4), (5.25, 0.25, 1.0))
    assert [value(grid, x, 0.25) for x in (2.25, 3.25, 5.25)] == [OCCUPIED, FREE, OCCUPIED]


def test_points_of_forgotten_cameras_are_in_the_way_without_a_ray():
    """Their poses went, but what they saw stands there."""
    grid = grid_of((3.25, 0.25, 1.0), seen_by=5)
    assert grid.cells.tolist() == [[OCCUPIED]]
    np.testing.assert_allclose(grid.origin, (3.0, 0.0))


def test_nothing_was_seen():
    """No cell; not an error."""
    assert grid_of().cells.size == 0
    assert grid_of((3.0, 0.0, 9.0), seen_by=5).cells.size == 0


def test_a_stray_point_costs_no_memory():
    """What is too far from the cameras is left out, the way to it is free."""
    grid = grid_of((3e4, 0.25, 1.0), (0.25, 2.25, 1.0))
    assert grid.cells.size < 10 * 4000
    assert value(grid, 999.0, 0.25) == FREE
    assert value(grid, 0.25, 2.25) == OCCUPIED


def test_the_origin_stays_on_the_cells_while_the_map_grows():
    """Cells do not move between two messages."""
    for x in (-3.1, -7.77, -20.3):
        grid = grid_of((x, 0.25, 1.0))
        np.testing.assert_allclose(grid.origin / 0.5, np.rint(grid.origin / 0.5))


def test_rays_are_those_of_a_walk_along_each():
    """In a thousand directions, each sampled finely on its own."""
    random = np.random.default_rng(0)
    ends = random.uniform(-5.0, 5.0, (1000, 3)) + (0.0, 0.0, 1.0)
    grid = grid_of(*ends)
    camera, crossed = CAMERA[0], set()
    for end in ends.astype(np.float32).astype(np.float64):
        walk = camera + np.linspace(0.0, 1.0, 400)[:, None] * (end - camera)
        inside = (walk[:, 2] >= 0.2) & (walk[:, 2] <= 2.0)
        crossed |= set(map(tuple, np.floor(walk[inside, :2] / 0.5).astype(int).tolist()))
    rows, columns = np.nonzero(grid.cells == FREE)
    first = np.rint(grid.origin / 0.5).astype(int)
    free = set(zip((columns + first[0]).tolist(), (rows + first[1]).tolist(), strict=True))
    # A line of cells goes beside a corner that the ray cuts.
    assert len(free - crossed) <= 0.02 * len(free)
    occupied = int((grid.cells == OCCUPIED).sum())
    assert len(free) + occupied > 0.9 * len(crossed)


def test_too_many_rays_are_thinned_out(monkeypatch):
    """Evenly; what stands there is all there."""
    monkeypatch.setattr(module, '_MAX_RAYS', 2)
    grid = grid_of(*((3.25, 0.25 + y, 1.0) for y in range(4)))
    assert (grid.cells == OCCUPIED).sum() == 4
    assert value(grid, 2.25, 0.25) == FREE


def test_a_band_without_height_is_refused():
    """With both ends named."""
    with pytest.raises(ValueError, match=r'grid.min_height_m: got 2.0.*grid.max_height_m, 1.0'):
        GridConfig(min_height_m=2.0, max_height_m=1.0)
