# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Places seen before: recognised, verified, and the drift taken out of the map but not of odom."""

from dataclasses import replace
from itertools import pairwise

from da3_ros.errors import MemoryBudgetError
from da3_ros.geometry import rigid
from da3_ros.geometry.sim3 import fit_sim3
from da3_ros.mapping.config import LoopConfig
from da3_ros.mapping.frame_stream import FrameStream
from da3_ros.mapping.pipeline import DepthPipeline
import numpy as np
from paths import length, trajectory_error
from perfect_engine import frames, index_of, level_camera, PerfectEngine
from pipeline_runs import EVERY_FRAME, published_scale, reports
from pipeline_runs import loops as loops_of
import pytest

LOOPS = replace(EVERY_FRAME, loop=LoopConfig(enabled=True, min_gap=40))
NUM_FRAMES = 160


def two_laps(count):
    """Drive a circle twice, looking ahead."""
    angles = np.linspace(0.0, 4.0 * np.pi, count)
    return [level_camera([4.0 * np.cos(a), 4.0 * np.sin(a), 0.0], a + 0.5 * np.pi) for a in angles]


def run_updates(engine, config, truth):
    """Return the updates in pairs: of a keyframe, and of the look for loops that follows it."""
    pipeline = DepthPipeline(engine, config)
    stream = FrameStream(config)
    pictures = [engine.room.image(pose) for pose in truth]
    updates = []
    for frame in frames(len(truth), pictures=pictures):
        (instant,) = stream.take(frame).instants
        updates += [pipeline.add(instant), pipeline.close_loops()]
        assert not updates[-1].keyframes
    return updates


def run(engine, config, truth):
    """Return, per keyframe in order, its odom pose, and its map pose when it came out."""
    updates = run_updates(engine, config, truth)
    in_odom, in_map = [], []
    for update, closed in zip(updates[::2], updates[1::2], strict=True):
        in_odom += [keyframe.odom_T_camera for keyframe in update.keyframes]
        in_map += [closed.map_T_odom @ keyframe.odom_T_camera for keyframe in update.keyframes]
    return in_odom, in_map, loops_of(updates)


@pytest.fixture(scope='module')
def drifting():
    """Run two drifting laps with loop closure."""
    truth = two_laps(NUM_FRAMES)
    engine = PerfectEngine(truth, camera_noise=0.004, drift=0.02, noise=0.01, seed=3)
    return truth, *run(engine, LOOPS, truth)


def error_at(index, truth, poses, lap):
    """Return the position error of a keyframe after fitting the first lap to the truth."""
    positions = np.array(poses)[:, :3, 3]
    true = np.array(truth)[:len(positions), :3, 3]
    fit = fit_sim3(true[:lap], positions[:lap], np.ones(lap))
    return float(np.linalg.norm(fit.transform_points(positions[index]) - true[index]))


def test_a_loop_takes_the_error_at_the_closing_point_out(drifting):
    truth, in_odom, in_map, loops = drifting
    assert loops
    first = loops[0]
    assert index_gap(first) >= LOOPS.loop.min_gap
    start = 20
    before = error_at(first.new_id, truth, in_odom, start)
    after = error_at(first.new_id, truth, in_map, start)
    assert before > 0.005 * length(truth)
    assert after < before / 5.0


def test_after_a_loop_windows_rest(drifting):
    """Drift needs time to grow: two windows pass in between."""
    _, _, _, loops = drifting
    assert len(loops) > 1
    new_ids = [loop.new_id for loop in loops]
    assert min(np.diff(new_ids)) >= 3 * LOOPS.window.stride


def test_an_engine_that_does_not_say_what_things_look_like_closes_no_loops():
    class Mute(PerfectEngine):
        """Say nothing of it."""

        def infer(self, images, *, poses=None, intrinsics=None):
            prediction = super().infer(images, poses=poses, intrinsics=intrinsics)
            return replace(prediction, appearance=None)

    truth = two_laps(60)
    in_odom, _, loops = run(Mute(truth), LOOPS, truth)
    assert len(in_odom) >= 60 - LOOPS.window.stride and not loops


def index_gap(loop):
    return loop.new_id - loop.old_id


@pytest.mark.parametrize('seed', range(3))
def test_no_step_in_odom_is_off_by_a_centimetre_when_a_loop_closes(seed):
    """A step from one keyframe to the next is the true one, in the unit of the newer depth."""
    truth = two_laps(NUM_FRAMES)
    engine = PerfectEngine(truth, drift=0.02, noise=0.01, outliers=0.2, seed=seed)
    updates = run_updates(engine, LOOPS, truth)
    assert len(loops_of(updates)) > 1
    posed = [keyframe for update in updates for keyframe in update.keyframes]
    unit = published_scale(posed[0], engine)
    for last, new in pairwise(posed):
        step = (rigid.inverse(last.odom_T_camera) @ new.odom_T_camera)[:3, 3]
        true = (rigid.inverse(truth[last.id]) @ truth[new.id])[:3, 3]
        assert np.linalg.norm(step - published_scale(new, engine) * true) < 0.01 * unit


