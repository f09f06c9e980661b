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

"""The whole product without ROS, against an engine that knows the truth."""

from collections.abc import Sequence
from dataclasses import replace

from da3_ros.errors import MemoryBudgetError, PredictionError
from da3_ros.geometry import camera, rigid
from da3_ros.mapping.config import KeyframeConfig, PipelineConfig, WindowConfig
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.mapping.update import DropReason
import numpy as np
from paths import length, PATHS, trajectory_error
from perfect_engine import frames, index_of, INTRINSICS, level_camera, PerfectEngine
import pytest

EVERY_FRAME = PipelineConfig(keyframe=KeyframeConfig(mode='time', min_interval_s=0.0))


def forward_poses(count, step_m=0.05):
    return [level_camera([step_m * i, 0.0, 0.0], 0.01 * i) for i in range(count)]


def run(pipeline, stream):
    updates = []
    for frame in stream:
        keyframe = pipeline.select(frame)
        if keyframe is not None:
            updates.append(pipeline.add(keyframe))
    updates.append(pipeline.flush())
    return updates


def posed_keyframes(updates):
    return [keyframe for update in updates for keyframe in update.keyframes]


def dropped_keyframes(updates):
    return [keyframe for update in updates for keyframe in update.dropped]


def indices(keyframes):
    return [index_of(keyframe.image) for keyframe in keyframes]


class FailingEngine(PerfectEngine):
    """Raise an error for chosen calls."""

    def __init__(self, poses, errors, **options):
        super().__init__(poses, **options)
        self.errors = errors
        self.num_calls = 0

    def infer(self, images: Sequence, *, poses=None, intrinsics=None):
        self.num_calls += 1
        error = self.errors(self.num_calls, len(images))
        if error is not None:
            raise error
        return super().infer(images, poses=poses, intrinsics=intrinsics)


@pytest.mark.parametrize('size, stride, min_views', [(12, 4, 3), (5, 1, 2), (1, 1, 1), (8, 7, 8)])
def test_every_keyframe_comes_out_exactly_once(size, stride, min_views):
    window = WindowConfig(size=size, stride=stride, min_views=min_views)
    engine = PerfectEngine(forward_poses(41))
    pipeline = DepthPipeline(engine, replace(EVERY_FRAME, window=window))
    stream = list(frames(41))
    posed = posed_keyframes(run(pipeline, stream))
    assert [keyframe.stamp_ns for keyframe in posed] == [frame.stamp_ns for frame in stream]
    assert max(len(window) for window in engine.windows) == size


def test_exact_windows_in_random_gauges_give_the_exact_path():
    truth = forward_poses(40)
    pipeline = DepthPipeline(PerfectEngine(truth), EVERY_FRAME)
    posed = posed_keyframes(run(pipeline, frames(40)))
    # The first window's unit is arbitrary; everything else follows from it.
    scale = np.linalg.norm(posed[-1].odom_T_camera[:3, 3]) / np.linalg.norm(truth[-1][:3, 3])
    for keyframe, true_pose in zip(posed, truth, strict=True):
        expected = true_pose.copy()
        expected[:3, 3] *= scale
        np.testing.assert_allclose(keyframe.odom_T_camera, expected, atol=1e-5)
    assert {keyframe.segment for keyframe in posed} == {0}


@pytest.mark.parametrize('drop_share', [0.0, 0.3])
@pytest.mark.parametrize('name', PATHS)
def test_noise_and_outliers_leave_the_path_within_a_thousandth(name, drop_share):
    truth = PATHS[name](60)
    pipeline = DepthPipeline(PerfectEngine(truth, noise=0.01, outliers=0.2), EVERY_FRAME)
    random = np.random.default_rng(7)
    stream = [frame for frame in frames(60) if random.random() >= drop_share]
    posed = posed_keyframes(run(pipeline, stream))
    true = [truth[index] for index in indices(posed)]
    error = trajectory_error([keyframe.odom_T_camera for keyframe in posed], true)
    assert len(posed) == len(stream)
    assert error < 1e-3 * length(truth)


