# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The fused map: one point per voxel, weighted, bounded, and movable."""

from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.config import MapConfig
from da3_ros.mapping.correction import MapCorrection
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.points import fuse, observe, WeightedPoints
from da3_ros.mapping.voxel_map import VoxelMap
import numpy as np
from perfect_engine import HEIGHT, INTRINSICS, level_camera, Room, WIDTH
import pytest
from scipy.spatial.transform import Rotation

CONFIG = MapConfig(voxel_m=0.1)


def points_at(positions, *, weights=None, colours=None, seen_by=0):
    """Make single observations."""
    positions = np.atleast_2d(np.asarray(positions, np.float32))
    count = len(positions)
    return WeightedPoints(
        positions,
        np.zeros((count, 3), np.float32) if colours is None else np.asarray(colours, np.float32),
        np.ones(count, np.float32) if weights is None else np.asarray(weights, np.float32),
        np.ones(count, np.int32), np.full(count, seen_by, np.int64))


def cloud(count, *, seed=0, size=2.0, **fields):
    """Scatter points around the origin, on both sides of it."""
    random = np.random.default_rng(seed)
    return points_at(
        random.uniform(-size, size, (count, 3)), weights=random.uniform(0.1, 9.0, count),
        colours=random.uniform(0, 255, (count, 3)), **fields)


def cells(points, voxel=0.1):
    """Name the voxels that points lie in."""
    return [tuple(cell) for cell in np.floor(points.positions / np.float32(voxel)).astype(int)]


def keyframe(id_, pose, room):
    """Look at a room."""
    return PosedKeyframe(
        id_, id_, 'camera', room.image(pose), room.depth(pose).astype(np.float32),
        np.full((HEIGHT, WIDTH), 3.0, np.float32), INTRINSICS, pose, 0, True)


def test_one_weighted_mean_per_voxel():
    """The same as the definition, voxel by voxel."""
    points = cloud(3000)
    fused = fuse(points, 0.5)
    names = np.array(cells(points, 0.5))
    assert len(set(cells(fused, 0.5))) == len(fused) == len(np.unique(names, axis=0))
    for index, name in enumerate(cells(fused, 0.5)):
        inside = (names == name).all(axis=1)
        weights = points.weights[inside]
        for values, mean in ((points.positions, fused.positions), (points.colours, fused.colours)):
            np.testing.assert_allclose(
                mean[index], np.average(values[inside], axis=0, weights=weights), rtol=1e-4,
                atol=1e-5)
        assert fused.counts[index] == inside.sum()
        assert fused.weights[index] == pytest.approx(weights.sum(), rel=1e-5)


def test_fusing_in_parts_is_fusing_at_once():
    """The order and the grouping of the keyframes do not matter."""
    parts = [cloud(500, seed=seed, seen_by=seed) for seed in range(4)]
    at_once = fuse(WeightedPoints.joined(parts), 0.5)
    grown = WeightedPoints.none()
    for part in reversed(parts):
        grown = fuse(WeightedPoints.joined([fuse(part, 0.5), grown]), 0.5)
    np.testing.assert_allclose(grown.positions, at_once.positions, atol=1e-4)
    np.testing.assert_array_equal(grown.counts, at_once.counts)
    np.testing.assert_array_equal(grown.seen_by, at_once.seen_by)


def test_what_cannot_be_numbered_is_dropped():
    """Points beyond all voxels, and those that are no numbers, do no harm."""
    fused = fuse(points_at([[1.0, 0, 0], [3e6, 0, 0], [np.inf, 0, 0], [np.nan, 0, 0]]), 0.001)
    np.testing.assert_allclose(fused.positions, [[1.0, 0, 0]])
    assert len(fuse(points_at([[np.nan] * 3]), 1.0)) == 0
    assert len(fuse(WeightedPoints.none(), 1.0)) == 0