def test_the_corrected_path_is_closer_to_the_truth(drifting):
    truth, in_odom, _, loops = drifting
    path = loops[-1].path
    assert [pose.id for pose in path] == list(range(len(path)))
    corrected = [pose.map_T_camera for pose in path]
    drifted = in_odom[:len(path)]
    true = np.array(truth)[:len(path), :3, 3]

    def rms(poses):
        positions = np.array(poses)[:, :3, 3]
        fit = fit_sim3(true, positions, np.ones(len(true)))
        return np.sqrt(np.square(true - fit.transform_points(positions)).sum(axis=1).mean())

    assert rms(corrected) < 0.5 * rms(drifted)


def test_a_stretch_that_was_lost_is_joined_when_the_camera_comes_back():
    """Too many bad windows for a tie: five segments, until the second lap shows how they lie."""
    class Blinded(PerfectEngine):
        """Answer four windows with nonsense."""

        def infer(self, images, *, poses=None, intrinsics=None):
            prediction = super().infer(images, poses=poses, intrinsics=intrinsics)
            if len(self.windows) not in range(9, 13):
                return prediction
            wrong = self.random.uniform(0.1, 3.0, prediction.depth.shape)
            return replace(prediction, depth=(prediction.depth * wrong).astype(np.float32))

    truth = two_laps(NUM_FRAMES)
    updates = run_updates(Blinded(truth, noise=0.01), LOOPS, truth)
    placements = [report.placement for report in reports(updates)]
    assert placements[-1].segment > 1
    assert all(placement.tied_segment is None for placement in placements)
    posed = [keyframe for update in updates for keyframe in update.keyframes]
    in_odom = {keyframe.id: keyframe.odom_T_camera for keyframe in posed}
    path = loops_of(updates)[-1].path
    in_map = {pose.id: pose.map_T_camera for pose in path}
    good = [i for i in sorted(in_map) if i not in range(30, 56)]
    true = [truth[i] for i in good]
    assert trajectory_error([in_odom[i] for i in good], true) > 5e-3 * length(truth)
    assert trajectory_error([in_map[i] for i in good], true) < 1e-3 * length(truth)


def is_joint(indices):
    return indices != list(range(indices[0], indices[-1] + 1))


def test_places_that_look_alike_but_are_elsewhere_close_no_loop():
    """The pictures repeat; a joint window takes the second place for the first one."""
    truth = [level_camera([-6.0 + 0.08 * i, 0.0, 0.0], 0.0) for i in range(150)]

    class Deceived(PerfectEngine):
        """Believe in joint windows what the pictures show."""

        num_joint = 0

        def infer(self, images, *, poses=None, intrinsics=None):
            if is_joint([index_of(image) for image in images]):
                self.num_joint += 1
                images = [next(frames(1, first=index_of(image) % 75)).image for image in images]
            return super().infer(images, poses=poses, intrinsics=intrinsics)

    engine = Deceived(truth, camera_noise=0.002)
    pictures = [engine.room.image(truth[i % 75]) for i in range(150)]
    pipeline, stream = DepthPipeline(engine, LOOPS), FrameStream(LOOPS)
    closed = []
    for frame in frames(150, pictures=pictures):
        (instant,) = stream.take(frame).instants
        pipeline.add(instant)
        closed.append(pipeline.close_loops())
    assert engine.num_joint > 0
    assert not loops_of(closed)


def test_off_by_default_and_then_nothing_is_inferred_twice():
    truth = two_laps(60)
    engine = PerfectEngine(truth)
    run(engine, EVERY_FRAME, truth)
    assert all(indices == sorted(indices) for indices in engine.windows)
    assert not EVERY_FRAME.loop.enabled


def test_memory_that_runs_out_in_a_joint_window_costs_only_the_loop():
    truth = two_laps(NUM_FRAMES)

    class Tight(PerfectEngine):
        """Refuse joint windows."""

        num_joint = 0

        def infer(self, images, *, poses=None, intrinsics=None):
            if is_joint([index_of(image) for image in images]):
                self.num_joint += 1
                raise MemoryBudgetError('full')
            return super().infer(images, poses=poses, intrinsics=intrinsics)

    engine = Tight(truth)
    in_odom, _, loops = run(engine, LOOPS, truth)
    assert not loops
    # Each place is looked at once, however often nothing else is to be done.
    assert 0 < engine.num_joint < len(engine.windows)
    assert len(in_odom) >= NUM_FRAMES - EVERY_FRAME.window.stride


@pytest.mark.parametrize(('min_similarity', 'max_views'), [(0.5, 1), (1.0, 12)])
def test_joint_windows_are_of_places_that_look_alike_and_not_of_one_view(
        min_similarity, max_views):
    truth = two_laps(81)
    engine = PerfectEngine(truth)
    config = replace(LOOPS, loop=replace(LOOPS.loop, min_similarity=min_similarity))
    pipeline, stream = DepthPipeline(engine, config), FrameStream(config)
    for frame in frames(81, pictures=[engine.room.image(pose) for pose in truth]):
        (instant,) = stream.take(frame).instants
        pipeline.add(instant)
    num_windows = len(engine.windows)
    assert pipeline._loops.close(max_views) is None
    assert len(engine.windows) == num_windows


def test_the_number_of_places_is_bounded_and_old_loops_still_close():
    truth = two_laps(NUM_FRAMES)
    config = replace(LOOPS, loop=replace(LOOPS.loop, max_places=24))
    engine = PerfectEngine(truth, camera_noise=0.004, drift=0.006, seed=3)
    _, _, loops = run(engine, config, truth)
    assert loops
    assert len(loops[-1].path) <= 24 * EVERY_FRAME.window.stride
