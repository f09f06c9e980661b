# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Two stages: what comes out is the same as in one, whatever fails while a window is under way."""

from dataclasses import replace

from da3_ros.errors import MemoryBudgetError, NonFiniteError
from da3_ros.inference.prediction import WindowPrediction
from da3_ros.mapping.config import LoopConfig, WindowConfig
from da3_ros.mapping.device_stage import staged
from da3_ros.mapping.frame_stream import FrameStream
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.mapping.update import DropReason
from hypothesis import given, settings, strategies
import numpy as np
from paths import curve
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
from two_stage_engine import TwoStageEngine

TRUTH = curve(60)
SMALL = replace(EVERY_FRAME, window=WindowConfig(size=4, stride=2, min_views=2))


def instants_of(stream, config=EVERY_FRAME):
    """Return the instants of frames, all of one session."""
    selector = FrameStream(config)
    return [replace(instant, new_session=None)
            for frame in stream for instant in selector.take(frame).instants]


def run_staged(pipeline, stream, *, finishes=lambda _: False):
    """Begin with every frame, finish now and then, and flush; return the updates."""
    updates = []
    for number, instant in enumerate(instants_of(stream, pipeline.config)):
        updates.append(pipeline.begin(instant))
        if finishes(number):
            updates.append(pipeline.finish())
            assert not pipeline.is_under_way
    updates.append(pipeline.flush())
    return updates


def assert_same(ours, theirs):
    """Hold keyframes to others, to the last bit."""
    assert [keyframe.id for keyframe in ours] == [keyframe.id for keyframe in theirs]
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.depth, other.depth)
        np.testing.assert_array_equal(one.odom_T_camera, other.odom_T_camera)
        np.testing.assert_array_equal(one.covariance, other.covariance)
        assert one.segment == other.segment


@settings(max_examples=8, deadline=None)
@given(strategies.data())
def test_two_stages_give_what_one_gives(data):
    size = data.draw(strategies.integers(2, 8))
    stride = data.draw(strategies.integers(1, size - 1))
    min_views = data.draw(strategies.integers(1, size))
    config = replace(EVERY_FRAME, window=WindowConfig(size, stride, min_views))
    finishes = data.draw(strategies.lists(strategies.booleans(), min_size=14, max_size=14))
    noise = {'noise': 0.01, 'camera_noise': 0.003}
    one = run(DepthPipeline(PerfectEngine(TRUTH, **noise), config), frames(14))
    engine = TwoStageEngine(TRUTH, **noise)
    two = run_staged(
        DepthPipeline(engine, config), frames(14), finishes=lambda number: finishes[number])
    assert_same(posed_keyframes(two), posed_keyframes(one))
    assert not dropped_keyframes(two)


def test_a_window_is_told_of_while_the_device_is_at_the_next():
    engine = TwoStageEngine(TRUTH)
    pipeline = DepthPipeline(engine, SMALL)
    told = []
    for instant in instants_of(frames(8), SMALL):
        told.append([keyframe.id for keyframe in pipeline.begin(instant).keyframes])
    assert told == [[], [], [], [0, 1], [], [2, 3], [], [4, 5]]
    assert pipeline.is_under_way
    assert [keyframe.id for keyframe in pipeline.finish().keyframes] == [6, 7]
    assert not pipeline.is_under_way
    assert pipeline.flush().windows == ()


def test_the_device_begins_before_the_window_before_is_placed(monkeypatch):
    engine = TwoStageEngine(TRUTH)
    pipeline = DepthPipeline(engine, SMALL)
    place = pipeline._world.place
    monkeypatch.setattr(pipeline._world, 'place', lambda *views, **options: (
        engine.log.append(('place', None)), place(*views, **options))[1])
    run_staged(pipeline, frames(8))
    steps = [step for step, _ in engine.log if step != 'prepare']
    assert steps == ['begin', *3 * ['collect', 'begin', 'place'], 'collect', 'place']


def test_images_are_prepared_once_as_they_come_and_before_their_window():
    engine = TwoStageEngine(TRUTH)
    pipeline = DepthPipeline(engine, SMALL)
    instants = instants_of(frames(5), SMALL)
    pipeline.begin(instants[0])
    assert engine.log == [('prepare', 0)]
    for instant in instants[1:]:
        pipeline.begin(instant)
    pipeline.flush()
    assert [what for step, what in engine.log if step == 'prepare'] == [0, 1, 2, 3, 4]
    for position, (step, what) in enumerate(engine.log):
        before = [each for at, each in engine.log[:position] if at == 'prepare']
        assert step != 'begin' or set(what) <= set(before)


