# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Live frames: exact in the world of the keyframes, which does not notice them."""

from dataclasses import replace

from da3_ros.errors import IntrinsicsError, MemoryBudgetError, NonFiniteError
from da3_ros.mapping.config import FramesConfig, KeyframeConfig, RigConfig, WindowConfig
from da3_ros.mapping.frame_stream import FrameStream
from da3_ros.mapping.keyframe import Keyframe
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.mapping.update import DropReason
from hypothesis import given, settings, strategies
import numpy as np
from paths import curve
from perfect_engine import frames, index_of, PerfectEngine, PERIOD_NS
from pipeline_runs import dropped_keyframes, EVERY_FRAME, posed_keyframes
import pytest
from two_stage_engine import TwoStageEngine

TRUTH = curve(60, step_m=0.02)
ALL = FramesConfig('all')
# Every third frame is a keyframe.
LIVE = replace(
    EVERY_FRAME, frames=ALL, keyframe=KeyframeConfig(mode='time', min_interval_s=0.3),
    window=WindowConfig(size=6, stride=2, min_views=3))


def live_frames(updates):
    """Return the live frames, in order."""
    return [keyframe for update in updates for keyframe in update.live]


def run_live(pipeline, stream):
    """Feed every frame as the worker does; return the updates."""
    selector, updates = FrameStream(pipeline.config), []
    for frame in stream:
        taken = selector.take(frame)
        updates += [pipeline.add(instant) for instant in taken.instants]
        updates += [pipeline.live(live) for live in taken.live]
    updates.append(pipeline.flush())
    return updates


def assert_true(keyframe, truth, scale):
    """Hold pose and depth to the truth of the frame, in the unit of the first window."""
    index = index_of(keyframe.image)
    pose = truth.poses[index].copy()
    pose[:3, 3] *= scale
    np.testing.assert_allclose(keyframe.odom_T_camera, pose, atol=1e-5)
    np.testing.assert_allclose(
        keyframe.depth, scale * truth.room.depth(truth.poses[index]), rtol=1e-5)
    assert keyframe.stamp_ns == 1_000 + index * PERIOD_NS


def scale_of(engine, posed):
    """Return the unit of the world."""
    return float(np.median(
        posed[0].depth / engine.room.depth(engine.poses[index_of(posed[0].image)])))


@settings(max_examples=8, deadline=None)
@given(strategies.data())
def test_every_frame_comes_out_once_and_exact(data):
    """From the first window on, whatever the windows, the context and the rate of keyframes."""
    size = data.draw(strategies.integers(2, 6))
    stride = data.draw(strategies.integers(1, size - 1))
    context = data.draw(strategies.integers(0, 7))
    interval_s = data.draw(strategies.sampled_from([0.2, 0.3, 0.5]))
    config = replace(
        LIVE, frames=FramesConfig('all', context=context),
        keyframe=KeyframeConfig(mode='time', min_interval_s=interval_s),
        window=WindowConfig(size, stride, min_views=2))
    engine = TwoStageEngine(TRUTH, seed=data.draw(strategies.integers(0, 99)))
    updates = run_live(DepthPipeline(engine, config), frames(24))
    posed, live = posed_keyframes(updates), live_frames(updates)
    lost = dropped_keyframes(updates)
    assert {each.reason for each in lost} == {DropReason.NOT_PLACED}
    stamps = [k.stamp_ns for k in (*posed, *live, *lost)]
    assert sorted(stamps) == [frame.stamp_ns for frame in frames(24)]
    assert max(each.stamp_ns for each in lost) < posed[1].stamp_ns
    for keyframe in (*posed, *live):
        assert keyframe.is_live == (keyframe in live)
        assert_true(keyframe, engine, scale_of(engine, posed))
        assert keyframe.has_pose and keyframe.covariance is not None