def test_observations_are_the_known_pixels():
    """Position, colour and weight; NaN, sky, doubt and distance are left out."""
    room, pose = Room(), level_camera((0.5, 0.2, 0.0), 0.7)
    view = keyframe(7, pose, room)
    depth = view.depth.copy()
    depth[0, 0], depth[1, 1] = np.nan, np.inf
    view.confidence[2, 2] = 1.5
    points = observe(view, depth, frame_S_camera=Sim3.from_rigid(pose, scale=2.0),
                     min_confidence=2.0, limit=1e3)
    assert len(points) == HEIGHT * WIDTH - 3
    np.testing.assert_allclose(points.confidence, 3.0)
    assert set(points.seen_by) == {7}
    # With a scale of 2 about the camera every point is twice as far from it.
    truth = (points.positions - pose[:3, 3]) / 2.0 + pose[:3, 3]
    walls = np.concatenate([truth - room.lower, truth - room.upper], axis=1)
    assert np.abs(walls).min(axis=1).max() < 1e-4
    near = observe(view, depth, frame_S_camera=Sim3.from_rigid(pose), min_confidence=2.0,
                   limit=float(np.nanmedian(depth)))
    assert 0 < len(near) < len(points)


def test_a_room_seen_often_stays_on_its_walls():
    """Fusion of many views neither grows without bound nor leaves the surface."""
    room, fused = Room(), VoxelMap()
    sizes = []
    for turn in range(2):
        for index in range(24):
            pose = level_camera((0.3 * index, 0.0, 0.0), index * np.pi / 12)
            view = keyframe(24 * turn + index, pose, room)
            points = observe(view, view.depth, frame_S_camera=Sim3.from_rigid(pose),
                             min_confidence=1.0, limit=np.inf)
            fused.add(points, pose[:3, 3], CONFIG)
        sizes.append(len(fused.points(CONFIG)))
    assert sizes[1] == sizes[0] > 1000
    points = fused.points(CONFIG)
    walls = np.concatenate(
        [points.positions - room.lower, points.positions - room.upper], axis=1)
    distance = np.abs(walls).min(axis=1)
    # A voxel in a corner of the room holds points of two walls.
    assert np.quantile(distance, 0.9) < 1e-5
    assert distance.max() < CONFIG.voxel_m / 2


def test_the_bound_holds_and_the_oldest_go_first():
    """At all times; among equals the farthest."""
    fused, config = VoxelMap(), MapConfig(voxel_m=0.1, max_voxels=150)
    for seen_by in range(5):
        line = points_at([[10.0 * seen_by + 0.1 * i + 0.05, 0, 0] for i in range(100)],
                         seen_by=seen_by)
        fused.add(line, np.array([10.0 * seen_by, 0.0, 0.0]), config)
        points = fused.points(config)
        assert len(points) == min(150, 100 * (seen_by + 1))
    newest, oldest = points.seen_by == 4, points.seen_by == 3
    assert (newest.sum(), oldest.sum()) == (100, 50)
    # The newest camera is at 40: of the second newest those at 35 and beyond stay.
    assert points.positions[oldest, 0].min() > 34.9


def test_what_is_seen_again_is_young_again():
    """An old voxel that the newest keyframe saw is kept."""
    fused, config = VoxelMap(), MapConfig(voxel_m=0.1, max_voxels=2)
    for seen_by, x in enumerate((0.05, 1.05, 0.05, 2.05)):
        fused.add(points_at([[x, 0, 0]], seen_by=seen_by), np.zeros(3), config)
    points = fused.points(config)
    assert sorted(points.positions[:, 0]) == pytest.approx([0.05, 2.05])
    assert dict(zip(points.seen_by.tolist(), points.counts.tolist(), strict=True)) == {2: 2, 3: 1}


def test_what_waits_to_be_merged_is_bounded_too():
    """Without anybody asking for the map, memory does not grow."""
    fused, config = VoxelMap(), MapConfig(voxel_m=0.1, max_voxels=1000)
    for seen_by in range(50):
        fused.add(cloud(300, seed=seen_by, seen_by=seen_by), np.zeros(3), config)
        held = len(fused._fused) + sum(map(len, fused._waiting))
        assert held <= 1000 + 0.25 * 1000
    assert len(fused.points(config)) == 1000


