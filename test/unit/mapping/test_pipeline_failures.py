# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Memory that runs out, windows that fail, streams that break: nothing is lost or doubled."""

from collections.abc import Sequence
from dataclasses import replace

from da3_ros.errors import MemoryBudgetError, PredictionError
from da3_ros.mapping.config import WindowConfig
from da3_ros.mapping.frame_stream import FrameStream
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.mapping.update import DropReason
import numpy as np
from paths import curve, length, trajectory_error
from perfect_engine import frames, index_of, PerfectEngine
from pipeline_runs import (
    dropped_keyframes,
    EVERY_FRAME,
    indices,
    posed_keyframes,
    reports,
    run,
)
import pytest


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


def test_a_window_that_does_not_fit_is_retried_smaller_and_nothing_is_lost():
    def too_large(call, num_views):
        return MemoryBudgetError(f'{num_views} views') if call > 4 and num_views > 3 else None

    truth = curve(40)
    engine = FailingEngine(truth, too_large)
    updates = run(DepthPipeline(engine, EVERY_FRAME), frames(40))
    posed = posed_keyframes(updates)
    assert indices(posed) == list(range(40))
    assert {keyframe.segment for keyframe in posed} == {0}
    assert reports(updates)[-1].max_views <= 4
    error = trajectory_error([keyframe.odom_T_camera for keyframe in posed], truth)
    assert error < 1e-4 * length(truth)


def test_windows_grow_back_when_memory_returns():
    def too_large_for_a_while(call, num_views):
        return MemoryBudgetError('full') if 4 < call < 30 and num_views > 4 else None

    engine = FailingEngine(curve(400), too_large_for_a_while)
    updates = run(DepthPipeline(engine, EVERY_FRAME), frames(400))
    assert indices(posed_keyframes(updates)) == list(range(400))
    assert reports(updates)[-1].max_views == 12
    assert max(len(window) for window in engine.windows[-8:]) == 12


def test_if_not_even_one_view_fits_the_loss_is_told_and_the_next_goes_on():
    def starved(call, _):
        return MemoryBudgetError('full') if call < 30 else None

    pipeline = DepthPipeline(FailingEngine(curve(40), starved), EVERY_FRAME)
    stream = list(frames(40))
    updates = run(pipeline, stream)
    dropped = dropped_keyframes(updates)
    assert dropped and {keyframe.reason for keyframe in dropped} == {DropReason.OUT_OF_MEMORY}
    stamps = [k.stamp_ns for k in dropped] + [k.stamp_ns for k in posed_keyframes(updates)]
    assert sorted(stamps) == [frame.stamp_ns for frame in stream]


def test_a_failed_window_is_told_and_the_world_goes_on():
    def fails_once(call, _):
        return PredictionError('all NaN') if call == 4 else None

    truth = curve(40)
    updates = run(DepthPipeline(FailingEngine(truth, fails_once), EVERY_FRAME), frames(40))
    dropped, posed = dropped_keyframes(updates), posed_keyframes(updates)
    assert [keyframe.detail for keyframe in dropped] == ['all NaN'] * 4
    assert sorted([k.id for k in dropped] + [k.id for k in posed]) == list(range(40))
    assert {keyframe.segment for keyframe in posed} == {0}
    true = [truth[index] for index in indices(posed)]
    assert trajectory_error([k.odom_T_camera for k in posed], true) < 1e-4 * length(truth)


def test_a_programming_error_comes_through_once():
    def bug(call, _):
        return TypeError('bug') if call == 2 else None

    pipeline, stream = DepthPipeline(FailingEngine(curve(12), bug), EVERY_FRAME), FrameStream(
        EVERY_FRAME)
    instants = [instant for frame in frames(12) for instant in stream.take(frame).instants]
    posed, dropped, num_raised = [], [], 0
    for instant in instants:
        try:
            update = pipeline.add(instant)
        except TypeError:
            num_raised += 1
            continue
        posed += update.keyframes
        dropped += update.dropped
    posed += pipeline.flush().keyframes
    assert num_raised == 1
    assert sorted([k.id for k in posed] + [k.id for k in dropped]) == list(range(12))


def test_a_fault_in_the_last_windows_of_a_session_costs_one_of_them():
    """Memory is short, so that there are several; and the next session begins all the same."""
    def bug(call, num_views):
        return TypeError('bug') if call == 4 else (
            MemoryBudgetError('full') if num_views > 2 else None)

    window = WindowConfig(size=8, stride=7, min_views=8)
    config = replace(EVERY_FRAME, window=window)
    pipeline, stream = DepthPipeline(FailingEngine(curve(12), bug), config), FrameStream(config)
    instants = [instant for frame in frames(7) for instant in stream.take(frame).instants]
    for instant in instants[:6]:
        assert not pipeline.add(instant).windows
    with pytest.raises(TypeError):
        pipeline.add(replace(instants[6], new_session='test'))
    update = pipeline.take_update()
    num_lost = len(update.dropped)
    assert 0 < num_lost <= 2
    assert {each.reason for each in update.dropped} == {DropReason.INFERENCE_FAILED}
    assert len(update.keyframes) == 6 - num_lost
    assert [keyframe.id for keyframe in pipeline.flush().keyframes] == [6]