def test_the_world_of_the_keyframes_does_not_notice_live_frames():
    """Each keyframe is the same to the last bit, and so are the windows that hold it."""
    without = TwoStageEngine(TRUTH, random_gauge=False)
    with_live = TwoStageEngine(TRUTH, random_gauge=False)
    quiet = replace(LIVE, frames=FramesConfig())
    ours = posed_keyframes(run_live(DepthPipeline(with_live, LIVE), frames(30)))
    theirs = posed_keyframes(run_live(DepthPipeline(without, quiet), frames(30)))
    assert [k.id for k in ours] == [k.id for k in theirs] == list(range(10))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.odom_T_camera, other.odom_T_camera)
        np.testing.assert_array_equal(one.depth, other.depth)
        np.testing.assert_array_equal(one.covariance, other.covariance)
    windows = [window for window, wanted in zip(with_live.windows, with_live.wanted, strict=True)
               if wanted is None]
    assert windows == without.windows


def test_a_live_frame_is_seen_with_the_newest_keyframes_and_asks_for_few_maps():
    config = replace(LIVE, frames=FramesConfig('all', context=4))
    engine = TwoStageEngine(TRUTH)
    run_live(DepthPipeline(engine, config), frames(20))
    # Keyframes are 0, 3, 6, ...
    of_live = [(window, wanted) for window, wanted in zip(
        engine.windows, engine.wanted, strict=True) if wanted is not None]
    assert ([3, 6, 9, 12, 13], (2, 3, 4)) in of_live
    assert all(window[-1] % 3 for window, _ in of_live)
    assert {len(window) for window, _ in of_live} == {4, 5}
    assert engine.keeps == [wanted is None for wanted in engine.wanted]


def test_an_engine_that_only_infers_gives_live_frames_too():
    engine = PerfectEngine(TRUTH)
    updates = run_live(DepthPipeline(engine, LIVE), frames(20))
    live, posed = live_frames(updates), posed_keyframes(updates)
    assert len(live) == 9
    for keyframe in live:
        assert_true(keyframe, engine, scale_of(engine, posed))


def test_a_live_frame_is_no_surer_of_its_pose_than_the_keyframes_that_place_it():
    engine = PerfectEngine(TRUTH, noise=0.02, camera_noise=0.003)
    newest = None
    for update in run_live(DepthPipeline(engine, LIVE), frames(20)):
        for live in update.live:
            assert np.trace(live.covariance) > np.trace(newest.covariance)
        newest = update.keyframes[-1] if update.keyframes else newest


def test_a_camera_that_stands_gives_every_frame():
    truth = [TRUTH[min(index, 12)] for index in range(40)]
    config = replace(LIVE, keyframe=KeyframeConfig())
    engine = PerfectEngine(truth)
    pictures = {i: np.ascontiguousarray(engine.room.image(truth[i])) for i in range(40)}
    pipeline, selector = DepthPipeline(engine, config), FrameStream(config)
    first = list(frames(40, pictures=pictures))
    for frame in first[:13]:
        for instant in selector.take(frame).instants:
            pipeline.add(instant)
    pipeline.flush()
    taken = [selector.take(frame) for frame in first[13:]]
    live = [keyframe for each in taken for frame in each.live
            for keyframe in pipeline.live(frame).live]
    num_kept = sum(len(each.instants) for each in taken)
    assert len(live) + num_kept == 27 and num_kept < 14


@pytest.mark.parametrize('is_metric', [False, True])
def test_networks_without_cameras_give_live_depth_without_pose(is_metric):
    class Monocular(PerfectEngine):
        """Estimate no cameras."""

        def infer(self, images, *, poses=None, intrinsics=None):
            prediction = super().infer(images, poses=poses, intrinsics=intrinsics)
            return replace(prediction, poses=None, confidence=None)

    engine = Monocular(TRUTH, random_gauge=False, is_metric=is_metric)
    config = replace(LIVE, window=WindowConfig(1, 1, 1))
    updates = run_live(DepthPipeline(engine, config), frames(9))
    live = live_frames(updates)
    assert len(live) == 6 and not dropped_keyframes(updates)
    assert all(len(window) == 1 for window in engine.windows)
    for keyframe in live:
        assert (keyframe.has_pose, keyframe.is_metric) == (False, is_metric)
        np.testing.assert_allclose(
            keyframe.depth, engine.room.depth(engine.poses[index_of(keyframe.image)]), rtol=1e-6)


def test_metres_are_claimed_of_live_frames_as_of_keyframes():
    for is_metric in (False, True):
        engine = PerfectEngine(TRUTH, random_gauge=not is_metric, is_metric=is_metric)
        updates = run_live(DepthPipeline(engine, LIVE), frames(20))
        assert {keyframe.is_metric for keyframe in live_frames(updates)} == {is_metric}


