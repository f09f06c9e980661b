# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What was mapped before a loop closes moves to where the loop says that it was."""

from dataclasses import replace

from da3_ros.geometry.sim3 import fit_sim3, Sim3
from da3_ros.mapping.config import WindowConfig
from da3_ros.mapping.correction import MapCorrection
from da3_ros.mapping.frame_stream import FrameStream
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.mapping.points import observe, WeightedPoints
import numpy as np
from paths import curve, trajectory_error
from perfect_engine import frames, PerfectEngine, Room
from pipeline_runs import EVERY_FRAME, loops, posed_keyframes, reports, run, windows
import pytest
from test_loop_closure import LOOPS, two_laps

NUM_FRAMES = 130


class Recorder:
    """Remember the map pose and the points of every keyframe, and move both with every loop."""

    def __init__(self, config, truth) -> None:
        """Drive."""
        engine = PerfectEngine(truth, camera_noise=0.004, drift=0.02, noise=0.01, seed=3)
        pipeline, stream = DepthPipeline(engine, config), FrameStream(config)
        self.poses, self.paths = {}, []
        self.points = []
        for frame in frames(len(truth), pictures=[engine.room.image(pose) for pose in truth]):
            (instant,) = stream.take(frame).instants
            self._add(pipeline.add(instant))
            closed = pipeline.close_loops()
            for loop in loops([closed]):
                self._correct(loop)
                newest = closed.map_T_odom @ self._newest.odom_T_camera
                np.testing.assert_allclose(
                    self.poses[self._newest.id].rigid_part(), newest, atol=1e-6)

    def _add(self, update) -> None:
        for keyframe in update.keyframes:
            pose = Sim3.from_rigid(update.map_T_odom @ keyframe.odom_T_camera)
            self.poses[keyframe.id] = pose
            self.points.append(observe(
                keyframe, keyframe.depth, frame_S_camera=pose, min_confidence=1.0, limit=np.inf))
            self._newest = keyframe

    def _correct(self, loop) -> None:
        self.poses = {
            id_: loop.correction.move_of(id_) @ pose for id_, pose in self.poses.items()}
        self.points = [loop.correction.apply(points) for points in self.points]
        self.paths.append(loop.path)
        for known in loop.path:
            np.testing.assert_allclose(
                self.poses[known.id].rigid_part(), known.map_T_camera, atol=1e-6)


def surface_error(points, poses, truth):
    """Return how far points are from the walls, after fitting the cameras to the truth."""
    positions = np.stack([pose.translation for pose in poses.values()])
    true = np.stack([truth[id_][:3, 3] for id_ in poses])
    fit = fit_sim3(true, positions, np.ones(len(true)))
    seen = fit.transform_points(WeightedPoints.joined(points).positions.astype(np.float64))
    walls = np.concatenate([seen - Room().lower, seen - Room().upper], axis=1)
    return float(np.median(np.abs(walls).min(axis=1)))


def test_corrections_agree_with_the_corrected_path_and_straighten_the_walls():
    """The recorder checks the path; the points must follow, their depth too."""
    truth = two_laps(NUM_FRAMES)
    corrected = Recorder(LOOPS, truth)
    assert corrected.paths
    drifted = Recorder(replace(LOOPS, loop=replace(LOOPS.loop, enabled=False)), truth)
    before = surface_error(drifted.points, drifted.poses, truth)
    after = surface_error(corrected.points, corrected.poses, truth)
    assert after < 0.5 * before


class LostForTwoWindows(PerfectEngine):
    """Answer the sixth window with nonsense, and the next so that only half of it can be used."""

    def infer(self, images, *, poses=None, intrinsics=None):
        prediction = super().infer(images, poses=poses, intrinsics=intrinsics)
        depth = prediction.depth.copy()
        spoilt = {6: depth, 7: depth[:8]}.get(len(self.windows), depth[:0])
        spoilt *= self.random.uniform(0.1, 3.0, spoilt.shape).astype(np.float32)
        return replace(prediction, depth=depth)


def test_a_lost_segment_that_is_tied_again_takes_its_keyframes_along():
    """Those that came out before it was known how the segment lies."""
    truth = curve(60)
    config = replace(EVERY_FRAME, window=WindowConfig(size=16, stride=4))
    updates = run(DepthPipeline(LostForTwoWindows(truth), config), frames(60))
    ties = [report.placement.correction for report in reports(updates)
            if report.placement.correction is not None]
    assert len(ties) == 1
    # The keyframes of the nonsense itself are a segment that nothing can save.
    nonsense = {keyframe.id for keyframe in posed_keyframes(updates) if keyframe.segment == 1}
    assert len(nonsense) == config.window.stride
    before, after = {}, {}
    for window in windows(updates):
        if window.correction is not None:
            after = {id_: window.correction.move_of(id_) @ pose for id_, pose in after.items()}
        for keyframe in window.keyframes:
            pose = Sim3.from_rigid(window.map_T_odom @ keyframe.odom_T_camera)
            before[keyframe.id] = after[keyframe.id] = pose

    def error(poses):
        kept = [id_ for id_ in poses if id_ not in nonsense]
        return trajectory_error(
            [poses[id_].rigid_part() for id_ in kept], [truth[id_] for id_ in kept])

    assert error(after) < 1e-6
    assert error(before) > 0.01


@pytest.mark.parametrize(('keyframe_id', 'moved_by'), [(0, 1.0), (4, 1.0), (6, 3.0), (99, 3.0)])
def test_keyframes_that_are_not_named_move_with_the_nearest(keyframe_id, moved_by):
    """Places are thinned out; what was seen from those forgotten moves all the same."""
    correction = MapCorrection.of([
        (8, Sim3(1.0, np.eye(3), np.array([3.0, 0.0, 0.0]))),
        (3, Sim3(1.0, np.eye(3), np.array([1.0, 0.0, 0.0])))])
    assert correction.move_of(keyframe_id).translation[0] == moved_by
