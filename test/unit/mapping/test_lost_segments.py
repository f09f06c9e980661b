# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What is known of a window that was refused, and of metres before and after a tie."""

from dataclasses import replace

import bare_windows
from bare_windows import Drive, straight, true_depth, true_scale
from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.config import AlignmentConfig, ScaleConfig
from da3_ros.mapping.correction import MapCorrection
from da3_ros.mapping.world import World
import numpy as np
import pytest


def window(truth, numbers, random, **options):
    return bare_windows.window(Drive(truth, **options), numbers, random)


def garbled(view, random):
    """Make nonsense of what a window sees."""
    wrong = random.uniform(0.1, 3.0, view.depth.shape)
    return replace(view, depth=(view.depth * wrong).astype(np.float32))


def test_of_a_refused_window_neither_direction_nor_size_is_known():
    truth, random = straight(3.0, 40), np.random.default_rng(10)
    world = World(AlignmentConfig(), ScaleConfig(source='none'))
    far = np.array([1000.0, 0.0, 0.0])
    first = world.place(window(truth, range(12), random), is_metric=False)
    assert np.sqrt(np.diag(first.drift.covariance(far))[:3]).max() < 20.0
    views = [garbled(view, random) for view in window(truth, range(4, 16), random)]
    bad = world.place(views, is_metric=False)
    assert bad.rejection is not None
    # Along the way it is the size that is not known, across it the direction.
    assert np.sqrt(np.diag(bad.drift.covariance(far))[:3]).min() > 900.0


def test_what_a_join_adds_to_the_covariance_is_counted_from_where_odom_has_it():
    """Not from where the map does, which a loop may have moved far away."""
    truth, random = straight(3.0, 40), np.random.default_rng(13)
    world = World(AlignmentConfig(), ScaleConfig(source='none'))
    world.place(window(truth, range(12), random), is_metric=False)
    world.correct(MapCorrection.of([(0, Sim3(1.0, np.eye(3), np.array([1000.0, 0.0, 0.0])))]))
    views = [garbled(view, random) for view in window(truth, range(4, 16), random)]
    bad = world.place(views, is_metric=False)
    here = bad.odom_S_window.transform_pose(views[-1].window_T_camera)[:3, 3]
    assert np.sqrt(np.diag(bad.drift.covariance(here))[:3]).max() < 20.0


def test_metres_that_come_after_a_loss_are_found_over_the_tie():
    """A source that begins to speak only when a window was lost."""
    truth = straight(3.0, 41)
    random = np.random.default_rng(1)
    world = World(AlignmentConfig(), ScaleConfig(source='tf'))
    robots = {number: None if number < 3 else truth for number in range(20)}
    placed = []
    for number, views in enumerate(bare_windows.windows(Drive(truth), random, size=16)):
        robot = robots[number]
        views = [replace(view, keyframe=replace(view.keyframe, frame=replace(
            view.keyframe.frame,
            robot_T_camera=None if robot is None else robot[view.keyframe.id])))
            for view in views]
        if number in (3, 4):
            # The first of them is bad; of the second, what the first shares with it.
            bad = len(views) if number == 3 else 8
            views[:bad] = [garbled(view, random) for view in views[:bad]]
        placed.append(world.place(views, is_metric=False))
    assert any(p.tied_segment is not None for p in placed)
    seen = views[-1].depth / true_depth(views[-1].keyframe.id)
    scale = np.median(placed[-1].odom_S_window.scale * seen)
    assert placed[-1].scale.is_metric
    assert scale == pytest.approx(1.0, abs=0.02)


