# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Windows are as large as the rate of the keyframes allows, and not larger than planned."""

from dataclasses import replace
import itertools
import logging
import time

from da3_ros.inference.memory_planner import BUSY_SHARE
from da3_ros.mapping.config import KeyframeConfig, PipelineConfig, WindowConfig
from da3_ros.mapping.keyframe import Frame, Instant, Keyframe
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.mapping.stream_pace import StreamPace
import numpy as np
from paths import curve
from perfect_engine import frames, PerfectEngine
import pytest

FOR_EVER_S = 3600.0
PLAN = WindowConfig(size=24, stride=8, max_age_s=FOR_EVER_S, is_paced=True)


class Stream:
    """Keyframes at a rate, and windows that cost what a quadratic says."""

    def __init__(self, pace, *, view_s, pair_s=0.0, num_cameras=1):
        """
        Begin the stream.

        :param pace: told of everything.
        :param view_s: of each view of a window.
        :param pair_s: of each pair of views.
        """
        self.pace = pace
        self.view_s = view_s
        self.pair_s = pair_s
        self.num_cameras = num_cameras
        self.now_s = 100.0
        self._ids = itertools.count()

    def cost(self, num_views):
        """Return what a window takes."""
        return num_views * (self.view_s + num_views * self.pair_s)

    def run(self, instants_hz, num_windows, *, lost=0):
        """Drive on; of the instants after each that arrives, some are lost. Give the sizes."""
        sizes = []
        for _ in range(num_windows):
            for _ in range(self.pace.stride):
                keyframes = [
                    Keyframe(next(self._ids), frame(), selected_s=self.now_s)
                    for _ in range(self.num_cameras)]
                self.pace.note_instant(Instant(tuple(keyframes)))
                self.now_s += (1 + lost) / instants_hz
                for _ in range(lost * self.num_cameras):
                    next(self._ids)
            sizes.append((self.pace.num_views, self.pace.stride))
            self.pace.note_window(self.pace.num_views, self.cost(self.pace.num_views))
        return sizes

    def busy_share(self, instants_hz):
        """Return which share of the time windows take now."""
        return self.cost(self.pace.num_views) * instants_hz / self.pace.stride


def frame(stamp_ns=0):
    return Frame(stamp_ns, np.zeros((1, 1, 3), np.uint8))


def test_what_the_stream_can_sustain_stays_as_planned():
    stream = Stream(StreamPace(PLAN), view_s=0.01)
    assert set(stream.run(instants_hz=10.0, num_windows=50)) == {(24, 8)}


