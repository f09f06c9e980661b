# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The world after a bad window, without overlap, and how sure it is of itself."""

from dataclasses import replace
from itertools import pairwise

import bare_windows
from bare_windows import Drive, straight, true_scale
from da3_ros.errors import MemoryBudgetError
from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.config import AlignmentConfig, LoopConfig, ScaleConfig
from da3_ros.mapping.correction import MapCorrection
from da3_ros.mapping.drift import Drift
from da3_ros.mapping.loop_closure import LoopCloser
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.mapping.world import World
import numpy as np
from paths import curve, trajectory_error
from perfect_engine import frames, level_camera, PerfectEngine
from pipeline_runs import EVERY_FRAME, posed_keyframes, published_scale, reports, run
import pytest
from scipy.spatial.transform import Rotation


def window(truth, numbers, random):
    return bare_windows.window(Drive(truth), numbers, random)


def garbled(views, random):
    """Make nonsense of what a window sees."""
    return [replace(view, depth=view.depth * random.uniform(0.1, 3.0, view.depth.shape).astype(
        np.float32)) for view in views]


METRIC_SOURCES = ['fixed', 'model', 'tf', 'pose']


class Confused(PerfectEngine):
    """Answer the fifth window with nonsense, of 1.6 times the size."""

    def infer(self, images, *, poses=None, intrinsics=None):
        prediction = super().infer(images, poses=poses, intrinsics=intrinsics)
        if len(self.windows) == 5:
            wrong = 1.6 * self.random.uniform(0.2, 1.8, prediction.depth.shape)
            poses = prediction.poses.copy()
            poses[:, :3, 3] *= 1.6
            prediction = replace(
                prediction, depth=(wrong * prediction.depth).astype(np.float32), poses=poses)
        return prediction


@pytest.fixture(scope='module', params=METRIC_SOURCES)
def after_a_bad_window(request):
    """Drive through one bad window."""
    truth = curve(60)
    # The unit is a metre already where the network or the user says so.
    engine = Confused(
        truth, noise=0.005, random_gauge=request.param in ('tf', 'pose'),
        is_metric=request.param == 'model')
    stream = [replace(frame, robot_T_camera=pose)
              for frame, pose in zip(frames(60), truth, strict=True)]
    config = replace(EVERY_FRAME, scale=ScaleConfig(source=request.param))
    return truth, engine, run(DepthPipeline(engine, config), stream)


def test_metres_survive_a_bad_window_and_are_not_claimed_of_it(after_a_bad_window):
    """It is refused, so is the next one with it, and that one is tied to what was before."""
    _, engine, updates = after_a_bad_window
    placements = [report.placement for report in reports(updates)]
    refused = [number for number, p in enumerate(placements) if p.rejection is not None]
    assert refused == [4, 5]
    assert [p.tied_segment for p in placements].index(0) == 5
    assert not placements[4].scale.is_metric
    assert all(p.scale.is_metric for p in placements[5:])
    for keyframe in posed_keyframes(updates):
        if keyframe.is_metric:
            assert published_scale(keyframe, engine) == pytest.approx(1.0, abs=0.03)
    assert not any(k.is_metric for k in posed_keyframes(updates) if 15 <= k.id < 19)


def test_odom_goes_on_over_a_tie_and_the_map_is_right(after_a_bad_window):
    truth, _, updates = after_a_bad_window
    posed = posed_keyframes(updates)
    for last, new in pairwise(posed):
        step = np.linalg.norm(new.odom_T_camera[:3, 3] - last.odom_T_camera[:3, 3])
        assert step < 0.2
    in_map = {k.id: update.map_T_odom @ k.odom_T_camera
              for update in updates for k in update.keyframes}
    good = [k.id for k in posed if not 15 <= k.id < 19]
    error = trajectory_error([in_map[i] for i in good], [truth[i] for i in good])
    assert error < 0.01


def test_a_join_that_was_refused_is_in_the_covariance(after_a_bad_window):
    _, _, updates = after_a_bad_window
    turn = {k.id: k.covariance[5, 5] for k in posed_keyframes(updates)}
    assert turn[14] < 0.01
    assert turn[15] > 1.0