def test_a_fault_after_a_window_was_placed_loses_nothing(monkeypatch):
    """While places are remembered, say: its keyframes are told once, the next ones come out."""
    class Forgetful:
        """Fail to remember a window once."""

        num_calls = 0

        def note(self, _placement, _new_views):
            self.num_calls += 1
            if self.num_calls == 2:
                raise TypeError('bug')

    pipeline, stream = DepthPipeline(PerfectEngine(curve(12)), EVERY_FRAME), FrameStream(
        EVERY_FRAME)
    monkeypatch.setattr(pipeline, '_loops', Forgetful())
    instants = [instant for frame in frames(12) for instant in stream.take(frame).instants]
    # A session that begins would make another closer of loops.
    updates, num_raised = [], 0
    for instant in (replace(instant, new_session=None) for instant in instants):
        try:
            updates.append(pipeline.add(instant))
        except TypeError:
            num_raised += 1
            updates.append(pipeline.take_update())
    updates.append(pipeline.flush())
    assert num_raised == 1
    assert [keyframe.id for keyframe in posed_keyframes(updates)] == list(range(12))
    assert not dropped_keyframes(updates)


@pytest.mark.parametrize('name', ['depth', 'confidence', 'intrinsics', 'poses'])
@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_a_prediction_without_finite_numbers_is_a_failed_window(name, value):
    class Blind(PerfectEngine):
        """Know nothing about one thing."""

        def infer(self, images, *, poses=None, intrinsics=None):
            prediction = super().infer(images, poses=poses, intrinsics=intrinsics)
            unknown = np.full_like(getattr(prediction, name), value)
            return replace(prediction, **{name: unknown})

    updates = run(DepthPipeline(Blind(curve(5)), EVERY_FRAME), frames(5))
    assert not posed_keyframes(updates)
    assert {k.reason for k in dropped_keyframes(updates)} == {DropReason.INFERENCE_FAILED}


def test_reset_starts_at_the_origin_and_tells_what_it_dropped():
    pipeline, stream = DepthPipeline(PerfectEngine(curve(40)), EVERY_FRAME), FrameStream(
        EVERY_FRAME)
    instants = [instant for frame in frames(40) for instant in stream.take(frame).instants]
    for instant in instants[:8]:
        pipeline.add(instant)
    waiting = [keyframe.id for keyframe in pipeline.waiting]
    assert waiting
    dropped = pipeline.reset('test').dropped
    assert [keyframe.id for keyframe in dropped] == waiting
    assert {keyframe.reason for keyframe in dropped} == {DropReason.RESET}
    updates = [pipeline.add(instant) for instant in instants[8:]]
    first = posed_keyframes(updates)[0]
    assert first.segment == 1
    np.testing.assert_allclose(first.odom_T_camera[:3, 3], 0.0, atol=1e-9)


@pytest.mark.parametrize('change', ['size', 'frame_id', 'stamp'])
def test_a_change_in_mid_stream_begins_a_new_session_and_loses_nothing(change):
    stream = list(frames(20))
    for i in range(9, 20):
        if change == 'size':
            image = np.zeros((60, 80, 3), np.uint8)
            image[:4, :64] = stream[i].image[:4]
            stream[i] = replace(stream[i], image=image)
        elif change == 'frame_id':
            stream[i] = replace(stream[i], frame_id='another')
        else:
            stream[i] = replace(stream[i], stamp_ns=stream[i].stamp_ns - 3_000_000_000)

    class AnySize(PerfectEngine):
        """Insist on one size per window."""

        def infer(self, images, *, poses=None, intrinsics=None):
            assert len({image.shape for image in images}) == 1
            return super().infer(images, poses=poses, intrinsics=intrinsics)

    updates = run(DepthPipeline(AnySize(curve(20)), EVERY_FRAME), stream)
    posed = posed_keyframes(updates)
    assert indices(posed) == list(range(20))
    assert [keyframe.segment for keyframe in posed] == [0] * 9 + [1] * 11


def test_a_bad_window_opens_a_segment_that_is_tied_to_the_old_one_again():
    class Confused(PerfectEngine):
        """Answer the fifth window with nonsense."""

        def infer(self, images, *, poses=None, intrinsics=None):
            prediction = super().infer(images, poses=poses, intrinsics=intrinsics)
            if len(self.windows) == 5:
                depth = prediction.depth * self.random.uniform(0.1, 3.0, prediction.depth.shape)
                prediction = replace(prediction, depth=depth.astype(np.float32))
            return prediction

    truth = curve(60)
    updates = run(DepthPipeline(Confused(truth), EVERY_FRAME), frames(60))
    placements = [report.placement for report in reports(updates)]
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