def test_a_coarser_grid_takes_effect_at_once():
    """The size of the voxels may change while the node runs."""
    fused = VoxelMap()
    fused.add(cloud(3000), np.zeros(3), CONFIG)
    fine = fused.points(CONFIG)
    coarse = fused.points(MapConfig(voxel_m=1.0))
    assert len(coarse) == 4 ** 3 < len(fine)
    assert coarse.counts.sum() == 3000


def test_a_correction_moves_each_keyframe_its_own_way():
    """Also what was not merged yet; the map is then as if it had been made there."""
    random = np.random.default_rng(5)
    moves = {
        id_: Sim3(random.uniform(0.8, 1.2), Rotation.random(random_state=random).as_matrix(),
                  random.normal(size=3))
        for id_ in (0, 10)}
    correction = MapCorrection.of(reversed(moves.items()))
    # Far apart, so that no voxel holds points of two keyframes.
    corners = {0: (0.0, 0.0, 0.0), 4: (20.0, 0.0, 0.0), 9: (0.0, 20.0, 0.0)}
    parts = [
        points_at(np.add(corner, random.uniform(0, 1, (50, 3))), seen_by=id_)
        for id_, corner in corners.items()]
    fused, config = VoxelMap(), MapConfig(voxel_m=0.001)
    fused.add(parts[0], np.zeros(3), config)
    fused.points(config)
    for part in parts[1:]:
        fused.add(part, np.zeros(3), config)
    fused.correct(correction)
    points = fused.points(config)
    for part, anchor in zip(parts, (0, 0, 10), strict=True):
        expected = moves[anchor].transform_points(part.positions.astype(np.float64))
        got = points.positions[points.seen_by == part.seen_by[0]]
        np.testing.assert_allclose(
            got[np.argsort(got[:, 0])], expected[np.argsort(expected[:, 0])], atol=1e-4)


def test_a_closed_loop_brings_two_copies_of_a_wall_together():
    """A wall seen twice with drift between becomes one wall again."""
    room, pose = Room(), level_camera((0.0, 0.0, 0.0), 0.0)
    view, again = keyframe(0, pose, room), keyframe(100, pose, room)
    drift = Sim3(1.1, Rotation.from_euler('z', 0.2).as_matrix(), np.array([0.5, -0.3, 0.1]))
    fused = VoxelMap()
    for seen, map_S_camera in ((view, Sim3.from_rigid(pose)),
                               (again, drift @ Sim3.from_rigid(pose))):
        points = observe(seen, seen.depth, frame_S_camera=map_S_camera, min_confidence=1.0,
                         limit=np.inf)
        fused.add(points, pose[:3, 3], CONFIG)
    doubled = len(fused.points(CONFIG))
    single = VoxelMap()
    points = observe(view, view.depth, frame_S_camera=Sim3.from_rigid(pose), min_confidence=1.0,
                     limit=np.inf)
    single.add(points, pose[:3, 3], CONFIG)
    alone = len(single.points(CONFIG))
    assert doubled > 1.6 * alone
    fused.correct(MapCorrection.of([(0, Sim3.identity()), (100, drift.inverse())]))
    assert len(fused.points(CONFIG)) < 1.15 * alone


def see(fused, view, depth, map_S_camera, config):
    """Add what a keyframe sees, and note what it looks through."""
    fused.add(observe(view, depth, frame_S_camera=map_S_camera, min_confidence=1.0, limit=np.inf),
              map_S_camera.translation, config)
    fused.look(view, depth, map_S_camera, config)


def look_around(fused, numbers, *, box_m=None, noise=0.0, wrong=(), config=CONFIG):
    """See a room from a place that moves a little; a box may stand before the camera."""
    room, random = Room(), np.random.default_rng(0)
    for number in numbers:
        pose = level_camera((0.02 * (number % 10), 0.0, 0.0), 0.05 * (number % 4))
        view = keyframe(number, pose, room)
        depth = view.depth * (1.0 + noise * random.standard_normal(view.depth.shape))
        if box_m is not None:
            depth[16:32, 20:44] = box_m - pose[0, 3]
        if number in wrong:
            depth[:] = 50.0
        see(fused, view, depth.astype(np.float32), Sim3.from_rigid(pose), config)
    return fused.points(config)