def test_depth_points_and_pose_share_one_scale():
    truth = forward_poses(30)
    engine = PerfectEngine(truth)
    posed = posed_keyframes(run(DepthPipeline(engine, EVERY_FRAME), frames(30)))
    true_origin = truth[0]
    scale = np.nanmedian(posed[0].depth) / np.median(engine.room.depth(truth[0]))
    for keyframe, true_pose in zip(posed, truth, strict=True):
        points = camera.unproject(keyframe.depth, keyframe.intrinsics).astype(np.float64)
        in_odom = rigid.transform_points(keyframe.odom_T_camera, points)
        exact = camera.unproject(engine.room.depth(true_pose).astype(np.float32), INTRINSICS)
        in_room = rigid.transform_points(true_pose, exact.astype(np.float64))
        expected = scale * rigid.transform_points(rigid.inverse(true_origin), in_room)
        expected = expected @ rigid.BODY_R_OPTICAL.T
        np.testing.assert_allclose(in_odom, expected, atol=1e-4 * scale * 10.0)


def test_the_first_camera_looks_along_x_with_z_up():
    pipeline = DepthPipeline(PerfectEngine(forward_poses(3)), EVERY_FRAME)
    first = posed_keyframes(run(pipeline, frames(3)))[0]
    forward, up = first.odom_T_camera[:3, 2], -first.odom_T_camera[:3, 1]
    np.testing.assert_allclose(forward, [1.0, 0.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(up, [0.0, 0.0, 1.0], atol=1e-9)
    np.testing.assert_allclose(first.odom_T_camera[:3, 3], 0.0, atol=1e-9)


def test_given_intrinsics_win_and_a_frame_without_takes_its_neighbours():
    given = INTRINSICS * [[1.1], [1.1], [1.0]]
    stream = list(frames(3, intrinsics=given))
    stream[1] = replace(stream[1], intrinsics=None)
    posed = posed_keyframes(run(DepthPipeline(PerfectEngine(forward_poses(3)), EVERY_FRAME), stream))
    for keyframe in posed:
        np.testing.assert_allclose(keyframe.intrinsics, given)
    without = frames(3, intrinsics=None)
    posed = posed_keyframes(run(DepthPipeline(PerfectEngine(forward_poses(3)), EVERY_FRAME), without))
    np.testing.assert_allclose(posed[0].intrinsics, INTRINSICS)


def test_sky_is_infinite_and_unknown_depth_is_nan():
    class Outdoors(PerfectEngine):
        def infer(self, images, *, poses=None, intrinsics=None):
            prediction = super().infer(images, poses=poses, intrinsics=intrinsics)
            prediction.depth[:, 20] = np.nan
            prediction.depth[:, 21] = -1.0
            sky = np.zeros(prediction.depth.shape, dtype=bool)
            sky[:, :10] = True
            return replace(prediction, sky=sky)

    posed = posed_keyframes(run(DepthPipeline(Outdoors(forward_poses(9)), EVERY_FRAME), frames(9)))
    for keyframe in posed:
        assert np.isposinf(keyframe.depth[:10]).all()
        assert np.isnan(keyframe.depth[20:22]).all()
        assert np.isfinite(keyframe.depth[22:]).all()
        assert keyframe.segment == 0


def test_a_network_without_cameras_gives_depth_alone():
    class Monocular(PerfectEngine):
        def infer(self, images, *, poses=None, intrinsics=None):
            prediction = super().infer(images, poses=poses, intrinsics=intrinsics)
            return replace(prediction, poses=None, confidence=None)

    engine = Monocular(forward_poses(9), random_gauge=False, is_metric=True)
    posed = posed_keyframes(run(DepthPipeline(engine, EVERY_FRAME), frames(9)))
    assert len(posed) == 9
    for keyframe, pose in zip(posed, engine.poses, strict=True):
        assert not keyframe.has_pose
        assert keyframe.is_metric
        np.testing.assert_allclose(keyframe.odom_T_camera[:3, :3], rigid.BODY_R_OPTICAL)
        np.testing.assert_allclose(keyframe.depth, engine.room.depth(pose), rtol=1e-6)


def test_a_window_that_does_not_fit_is_retried_smaller_and_nothing_is_lost():
    def too_large(call, num_views):
        return MemoryBudgetError(f'{num_views} views') if call > 4 and num_views > 3 else None

    truth = forward_poses(40)
    engine = FailingEngine(truth, too_large)
    updates = run(DepthPipeline(engine, EVERY_FRAME), frames(40))
    posed = posed_keyframes(updates)
    assert indices(posed) == list(range(40))
    assert {keyframe.segment for keyframe in posed} == {0}
    assert updates[-1].window.max_views <= 4
    error = trajectory_error([keyframe.odom_T_camera for keyframe in posed], truth)
    assert error < 1e-4 * length(truth)


def test_windows_grow_back_when_memory_returns():
    def too_large_for_a_while(call, num_views):
        return MemoryBudgetError('full') if 4 < call < 30 and num_views > 4 else None

    engine = FailingEngine(forward_poses(400), too_large_for_a_while)
    updates = run(DepthPipeline(engine, EVERY_FRAME), frames(400))
    assert indices(posed_keyframes(updates)) == list(range(400))
    assert updates[-2].window is None or updates[-2].window.max_views == 12
    assert len(engine.windows[-1]) == 12


def test_if_not_even_one_view_fits_the_loss_is_told_and_the_next_goes_on():
    def starved(call, num_views):
        return MemoryBudgetError('full') if call < 30 else None

    pipeline = DepthPipeline(FailingEngine(forward_poses(40), starved), EVERY_FRAME)
    stream = list(frames(40))
    updates = run(pipeline, stream)
    dropped = dropped_keyframes(updates)
    assert dropped and {keyframe.reason for keyframe in dropped} == {DropReason.OUT_OF_MEMORY}
    stamps = [k.stamp_ns for k in dropped] + [k.stamp_ns for k in posed_keyframes(updates)]
    assert sorted(stamps) == [frame.stamp_ns for frame in stream]


def test_a_failed_window_is_told_and_the_world_goes_on():
    def fails_once(call, num_views):
        return PredictionError('all NaN') if call == 4 else None

    truth = forward_poses(40)
    updates = run(DepthPipeline(FailingEngine(truth, fails_once), EVERY_FRAME), frames(40))
    dropped, posed = dropped_keyframes(updates), posed_keyframes(updates)
    assert [keyframe.detail for keyframe in dropped] == ['all NaN'] * 4
    assert sorted([k.id for k in dropped] + [k.id for k in posed]) == list(range(40))
    assert {keyframe.segment for keyframe in posed} == {0}
    true = [truth[index] for index in indices(posed)]
    assert trajectory_error([k.odom_T_camera for k in posed], true) < 1e-4 * length(truth)


def test_a_programming_error_comes_through_once():
    def bug(call, num_views):
        return TypeError('bug') if call == 2 else None

    pipeline = DepthPipeline(FailingEngine(forward_poses(12), bug), EVERY_FRAME)
    stream = [pipeline.select(frame) for frame in frames(12)]
    posed, dropped, num_raised = [], [], 0
    for keyframe in stream:
        try:
            update = pipeline.add(keyframe)
        except TypeError:
            num_raised += 1
            continue
        posed += update.keyframes
        dropped += update.dropped
    posed += pipeline.flush().keyframes
    assert num_raised == 1
    assert sorted([k.id for k in posed] + [k.id for k in dropped]) == list(range(12))


def test_a_prediction_without_any_depth_is_a_failed_window():
    class Blind(PerfectEngine):
        def infer(self, images, *, poses=None, intrinsics=None):
            prediction = super().infer(images, poses=poses, intrinsics=intrinsics)
            return replace(prediction, depth=np.full_like(prediction.depth, np.nan))

    updates = run(DepthPipeline(Blind(forward_poses(5)), EVERY_FRAME), frames(5))
    assert not posed_keyframes(updates)
    assert {k.reason for k in dropped_keyframes(updates)} == {DropReason.INFERENCE_FAILED}


def test_reset_starts_at_the_origin_and_tells_what_it_dropped():
    pipeline = DepthPipeline(PerfectEngine(forward_poses(40)), EVERY_FRAME)
    stream = list(frames(40))
    for frame in stream[:8]:
        pipeline.add(pipeline.select(frame))
    waiting = [keyframe.id for keyframe in pipeline.waiting]
    assert waiting
    pipeline.reset('test')
    updates = run(pipeline, stream[8:])
    assert [keyframe.id for keyframe in dropped_keyframes(updates)] == waiting
    first = posed_keyframes(updates)[0]
    assert first.segment == 1
    np.testing.assert_allclose(first.odom_T_camera[:3, 3], 0.0, atol=1e-9)


@pytest.mark.parametrize('change', ['size', 'frame_id', 'stamp'])
def test_a_change_in_mid_stream_begins_a_new_session_and_loses_nothing(change):
    stream = list(frames(20))
    for i in range(9, 20):
        if change == 'size':
            image = np.zeros((60, 80, 3), np.uint8)
            image[0, 0] = stream[i].image[0, 0]
            stream[i] = replace(stream[i], image=image)
        elif change == 'frame_id':
            stream[i] = replace(stream[i], frame_id='another')
        else:
            stream[i] = replace(stream[i], stamp_ns=stream[i].stamp_ns - 3_000_000_000)

    class AnySize(PerfectEngine):
        def infer(self, images, *, poses=None, intrinsics=None):
            assert len({image.shape for image in images}) == 1
            return super().infer(images, poses=poses, intrinsics=intrinsics)

    updates = run(DepthPipeline(AnySize(forward_poses(20)), EVERY_FRAME), stream)
    posed = posed_keyframes(updates)
    assert indices(posed) == list(range(20))
    assert [keyframe.segment for keyframe in posed] == [0] * 9 + [1] * 11


def test_a_bad_window_opens_a_segment_that_is_tied_to_the_old_one_again():
    class Confused(PerfectEngine):
        def infer(self, images, *, poses=None, intrinsics=None):
            prediction = super().infer(images, poses=poses, intrinsics=intrinsics)
            if len(self.windows) == 5:
                depth = prediction.depth * self.random.uniform(0.1, 3.0, prediction.depth.shape)
                prediction = replace(prediction, depth=depth.astype(np.float32))
            return prediction

    truth = forward_poses(60)
    updates = run(DepthPipeline(Confused(truth), EVERY_FRAME), frames(60))
    placements = [update.window.placement for update in updates if update.window]
    assert [p.rejection is not None for p in placements].index(True) == 4
    tied = [p.tied_segment for p in placements if p.tied_segment is not None]
    assert tied == [0]
    last = updates[-1].map_T_odom
    good = [k for k in posed_keyframes(updates) if k.id < 16 or k.id >= 28]
    in_map = [(np.eye(4) if k.id < 16 else last) @ k.odom_T_camera for k in good]
    true = [truth[index_of(keyframe.image)] for keyframe in good]
    assert trajectory_error(in_map, true) < 2e-3 * length(truth)
    steps = np.diff([k.odom_T_camera[:3, 3] for k in posed_keyframes(updates)], axis=0)
    assert np.linalg.norm(steps, axis=1).max() < 5.0 * np.median(np.linalg.norm(steps, axis=1))