def test_measurements_that_were_not_believed_reach_nobody():
    """A loop's graph would take them for as good as all others."""
    truth = straight(3.0, 60)
    world = World(AlignmentConfig(), ScaleConfig(source='model'))
    random = np.random.default_rng(2)
    said = []
    for number, views in enumerate(bare_windows.windows(Drive(truth), random)):
        wrong = 10.0 if number == 8 else 1.0
        resize = wrong / true_scale(views)
        views = [replace(view, depth=(resize * view.depth).astype(np.float32),
                         window_T_camera=Sim3(resize, np.eye(3), np.zeros(3)).transform_pose(
                             view.window_T_camera)) for view in views]
        said.append(world.place(views, is_metric=True).measurement)
    assert [measurement is None for measurement in said].index(True) == 8
    assert sum(measurement is None for measurement in said) == 1


class Starved(PerfectEngine):
    """Have memory for one view alone for some calls."""

    calls = 0

    def infer(self, images, *, poses=None, intrinsics=None):
        self.calls += 1
        if 5 <= self.calls < 20 and len(images) > 1:
            raise MemoryBudgetError('full')
        return super().infer(images, poses=poses, intrinsics=intrinsics)


def test_a_window_that_shares_nothing_has_no_pose():
    """And what comes after it is another segment, whole in itself."""
    truth = curve(80)
    updates = run(DepthPipeline(Starved(truth), EVERY_FRAME), frames(80))
    posed = posed_keyframes(updates)
    without = [k.id for k in posed if not k.has_pose]
    assert without and without == list(range(without[0], without[-1] + 1))
    assert all(k.covariance is None for k in posed if not k.has_pose)
    placements = [r.placement for r in reports(updates) if r.placement.window is None]
    assert all('no keyframe' in placement.rejection for placement in placements)
    last = [k for k in posed if k.id > without[-1] and k.has_pose]
    assert len(last) > 20
    assert {k.segment for k in last}.isdisjoint({k.segment for k in posed[:without[0]]})
    assert trajectory_error([k.odom_T_camera for k in last], [truth[k.id] for k in last]) < 1e-3


def test_the_covariance_does_not_shrink_when_the_scene_comes_near():
    """Drive through the room, then turn to a wall half a metre away."""
    drive = [level_camera([-6.0 + 0.1 * i, -5.5, 0.0], 0.0) for i in range(60)]
    turn = [level_camera([-0.1, -5.5, 0.0], -0.05 * i) for i in range(1, 32)]
    truth = drive + turn
    engine = PerfectEngine(truth, noise=0.01, camera_noise=0.002)
    posed = posed_keyframes(run(DepthPipeline(engine, EVERY_FRAME), frames(len(truth))))
    sigma = np.array([np.sqrt(np.diag(k.covariance)) for k in posed])
    assert (np.diff(sigma[60:, :3], axis=0) > -1e-2 * sigma[60, :3]).all()
    assert (np.diff(sigma[:, 3:], axis=0) >= 0.0).all()
    assert (np.linalg.eigvalsh([k.covariance for k in posed]) > 0.0).all()


def test_the_covariance_is_that_of_many_drives():
    """Joins that turn, shift and stretch what comes after them, at random."""
    random = np.random.default_rng(3)
    joins = [(random.normal(size=3), random.uniform(1.0, 4.0)) for _ in range(5)]
    end = np.array([4.0, 1.0, -1.0])
    sigma, stretch = 0.01, 0.02
    drift = Drift()
    for at, distance in joins:
        drift = drift.joined(at, distance=distance, sigma=sigma, scale_sigma=stretch)
    draws = []
    for _ in range(20_000):
        moved, turned = end, np.zeros(3)
        for at, distance in joins:
            turn = sigma * random.standard_normal(3)
            factor = np.exp(stretch * random.standard_normal())
            shift = sigma * distance * random.standard_normal(3)
            moved = moved + np.cross(turn, end - at) + (factor - 1.0) * (end - at) + shift
            turned = turned + turn
        draws.append([*(moved - end), *turned])
    expected = np.cov(np.transpose(draws))
    np.testing.assert_allclose(
        drift.covariance(end), expected, atol=0.04 * np.abs(expected).max())
    np.testing.assert_allclose(
        drift.covariance(end)[3:, 3:], expected[3:, 3:], atol=0.05 * expected[3, 3])