def in_the_way(points):
    """Return which points are of the box, between the camera and the wall ahead."""
    return (points.positions[:, 0] > 1.0) & (points.positions[:, 0] < 4.0) & (
        np.abs(points.positions[:, 1]) < 1.5) & (points.positions[:, 2] > -1.0) & (
        points.positions[:, 2] < 1.0)


@pytest.mark.parametrize('ask_between', [False, True])
def test_what_went_away_is_forgotten_and_the_walls_stay(ask_between):
    """A box before the camera, which others look through afterwards; all merged at once or not."""
    fused = VoxelMap()
    with_box = look_around(fused, range(5), box_m=2.5)
    assert in_the_way(with_box).sum() > 100
    steps = [range(5, 9), range(9, 40)] if ask_between else [range(5, 40)]
    for numbers in steps:
        after = look_around(fused, numbers)
    assert in_the_way(after).sum() == 0
    never = VoxelMap()
    without = look_around(never, range(40))
    assert len(after) > 0.98 * len(without)


def test_one_wrong_keyframe_carves_nothing_and_neither_do_a_few_far_apart():
    fused = VoxelMap()
    before = len(look_around(fused, range(20)))
    for number in range(20, 60, 5):
        look_around(fused, range(number, number + 5), wrong=[number])
    seen = fused.points(CONFIG)
    assert (seen.positions[:, 0] < 10.0).sum() > 0.98 * before


def test_noise_does_not_carve_walls():
    """Three percent of noise leaves what a map without carving has, but for single points."""
    fused, kept = VoxelMap(), VoxelMap()
    room, random = Room(), np.random.default_rng(1)
    for number in range(30):
        pose = level_camera((0.02 * number, 0.0, 0.0), 0.0)
        view = keyframe(number, pose, room)
        depth = (view.depth * (1.0 + 0.03 * random.standard_normal(view.depth.shape))).astype(
            np.float32)
        see(fused, view, depth, Sim3.from_rigid(pose), CONFIG)
        kept.add(observe(view, depth, frame_S_camera=Sim3.from_rigid(pose), min_confidence=1.0,
                         limit=np.inf), pose[:3, 3], CONFIG)
    assert len(fused.points(CONFIG)) > 0.97 * len(kept.points(CONFIG))


@pytest.mark.parametrize('ahead, stays', [(np.nan, True), (np.inf, False), (2.6, True)])
def test_only_what_is_known_to_be_free_is_carved(ahead, stays):
    """Unknown depth carves nothing, the sky all, and what is just behind a point nothing."""
    fused, room = VoxelMap(), Room()
    look_around(fused, range(3), box_m=2.5)
    pose = level_camera((0.0, 0.0, 0.0), 0.0)
    for number in range(3, 9):
        view = keyframe(number, pose, room)
        see(fused, view, np.full_like(view.depth, ahead), Sim3.from_rigid(pose), CONFIG)
    boxed = fused.points(CONFIG)
    assert ((in_the_way(boxed) & (boxed.seen_by < 3)).sum() > 50) == stays


def test_a_correction_moves_what_keyframes_look_through():
    """Looks that wait to be merged move with their keyframe, and change their unit with it."""
    fused, room = VoxelMap(), Room()
    move = Sim3(2.0, Rotation.from_euler('z', 1.0).as_matrix(), np.array([3.0, 0.0, 0.0]))
    look_around(fused, range(3), box_m=2.5)
    pose = level_camera((0.0, 0.0, 0.0), 0.0)
    for number in range(3, 8):
        see(fused, keyframe(number, pose, room), room.depth(pose).astype(np.float32),
            Sim3.from_rigid(pose), CONFIG)
    fused.correct(MapCorrection.of([(0, move)]))
    points = fused.points(CONFIG)
    back = WeightedPoints(
        move.inverse().transform_points(points.positions.astype(np.float64)).astype(np.float32),
        points.colours, points.weights, points.counts, points.seen_by)
    assert in_the_way(back).sum() == 0
    assert len(points) > 1000