@pytest.mark.parametrize('rate_hz', [1.07 + 0.37 * i for i in range(17)])
def test_windows_shrink_until_they_leave_time_and_stay_there(rate_hz):
    stream = Stream(StreamPace(PLAN), view_s=0.01, pair_s=0.005)
    sizes = stream.run(rate_hz, num_windows=60)
    assert stream.busy_share(rate_hz) <= BUSY_SHARE
    assert all(size <= 24 and size >= 2 * stride for size, stride in sizes[10:])
    assert len(set(sizes[30:])) == 1
    # A change is based on several windows after the last one.
    assert min(len(list(group)) for _, group in itertools.groupby(sizes)) >= 3
    # The next larger window would take too long.
    size, _ = sizes[-1]
    if size < 24:
        larger = size + size // 4 + 1
        assert stream.cost(larger) * rate_hz / (larger // 3) > 0.8 * BUSY_SHARE


def test_more_new_keyframes_in_a_window_come_before_a_smaller_one():
    stream = Stream(StreamPace(PLAN), view_s=0.02)
    assert stream.run(instants_hz=9.0, num_windows=20)[-1] == (24, 12)


def test_they_grow_back_when_keyframes_come_slower_and_never_beyond_the_plan():
    stream = Stream(StreamPace(PLAN), view_s=0.01, pair_s=0.005)
    assert stream.run(10.0, num_windows=40)[-1][0] < 12
    sizes = stream.run(1.0, num_windows=100)
    assert sizes[-1] == (24, 8) and max(size for size, _ in sizes) == 24


def test_a_stream_that_nothing_can_sustain_gets_the_smallest_windows_that_join(caplog):
    with caplog.at_level(logging.INFO, 'da3_ros'):
        stream = Stream(StreamPace(PLAN), view_s=1.0)
        assert stream.run(30.0, num_windows=60)[-1] == (4, 2)
    assert 'windows of 4 views' in caplog.text and '30.0 keyframes' in caplog.text


def test_keyframes_that_the_queue_lost_count():
    sizes = [
        Stream(StreamPace(PLAN), view_s=0.02).run(8.0, num_windows=20, lost=lost)[-1]
        for lost in (0, 3)]
    assert sizes[0] == sizes[1]
    pace = StreamPace(PLAN)
    Stream(pace, view_s=0.0).run(8.0, num_windows=2, lost=3)
    assert pace.rate_hz == pytest.approx(8.0)


def test_what_waits_no_longer_than_its_age_makes_windows_more_frequent():
    """Two keyframes a second and a window for each second: half a second is left."""
    stream = Stream(StreamPace(replace(PLAN, max_age_s=1.0)), view_s=0.03)
    assert stream.run(2.0, num_windows=60)[-1][0] in range(10, 17)


def test_a_large_window_has_half_of_the_greatest_age():
    """What was planned by its latency alone is not had before keyframes may wait for it."""
    plan = WindowConfig(size=60, stride=20, max_age_s=1.0, is_paced=True, max_latency_s=1.0)
    for max_age_s, expected in ((1.0, range(24, 43)), (FOR_EVER_S, (60,))):
        stream = Stream(
            StreamPace(replace(plan, max_age_s=max_age_s)), view_s=1 / 120, pair_s=1 / 7200)
        size, _ = stream.run(2.0, num_windows=60)[-1]
        assert size in expected


def test_windows_are_not_more_frequent_than_keyframes():
    """One in five seconds, whatever their greatest age."""
    stream = Stream(StreamPace(replace(PLAN, max_age_s=1.0)), view_s=0.08)
    assert set(stream.run(0.2, num_windows=20)) == {(24, 8)}


def test_what_grows_with_the_square_is_not_tried_again_and_again():
    """Two views leave time, three do not."""
    plan = replace(PLAN, min_views=2, max_age_s=1.0)
    stream = Stream(StreamPace(plan), view_s=0.0, pair_s=0.068)
    assert set(stream.run(0.9, num_windows=100)[40:]) == {(2, 1)}


def test_a_cost_that_wavers_changes_nothing():
    stream = Stream(StreamPace(replace(PLAN, max_age_s=1.0)), view_s=0.0, pair_s=0.0051)
    settled = stream.run(0.9, num_windows=40)[-1]
    for factor in (1.12, 1.0) * 4:
        stream.pair_s = factor * 0.0051
        assert set(stream.run(0.9, num_windows=8)) == {settled}


def test_small_windows_say_nothing_about_large_ones():
    """The first ones of a session, and those of keyframes that became old."""
    pace = StreamPace(PLAN)
    stream = Stream(pace, view_s=0.01)
    stream.run(10.0, num_windows=1)
    for _ in range(9):
        pace.note_window(2, 0.5)
    assert set(stream.run(10.0, num_windows=9)) == {(24, 8)}


def test_a_rig_counts_its_views():
    plan = replace(PLAN, size=24, stride=2, num_cameras=3)
    pace = StreamPace(plan)
    stream = Stream(pace, view_s=0.01, pair_s=0.001, num_cameras=3)
    assert stream.run(1.0, num_windows=20)[-1] == (24, 2)
    assert pace.rate_hz == pytest.approx(3.0)
    size, _ = stream.run(4.0, num_windows=60)[-1]
    assert 6 <= size < 24 and stream.busy_share(4.0) <= BUSY_SHARE
    assert stream.run(30.0, num_windows=60)[-1] == (6, 1)


def test_one_slow_window_changes_nothing():
    pace = StreamPace(PLAN)
    stream = Stream(pace, view_s=0.01)
    stream.run(10.0, num_windows=5)
    pace.note_window(24, 60.0)
    assert set(stream.run(10.0, num_windows=20)) == {(24, 8)}


def test_a_pause_of_the_robot_is_no_rate():
    stream = Stream(StreamPace(PLAN), view_s=0.02)
    before = stream.run(9.0, num_windows=20)[-1]
    stream.now_s += 1000.0
    assert set(stream.run(9.0, num_windows=6)) == {before}


def test_a_new_session_has_a_rate_of_its_own():
    pace = StreamPace(PLAN)
    Stream(pace, view_s=0.01).run(9.0, num_windows=2)
    pace.begin_session()
    assert pace.rate_hz is None
    pace.note_instant(Instant((Keyframe(0, frame(), selected_s=1e6),)))
    assert pace.rate_hz is None


# As a node has it that started while its processor was busy: four views, where 24 fit.
BUSY_START = replace(PLAN, stride=1, first_views=4, max_latency_s=1.0)


def test_windows_grow_that_were_planned_while_the_machine_was_busy():
    stream = Stream(StreamPace(BUSY_START), view_s=0.05)
    sizes = stream.run(0.5, num_windows=60)
    assert sizes[0] == (4, 1) and 12 <= sizes[-1][0] <= 20
    # Overlaps keep their share.
    assert sizes[-1][1] == sizes[-1][0] // 4
    assert stream.cost(sizes[-1][0]) <= 1.0
    assert len(set(sizes[40:])) == 1


def test_windows_that_take_no_time_grow_to_what_fits_and_no_further():
    sizes = Stream(StreamPace(BUSY_START), view_s=1e-3).run(1.0, num_windows=60)
    assert sizes[-1] == (24, 6)


@pytest.mark.parametrize('view_s', [0.24, 0.36])
def test_windows_that_take_what_was_planned_or_little_more_stay(view_s):
    assert set(Stream(StreamPace(BUSY_START), view_s=view_s).run(0.1, num_windows=30)) == {(4, 1)}


def test_windows_that_take_much_longer_than_they_may_become_smaller_and_come_back():
    """Other work on the processor makes all of it three times as slow for a while."""
    plan = replace(PLAN, size=12, stride=4, max_latency_s=1.0)
    stream = Stream(StreamPace(plan), view_s=0.08)
    assert set(stream.run(0.1, num_windows=12)) == {(12, 4)}
    stream.view_s *= 3.0
    sizes = stream.run(0.1, num_windows=30)
    assert sizes[-1][0] == 6 and stream.cost(6) <= 1.5 and len(set(sizes[12:])) == 1
    stream.view_s /= 3.0
    assert stream.run(0.1, num_windows=40)[-1] == (12, 4)


def test_sizes_that_were_asked_for_stay():
    pace = StreamPace(replace(PLAN, is_paced=False))
    assert set(Stream(pace, view_s=10.0).run(10.0, num_windows=20)) == {(24, 8)}


class SlowEngine(PerfectEngine):
    """Takes its time for every view."""

    def infer(self, images, **known):
        """Infer one window."""
        time.sleep(0.002 * len(images))
        return super().infer(images, **known)


def test_the_pipeline_runs_smaller_windows_and_loses_nothing():
    num_frames = 64
    plan = replace(PLAN, size=12, stride=4)
    config = PipelineConfig(KeyframeConfig(mode='time', min_interval_s=0.0), plan)
    pipeline = DepthPipeline(SlowEngine(curve(num_frames)), config)
    posed, sizes, paced, news, waits = [], [], [], [], []
    for i, image in enumerate(frames(num_frames)):
        # A thousand in a second.
        keyframe = Keyframe(i, image, selected_s=100.0 + 0.001 * i)
        update = pipeline.add(Instant((keyframe,)))
        posed += [result.id for result in update.keyframes]
        sizes += [window.report.num_views for window in update.windows]
        paced += [window.report.paced_views for window in update.windows]
        news += [window.report.num_new for window in update.windows]
        waits.append(len(pipeline.waiting))
    posed += [result.id for result in pipeline.flush().keyframes]
    assert posed == list(range(num_frames))
    assert max(sizes) == 12 and sizes[-2] == 4
    assert (paced[0], paced[-2]) == (12, 4)
    assert news[-2] == 2 and max(waits[-6:]) == 1
