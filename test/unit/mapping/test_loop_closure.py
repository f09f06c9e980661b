# Copyright 2026 The da3_ros authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""Places seen before: recognised, verified, and the drift taken out of the map but not of odom."""

from dataclasses import replace

from da3_ros.errors import MemoryBudgetError
from da3_ros.geometry.sim3 import fit_sim3
from da3_ros.mapping.config import LoopConfig
from da3_ros.mapping.pipeline import DepthPipeline
import numpy as np
from paths import length
from perfect_engine import frames, index_of, level_camera, PerfectEngine
from pipeline_runs import EVERY_FRAME
import pytest

LOOPS = replace(EVERY_FRAME, loop=LoopConfig(enabled=True, min_gap=40))
NUM_FRAMES = 160


def two_laps(count):
    """Drive a circle twice, looking ahead."""
    angles = np.linspace(0.0, 4.0 * np.pi, count)
    return [level_camera([4.0 * np.cos(a), 4.0 * np.sin(a), 0.0], a + 0.5 * np.pi) for a in angles]


def run(engine, config, truth):
    """Return, per keyframe in order, its odom pose, and its map pose when it came out."""
    pipeline = DepthPipeline(engine, config)
    pictures = [engine.room.image(pose) for pose in truth]
    in_odom, in_map, loops = [], [], []
    for frame in frames(len(truth), pictures=pictures):
        update = pipeline.add(pipeline.select(frame))
        closed = pipeline.close_loops()
        assert not closed.keyframes
        loops += [] if closed.loop is None else [closed.loop]
        in_odom += [keyframe.odom_T_camera for keyframe in update.keyframes]
        in_map += [closed.map_T_odom @ keyframe.odom_T_camera for keyframe in update.keyframes]
    return in_odom, in_map, loops


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


def index_gap(loop):
    return loop.new_id - loop.old_id


def test_odom_does_not_jump_when_a_loop_closes(drifting):
    truth, in_odom, _, loops = drifting
    true_steps = np.diff(np.array(truth)[:len(in_odom), :3, 3], axis=0)
    steps = np.diff(np.array(in_odom)[:, :3, 3], axis=0)
    changes = np.abs(np.diff(np.linalg.norm(steps, axis=1) / np.linalg.norm(true_steps, axis=1)))
    closing = np.zeros(len(changes), dtype=bool)
    for loop in loops:
        closing[loop.new_id - 2:loop.new_id + 2] = True
    assert changes[closing].max() < 1.5 * changes[~closing].max()


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
    pipeline = DepthPipeline(engine, LOOPS)
    loops = []
    for frame in frames(150, pictures=pictures):
        pipeline.add(pipeline.select(frame))
        loops.append(pipeline.close_loops().loop)
    assert engine.num_joint > 0
    assert not any(loops)


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

        def infer(self, images, *, poses=None, intrinsics=None):
            if is_joint([index_of(image) for image in images]):
                raise MemoryBudgetError('full')
            return super().infer(images, poses=poses, intrinsics=intrinsics)

    in_odom, _, loops = run(Tight(truth), LOOPS, truth)
    assert not loops
    assert len(in_odom) >= NUM_FRAMES - EVERY_FRAME.window.stride


def test_the_number_of_places_is_bounded_and_old_loops_still_close():
    truth = two_laps(NUM_FRAMES)
    config = replace(LOOPS, loop=replace(LOOPS.loop, max_places=24))
    engine = PerfectEngine(truth, camera_noise=0.004, drift=0.006, seed=3)
    _, _, loops = run(engine, config, truth)
    assert loops
    assert len(loops[-1].path) <= 24 * EVERY_FRAME.window.stride
