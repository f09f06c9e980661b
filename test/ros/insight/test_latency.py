# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Durations of the stages: by the right clock, and of the last keyframes."""

import logging
import time

from da3_ros.mapping.keyframe import PosedKeyframe, StageTimes
from da3_ros.ros.insight.latency import LatencyTrace, Stage
import numpy as np
import pytest

NS_PER_S = 10**9
NOW_NS = 1_700_000_000 * NS_PER_S


def keyframe(*, age_s=2.0, times=None):
    """Give a keyframe of some age, by the node's clock."""
    image = np.zeros((2, 2, 3), np.uint8)
    depth = np.ones((2, 2), np.float32)
    return PosedKeyframe(
        7, NOW_NS - round(age_s * NS_PER_S), 'camera', image, depth, None, np.eye(3), np.eye(4), 0,
        True, times=times)


def passed(waited_s):
    """Give stages that ended just now, after a wait for the window."""
    now_s = time.monotonic()
    return StageTimes(now_s - waited_s - 0.53, now_s - waited_s - 0.5, now_s - 0.5, now_s)


def by_stage(trace):
    """Give the summaries by their stage."""
    return {latency.stage: latency for latency in trace.latencies()}


def test_every_stage_is_measured():
    """Those inside by the steady clock, those from the stamp by the node's."""
    trace = LatencyTrace(lambda: NOW_NS)
    trace.note_image(NOW_NS - NS_PER_S // 4)
    for waited_s in np.linspace(0.0, 1.0, 101):
        trace.note_published(keyframe(age_s=1.0 + waited_s, times=passed(waited_s)))
    found = by_stage(trace)
    assert set(found) == set(Stage)
    assert found[Stage.ARRIVAL].median_s == pytest.approx(0.25)
    assert found[Stage.SELECTION].max_s == pytest.approx(0.03)
    assert found[Stage.INFERENCE].median_s == pytest.approx(0.5)
    assert 0.0 <= found[Stage.PUBLICATION].median_s < 0.1
    wait, total = found[Stage.WAIT], found[Stage.TOTAL]
    assert (wait.median_s, wait.p95_s, wait.max_s) == pytest.approx((0.5, 0.95, 1.0))
    assert (total.median_s, total.p95_s, total.max_s) == pytest.approx((1.5, 1.95, 2.0))


def test_old_keyframes_are_forgotten():
    """A slow beginning does not spoil the figures for ever."""
    trace = LatencyTrace(lambda: NOW_NS)
    for age_s in [100.0] * 10 + [1.0] * 200:
        trace.note_published(keyframe(age_s=age_s))
    assert by_stage(trace)[Stage.TOTAL].max_s == pytest.approx(1.0)


def test_a_new_session_forgets_what_the_stamps_told_and_keeps_the_rest():
    """A bag that loops sets simulated time back: what was under way is of no clock."""
    trace = LatencyTrace(lambda: NOW_NS)
    trace.note_image(NOW_NS + 60 * NS_PER_S)
    trace.note_published(keyframe(age_s=-60.0, times=passed(0.1)))
    trace.begin_session()
    assert set(by_stage(trace)) == set(Stage) - {Stage.ARRIVAL, Stage.TOTAL}


def test_stamps_of_another_clock_are_told():
    """Two hours are no latency."""
    trace = LatencyTrace(lambda: NOW_NS)
    trace.note_published(keyframe(age_s=7200.0, times=passed(0.1)))
    found = by_stage(trace)
    assert not found[Stage.TOTAL].is_of_one_clock
    assert found[Stage.WAIT].is_of_one_clock


def test_every_keyframe_can_be_traced(caplog, monkeypatch):
    """One line at debug level, with its stamp and all its stages."""
    monkeypatch.setattr(logging.getLogger('da3_ros'), 'propagate', True)
    trace = LatencyTrace(lambda: NOW_NS)
    with caplog.at_level(logging.DEBUG, 'da3_ros.ros.insight.latency'):
        trace.note_published(keyframe(times=passed(0.1)))
    assert f'keyframe 7 of stamp {NOW_NS - 2 * NS_PER_S}: ' in caplog.text
    assert 'selection to inference 0.1000 s' in caplog.text
    assert 'stamp to publication 2.0000 s' in caplog.text
