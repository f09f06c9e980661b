# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Which frames become live frames, and with how many keyframes they are inferred."""

from dataclasses import replace

from da3_ros.mapping.config import FramesConfig, WindowConfig
from da3_ros.mapping.keyframe import Keyframe, NS_PER_S
from da3_ros.mapping.live import LivePace, LiveSelector
import numpy as np
from perfect_engine import frames
import pytest

ALL = FramesConfig('all')


@pytest.mark.parametrize('camera_hz, most_hz', [(30, 10), (30, 20), (11, 10), (30, 0), (7, 30)])
def test_the_rate_is_held_and_used(camera_hz, most_hz):
    """With a camera that is not punctual; over ten seconds."""
    random = np.random.default_rng(3)
    selector = LiveSelector(FramesConfig('all', max_rate_hz=float(most_hz)))
    (frame,) = frames(1)
    count = 0
    for index in range(10 * camera_hz):
        stamp_ns = round((index + random.uniform(-0.1, 0.1)) * NS_PER_S / camera_hz)
        count += len(selector.select([replace(frame, stamp_ns=NS_PER_S + stamp_ns)], ()))
    most = 10 * min(camera_hz, most_hz or camera_hz)
    assert count <= most + 1
    assert count >= 0.7 * most


def test_stamps_that_go_back_do_not_silence_the_selector():
    selector = LiveSelector(FramesConfig('all', max_rate_hz=10.0))
    (frame,) = frames(1)
    stamps = [50 * NS_PER_S, NS_PER_S, NS_PER_S + NS_PER_S // 20, NS_PER_S + NS_PER_S // 10]
    taken = [len(selector.select([replace(frame, stamp_ns=s)], ())) for s in stamps]
    assert taken == [1, 1, 0, 1]


def spent(pace, cost_of, *, count=60, period_s=0.1, skips=1):
    """Let live frames cost what so many views cost; return the context of each."""
    (frame,) = frames(1)
    seen = []
    for number in range(1, count + 1, skips):
        seen.append(pace.num_context)
        live = Keyframe(-number, frame, selected_s=number * period_s)
        pace.note(live, pace.num_context, cost_of(pace.num_context + 1))
    return seen


@pytest.mark.parametrize('view_s, expected', [(0.001, 8), (0.005, 5), (0.017, 1), (1.0, 1)])
@pytest.mark.parametrize('skips', [1, 3])
def test_the_context_follows_the_time_between_two_frames(view_s, expected, skips):
    """Also where most frames have to be skipped, which makes none of them less urgent."""
    window = WindowConfig(size=12)
    seen = spent(LivePace(ALL, window), lambda views: view_s * views, count=300, skips=skips)
    assert seen[0] == 4 and seen[-1] == expected
    # It comes to rest.
    assert len(set(seen[-30:])) == 1


def test_a_context_that_was_asked_for_stays_and_is_never_more_than_a_window_has():
    pace = LivePace(FramesConfig('all', context=6), WindowConfig(size=12))
    assert set(spent(pace, lambda _: 1.0)) == {6}
    pace.note_shortage()
    assert pace.num_context == 6
    assert LivePace(FramesConfig('all', context=6), WindowConfig(4, 2)).num_context == 3
    assert LivePace(ALL, WindowConfig(size=2, stride=1, min_views=1)).num_context == 1
    assert LivePace(ALL, WindowConfig(size=1, stride=1, min_views=1)).num_context == 0


def test_a_shortage_of_memory_makes_the_context_smaller():
    pace = LivePace(ALL, WindowConfig(size=12))
    pace.note_shortage()
    assert pace.num_context == 2