def test_a_live_frame_that_contradicts_the_world_is_not_shown():
    class Confused(TwoStageEngine):
        """Answer live frames with nonsense."""

        def infer(self, images, *, wanted=None, **known):
            prediction = super().infer(images, wanted=wanted, **known)
            if wanted is not None:
                noise = self.random.uniform(0.1, 3.0, prediction.depth.shape)
                prediction = replace(
                    prediction, depth=(prediction.depth * noise).astype(np.float32))
            return prediction

        works_apart = False

    updates = run_live(DepthPipeline(Confused(TRUTH), LIVE), frames(20))
    assert not live_frames(updates)
    assert [k.id for k in posed_keyframes(updates)] == list(range(7))
    assert {each.reason for each in dropped_keyframes(updates)} == {DropReason.NOT_PLACED}


@pytest.mark.parametrize('stage', ['begin', 'collect'])
@pytest.mark.parametrize('error, reason', [
    (NonFiniteError('all NaN'), DropReason.INFERENCE_FAILED),
    (MemoryBudgetError('full'), DropReason.OUT_OF_MEMORY),
    (IntrinsicsError('none'), DropReason.NO_INTRINSICS),
    (TypeError('bug'), DropReason.INFERENCE_FAILED)])
def test_a_live_frame_that_fails_costs_only_itself(stage, error, reason):
    engine = TwoStageEngine(TRUTH)
    pipeline, selector = DepthPipeline(engine, LIVE), FrameStream(LIVE)
    stream, updates = list(frames(24)), []
    for index, frame in enumerate(stream):
        is_hit = index == 13
        failing = stage if is_hit else None
        engine.errors = lambda at, *_, failing=failing: error if at == failing else None
        taken = selector.take(frame)
        updates += [pipeline.add(instant) for instant in taken.instants]
        for live in taken.live:
            if is_hit and isinstance(error, TypeError):
                with pytest.raises(TypeError):
                    pipeline.live(live)
                updates.append(pipeline.take_update())
            else:
                updates.append(pipeline.live(live))
    lost = [each for each in dropped_keyframes(updates)
            if each.reason is not DropReason.NOT_PLACED]
    assert [(each.stamp_ns, each.reason) for each in lost] == [(stream[13].stamp_ns, reason)]
    assert lost[0].id < 0
    updates.append(pipeline.flush())
    assert [k.id for k in posed_keyframes(updates)] == list(range(8))
    assert [k for k in live_frames(updates) if k.stamp_ns > stream[13].stamp_ns]


def test_windows_that_are_under_way_or_due_go_before_a_live_frame():
    engine = TwoStageEngine(TRUTH)
    pipeline, selector = DepthPipeline(engine, LIVE), FrameStream(LIVE)
    live = []
    for frame in frames(8):
        taken = selector.take(frame)
        for instant in taken.instants:
            pipeline.begin(instant)
        live += taken.live
    assert pipeline.is_under_way
    update = pipeline.live(live[-1])
    assert [k.id for k in update.keyframes] == [0, 1, 2]
    assert [k.stamp_ns for k in update.live] == [live[-1].frame.stamp_ns]
    assert not pipeline.is_under_way


def test_nothing_of_a_world_that_has_ended_places_a_live_frame():
    pipeline, selector = DepthPipeline(PerfectEngine(TRUTH), LIVE), FrameStream(LIVE)
    for frame in frames(10):
        taken = selector.take(frame)
        for instant in taken.instants:
            pipeline.add(instant)
    pipeline.reset('test')
    (dropped,) = pipeline.live(taken.live[0] if taken.live else Keyframe(-1, frame)).dropped
    assert dropped.reason is DropReason.NOT_PLACED


def test_frames_are_no_live_frames_unless_that_is_wanted():
    stream = FrameStream(replace(LIVE, frames=FramesConfig()))
    assert not [live for frame in frames(9) for live in stream.take(frame).live]


def test_several_cameras_have_no_live_frames():
    with pytest.raises(ValueError, match=r"frames.mode: got 'all', expected keyframes with"):
        replace(LIVE, rig=RigConfig(('front', 'left')))