def test_after_a_loss_that_nothing_tied_the_next_one_is_tied():
    """Too many bad windows in a row; a single one later."""
    truth, random = straight(4.0, 80), np.random.default_rng(11)
    world = World(AlignmentConfig(), ScaleConfig(source='none'))
    seen = list(bare_windows.windows(Drive(truth), random))
    for number in (4, 5, 6, 12):
        seen[number] = [garbled(view, random) for view in seen[number]]
    placed = [world.place(views, is_metric=False) for views in seen]
    assert [number for number, each in enumerate(placed) if each.rejection is not None] == [
        4, 5, 6, 7, 12, 13]
    assert [number for number, each in enumerate(placed) if each.tied_segment is not None] == [13]
    assert placed[13].tied_segment == placed[11].segment
    # To the bad window it is a guess how it lies, to the last good one it is known.
    assert [(each.reference, each.alignment is not None) for each in placed[13].constraints] == [
        (12, False), (11, True)]
    # What is new in it moves, and nothing before: where the bad window lies nobody knows.
    correction = placed[13].correction
    newest = max(view.keyframe.id for view in seen[12])
    assert not correction.move_of(newest).translation.any()
    assert correction.move_of(newest + 1).translation.any()


def test_what_a_lost_segment_measured_itself_holds_after_the_tie():
    """The old one knew no metres: they are those that the new one found before it was tied."""
    truth = straight(3.0, 40)
    random = np.random.default_rng(9)
    world = World(AlignmentConfig(), ScaleConfig(source='tf'))

    def see(numbers, *, spoilt=(), robot=None):
        # The same nonsense wherever it is seen: these windows agree with each other.
        return [
            garbled(view, np.random.default_rng(view.keyframe.id))
            if view.keyframe.id in spoilt else view
            for view in window(truth, numbers, random, robot=robot)]

    world.place(see(range(12)), is_metric=False)
    bad = world.place(see(range(4, 16), spoilt=range(4, 12)), is_metric=False)
    own = world.place(see(range(8, 20), spoilt=range(8, 12), robot=truth), is_metric=False)
    assert bad.rejection is not None and own.rejection is None
    assert own.scale.is_metric and own.tied_segment is None
    views = see(range(10, 22))
    tied = world.place(views, is_metric=False)
    assert tied.tied_segment == 0
    assert tied.scale.is_metric
    assert tied.odom_S_window.scale * true_scale(views) == pytest.approx(1.0, abs=0.02)
    assert tied.scale.sigma == pytest.approx(own.scale.sigma, rel=0.5)
    # One keyframe is still shared with the old segment, and that is no second tie.
    assert world.place(see(range(11, 23)), is_metric=False).tied_segment is None


@pytest.mark.parametrize('source', ['fixed', 'tf'])
def test_a_window_that_shares_nothing_keeps_the_factor_and_claims_no_metres(source):
    truth, random = straight(3.0, 40), np.random.default_rng(12)
    world = World(AlignmentConfig(), ScaleConfig(source=source, fixed_factor=2.5))
    first = world.place(window(truth, range(12), random), is_metric=False)
    assert first.scale.is_metric == (source == 'fixed')
    alone = world.place(window(truth, range(20, 32), random), is_metric=False)
    assert alone.window is None and not alone.scale.is_metric
    assert alone.scale.metres_per_unit == alone.odom_S_window.scale == (
        2.5 if source == 'fixed' else 1.0)


def test_units_of_different_kinds_may_differ_by_anything():
    """A unit of the network's own against a metre; two of one kind may not."""
    truth, random = straight(3.0, 40), np.random.default_rng(8)
    for is_metric in (False, True):
        world = World(AlignmentConfig(), ScaleConfig(source='pose'))
        first = world.place(window(truth, range(12), random), is_metric=False)
        views = [replace(view, depth=50.0 * view.depth, window_T_camera=Sim3(
            50.0, np.eye(3), np.zeros(3)).transform_pose(view.window_T_camera))
            for view in window(truth, range(4, 16), random)]
        placed = world.place(views, is_metric=is_metric)
        assert (placed.rejection is None) == is_metric
        if placed.rejection is not None:
            # How far it is off is not believed either.
            ratio = placed.map_S_window.scale / first.map_S_window.scale
            assert ratio == pytest.approx(1.0 / AlignmentConfig().max_scale_ratio)