def test_an_engine_whose_device_is_the_processor_infers_only_when_asked():
    """So that results do not wait for the window after them."""
    engine = TwoStageEngine(TRUTH)
    engine.works_apart = False
    pipeline, instants = DepthPipeline(engine, SMALL), instants_of(frames(4), SMALL)
    for instant in instants[:2]:
        pipeline.begin(instant)
    assert pipeline.is_under_way and engine.windows == []
    update = pipeline.finish()
    assert [keyframe.id for keyframe in update.keyframes] == [0, 1]
    for instant in instants[2:]:
        pipeline.begin(instant)
    # What nobody wants any more is never inferred.
    assert pipeline.is_under_way
    pipeline.reset('test')
    assert not pipeline.is_under_way and engine.windows == [[0, 1]]


@pytest.mark.parametrize('stage', ['begin', 'collect'])
def test_memory_that_runs_out_in_either_stage_loses_nothing(stage):
    def full(at, call, num_views):
        too_large = call > 3 and num_views > 3
        return MemoryBudgetError(f'{num_views} views') if at == stage and too_large else None

    engine = TwoStageEngine(TRUTH, errors=full)
    updates = run_staged(DepthPipeline(engine, EVERY_FRAME), frames(30))
    posed = posed_keyframes(updates)
    assert indices(posed) == list(range(30)) and not dropped_keyframes(updates)
    assert {keyframe.segment for keyframe in posed} == {0}
    assert reports(updates)[-1].max_views <= 4


@pytest.mark.parametrize('stage', ['begin', 'collect'])
@pytest.mark.parametrize('error', [NonFiniteError('all NaN'), MemoryBudgetError('full')])
def test_a_window_that_fails_in_either_stage_is_told_once(stage, error):
    def fails(at, call, _):
        # Memory that suffices for no view at all.
        is_hit = call == 3 or (isinstance(error, MemoryBudgetError) and 3 < call < 10)
        return error if at == stage and is_hit else None

    config = replace(SMALL, window=WindowConfig(size=4, stride=2, min_views=4))
    updates = run_staged(DepthPipeline(TwoStageEngine(TRUTH, errors=fails), config), frames(31))
    posed, dropped = posed_keyframes(updates), dropped_keyframes(updates)
    assert dropped and len(dropped) <= 4
    assert sorted([k.id for k in posed] + [k.id for k in dropped]) == list(range(31))
    assert {keyframe.segment for keyframe in posed} <= {0, 1}


@pytest.mark.parametrize('stage', ['begin', 'collect'])
def test_a_first_window_that_fails_is_followed_by_another_first_one(stage):
    def fails(at, call, _):
        return NonFiniteError('all NaN') if at == stage and call == 1 else None

    config = replace(SMALL, window=WindowConfig(size=6, stride=1, min_views=4))
    engine = TwoStageEngine(TRUTH, errors=fails)
    updates = run_staged(DepthPipeline(engine, config), frames(10))
    assert [keyframe.id for keyframe in dropped_keyframes(updates)] == [0, 1, 2, 3]
    assert [keyframe.id for keyframe in posed_keyframes(updates)] == list(range(4, 10))
    assert [len(what) for step, what in engine.log if step == 'begin'][1] == 4


@pytest.mark.parametrize('stage', ['begin', 'collect'])
def test_an_unexpected_error_comes_through_once_and_costs_one_window(stage):
    def bug(at, call, _):
        return TypeError('bug') if at == stage and call == 3 else None

    pipeline = DepthPipeline(TwoStageEngine(TRUTH, errors=bug), SMALL)
    updates, num_raised = [], 0
    for instant in instants_of(frames(20), SMALL):
        try:
            updates.append(pipeline.begin(instant))
        except TypeError:
            num_raised += 1
            updates.append(pipeline.take_update())
    updates.append(pipeline.flush())
    posed, dropped = posed_keyframes(updates), dropped_keyframes(updates)
    assert num_raised == 1
    assert {each.reason for each in dropped} == {DropReason.INFERENCE_FAILED}
    assert len(dropped) == 2
    assert sorted([k.id for k in posed] + [k.id for k in dropped]) == list(range(20))