def test_a_correction_moves_what_was_lost_too():
    """A loop that closes before a tie: the tie brings the window to where the old segment is."""
    truth, random = straight(3.0, 40), np.random.default_rng(4)
    world = World(AlignmentConfig(), ScaleConfig(source='none'))
    move = Sim3(1.3, Rotation.from_euler('z', 0.4).as_matrix(), np.array([1.0, 2.0, 0.0]))
    views = window(truth, range(12), random)
    first = world.place(views, is_metric=False)
    camera = move @ first.map_S_window @ Sim3.from_rigid(views[6].window_T_camera)
    bad = garbled(window(truth, range(4, 16), random), random)
    lost = world.place(bad, is_metric=False)
    assert lost.rejection is not None
    newest = lost.odom_S_window.transform_pose(bad[-1].window_T_camera)
    world.correct(MapCorrection.of([(0, move)]))
    views = window(truth, range(6, 18), random)
    tied = world.place(views, is_metric=False)
    assert tied.tied_segment == first.segment
    found = tied.map_S_window @ Sim3.from_rigid(views[0].window_T_camera)
    np.testing.assert_allclose(found.translation, camera.translation, atol=1e-3)
    np.testing.assert_allclose(found.rotation, camera.rotation, atol=1e-3)
    assert tied.scale.metres_per_unit == pytest.approx(1.3)
    # Neither is felt in odom, where the newest shared camera stays as it is.
    held = tied.odom_S_window.transform_pose(views[9].window_T_camera)
    np.testing.assert_allclose(held, newest, atol=1e-6)


def test_a_loop_changes_the_unit_and_not_what_is_known_of_metres():
    """The filter expects the next window where the map is now, in its unit."""
    truth, random = straight(3.0, 40), np.random.default_rng(5)
    world = World(AlignmentConfig(), ScaleConfig(source='tf'))
    numbers = [range(12), range(4, 16), range(8, 20)]
    seen = [bare_windows.window(Drive(truth, robot=truth), part, random) for part in numbers]
    before = [world.place(views, is_metric=False) for views in seen[:2]][-1]
    odom_T_newest = before.odom_S_window.transform_pose(seen[1][-1].window_T_camera)
    world.correct(MapCorrection.of([(0, Sim3.about(np.ones(3), 1.02))]))
    after = world.place(seen[2], is_metric=False)
    # Two percent too large: a measurement says so, and is believed.
    assert after.measurement is not None
    assert after.scale.metres_per_unit == pytest.approx(before.scale.metres_per_unit, rel=0.02)
    assert after.odom_S_window.scale * true_scale(seen[2]) == pytest.approx(1.01, abs=0.01)
    held = after.odom_S_window.transform_pose(seen[2][7].window_T_camera)
    np.testing.assert_allclose(held, odom_T_newest, atol=1e-4)


def test_remembered_places_move_with_a_tie():
    truth, random = straight(3.0, 60), np.random.default_rng(6)
    world = World(AlignmentConfig(), ScaleConfig(source='none'))
    loops = LoopCloser(None, LoopConfig(enabled=True), AlignmentConfig())
    num_ties = 0
    for number, views in enumerate(bare_windows.windows(Drive(truth), random, size=16)):
        if number in (5, 6):
            bad = len(views) if number == 5 else 8
            views = [*garbled(views[:bad], random), *views[bad:]]
        views = [replace(view, appearance=np.zeros(2, np.float32)) for view in views]
        placement = world.place(views, is_metric=False)
        num_ties += placement.correction is not None
        loops.note(placement, views[-4:] if number else views)
    assert num_ties == 1
    # But for the four keyframes of the nonsense itself.
    path = [pose for pose in loops._path() if not 19 <= pose.id < 23]
    error = trajectory_error([p.map_T_camera for p in path], [truth[p.id] for p in path])
    assert error < 1e-3


def test_a_new_world_knows_nothing_of_the_drift_of_the_old_one():
    truth, random = straight(3.0, 40), np.random.default_rng(7)
    world = World(AlignmentConfig(), ScaleConfig(source='none'))
    first = world.place(window(truth, range(12), random), is_metric=False)
    bad = garbled(window(truth, range(4, 16), random), random)
    at = np.zeros(3)
    assert world.place(bad, is_metric=False).drift.covariance(at)[5, 5] > 1.0
    world.correct(MapCorrection.of([(0, Sim3(1.3, np.eye(3), np.ones(3)))]))
    assert not np.allclose(world.map_T_odom, np.eye(4))
    world.clear()
    np.testing.assert_array_equal(world.map_T_odom, np.eye(4))
    again = world.place(window(truth, range(12), random), is_metric=False)
    assert again.segment == 2
    np.testing.assert_allclose(
        np.diag(again.drift.covariance(at))[3:], np.diag(first.drift.covariance(at))[3:])