def test_a_fault_while_a_window_is_placed_costs_that_window(monkeypatch):
    """The next one, which the device is at by then, comes out."""
    pipeline = DepthPipeline(TwoStageEngine(TRUTH), SMALL)
    place, calls = pipeline._world.place, []

    def fail_once(*views, **options):
        calls.append(0)
        if len(calls) == 2:
            raise TypeError('bug')
        return place(*views, **options)

    monkeypatch.setattr(pipeline._world, 'place', fail_once)
    updates, num_raised = [], 0
    for instant in instants_of(frames(10), SMALL):
        try:
            updates.append(pipeline.begin(instant))
        except TypeError:
            num_raised += 1
            updates.append(pipeline.take_update())
    updates.append(pipeline.flush())
    assert num_raised == 1
    assert [each.id for each in dropped_keyframes(updates)] == [2, 3]
    assert [keyframe.id for keyframe in posed_keyframes(updates)] == [0, 1, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize('error', [None, NonFiniteError('all NaN'), RuntimeError('lost device')])
def test_a_reset_lets_the_device_end_and_drops_what_it_was_at(error):
    def fails(at, call, _):
        return error if at == 'collect' and call == 2 else None

    engine = TwoStageEngine(TRUTH, errors=fails)
    pipeline = DepthPipeline(engine, SMALL)
    instants = instants_of(frames(9), SMALL)
    updates = [pipeline.begin(instant) for instant in instants[:5]]
    assert pipeline.is_under_way
    if isinstance(error, RuntimeError):
        with pytest.raises(RuntimeError):
            pipeline.reset('test')
        updates.append(pipeline.take_update())
    else:
        updates.append(pipeline.reset('test'))
    assert not pipeline.is_under_way and engine.log[-1] == ('collect', [0, 1, 2, 3])
    dropped = dropped_keyframes(updates)
    assert [each.id for each in dropped] == [2, 3, 4]
    assert {each.reason for each in dropped} == {DropReason.RESET}
    after = [pipeline.begin(instant) for instant in instants[5:]] + [pipeline.flush()]
    posed = posed_keyframes(after)
    assert [keyframe.id for keyframe in posed] == [5, 6, 7, 8]
    assert {keyframe.segment for keyframe in posed} == {1}
    np.testing.assert_allclose(posed[0].odom_T_camera[:3, 3], 0.0, atol=1e-9)


def test_a_new_session_lets_the_window_under_way_out_first():
    pipeline = DepthPipeline(TwoStageEngine(TRUTH), SMALL)
    instants = instants_of(frames(7), SMALL)
    for instant in instants[:2]:
        assert not pipeline.begin(instant).windows
    update = pipeline.begin(replace(instants[2], new_session='test'))
    assert [(w.session, [k.id for k in w.keyframes]) for w in update.windows] == [(0, [0, 1])]


def test_loops_are_looked_for_with_no_window_under_way():
    config = replace(SMALL, loop=LoopConfig(enabled=True))
    pipeline = DepthPipeline(TwoStageEngine(TRUTH), config)
    for instant in instants_of(frames(2), config):
        pipeline.begin(instant)
    update = pipeline.close_loops()
    assert not pipeline.is_under_way
    assert [keyframe.id for keyframe in update.keyframes] == [0, 1]


def test_pace_counts_what_a_window_holds_up_and_not_what_is_done_beside_it(monkeypatch):
    """A sender of messages that is slow makes no windows smaller."""
    now_s, costs = [100.0], []
    monkeypatch.setattr('da3_ros.mapping.device_stage.time.monotonic', lambda: now_s[0])
    engine = TwoStageEngine(TRUTH)

    def takes(stage, _call, _num_views):
        now_s[0] += {'begin': 1.0, 'collect': 2.0}[stage]

    engine.errors = takes
    pipeline = DepthPipeline(engine, SMALL)
    monkeypatch.setattr(
        pipeline._pace, 'note_window', lambda _num_views, seconds: costs.append(seconds))
    reports_ = []
    for instant in instants_of(frames(4), SMALL):
        reports_ += reports([pipeline.begin(instant)])
        now_s[0] += 50.0
    assert costs == [pytest.approx(3.0)]
    assert reports_[0].inference_s == pytest.approx(1.0 + 2.0 + 100.0)


def test_whatever_only_infers_is_an_engine_of_two_stages_too():
    engine = staged(PerfectEngine(TRUTH, random_gauge=False))
    images = [frame.image for frame in frames(4)]
    engine.prepare(images[0])
    whole, part = engine.infer(images), engine.infer(images, wanted=[3, 1])
    assert isinstance(part, WindowPrediction) and part.num_views == 2
    for name in ('images', 'depth', 'confidence', 'intrinsics', 'poses', 'appearance'):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[[3, 1]])
    assert part.sky is None and part.is_metric == whole.is_metric
    assert [index_of(image) for image in part.images] == [3, 1]
    assert not engine.works_apart
    np.testing.assert_array_equal(engine.submit(images, wanted=[2]).collect().poses[0],
                                  whole.poses[2])
    assert staged(two := TwoStageEngine(TRUTH)) is two
