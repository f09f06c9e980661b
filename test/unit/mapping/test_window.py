# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The sliding window: when it runs, over what, and that nothing is lost or doubled."""

import itertools

from da3_ros.mapping.config import WindowConfig
from da3_ros.mapping.keyframe import Keyframe
from da3_ros.mapping.window import SlidingWindow
from hypothesis import given, strategies
from perfect_engine import frames
import pytest

PERIOD_S = 0.1
CONFIG = WindowConfig(size=6, stride=2, min_views=3, max_age_s=10.0)


def keyframes(count):
    return [Keyframe(i, frame) for i, frame in enumerate(frames(count))]


def ids(window):
    return [keyframe.id for keyframe in window.keyframes]


def run_due(sliding, max_views=100):
    windows = []
    while sliding.is_due:
        window = sliding.propose(max_views)
        sliding.complete(window)
        windows.append(window)
    return windows


def test_the_first_window_is_early_and_later_ones_grow_and_slide():
    sliding = SlidingWindow(CONFIG)
    seen = []
    for keyframe in keyframes(11):
        sliding.add(keyframe)
        seen += [(keyframe.id, ids(window)) for window in run_due(sliding)]
    assert seen == [
        (2, [0, 1, 2]), (4, [0, 1, 2, 3, 4]), (6, [1, 2, 3, 4, 5, 6]), (8, [3, 4, 5, 6, 7, 8]),
        (10, [5, 6, 7, 8, 9, 10]),
    ]


def test_a_keyframe_does_not_wait_longer_than_its_age():
    sliding = SlidingWindow(WindowConfig(size=6, stride=5, min_views=2, max_age_s=2 * PERIOD_S))
    windows = []
    for keyframe in keyframes(8):
        sliding.add(keyframe)
        windows += run_due(sliding)
    assert [[k.id for k in window.new] for window in windows] == [[0, 1], [2, 3, 4], [5, 6, 7]]


def test_proposing_changes_nothing():
    sliding = SlidingWindow(CONFIG)
    for keyframe in keyframes(3):
        sliding.add(keyframe)
    assert ids(sliding.propose(6)) == ids(sliding.propose(6))
    assert len(sliding.waiting) == 3


def test_discarded_keyframes_are_not_overlapped_with():
    sliding = SlidingWindow(CONFIG)
    for keyframe in keyframes(5):
        sliding.add(keyframe)
        if sliding.is_due:
            window = sliding.propose(6)
            (sliding.complete if keyframe.id == 2 else sliding.discard)(window)
    sliding.add(Keyframe(5, next(frames(1, first=5))))
    assert ids(sliding.propose(6)) == [0, 1, 2, 5]


def views(*cameras_by_instant):
    """Give the keyframes of instants with so many cameras each."""
    stream = frames(sum(cameras_by_instant))
    ids = itertools.count()
    return [
        [Keyframe(next(ids), next(stream), instant) for _ in range(num_cameras)]
        for instant, num_cameras in enumerate(cameras_by_instant)
    ]


def test_the_stride_counts_instants_and_the_size_views():
    config = WindowConfig(size=9, stride=2, min_views=3, max_age_s=10.0, num_cameras=3)
    sliding = SlidingWindow(config)
    seen = []
    for instant in views(3, 3, 3, 3, 2, 3, 3):
        for keyframe in instant:
            sliding.add(keyframe)
        seen += [(ids(window), window.num_new) for window in run_due(sliding)]
    assert seen == [
        ([0, 1, 2], 3), ([0, 1, 2, 3, 4, 5, 6, 7, 8], 6), ([5, 6, 7, 8, 9, 10, 11, 12, 13], 5),
        ([11, 12, 13, 14, 15, 16, 17, 18, 19], 6)]


def test_instants_are_divided_only_if_they_do_not_fit():
    config = WindowConfig(size=12, stride=1, min_views=3, max_age_s=10.0, num_cameras=3)
    for limit, expected in ((8, [6, 3]), (5, [3, 3, 3]), (2, [2, 1])):
        sliding = SlidingWindow(config)
        for instant in views(3, 3, 3):
            for keyframe in instant:
                sliding.add(keyframe)
        num_new = []
        while sliding.waiting:
            window = sliding.propose(limit)
            assert len(window.keyframes) <= limit
            sliding.complete(window)
            num_new.append(window.num_new)
        assert num_new[:len(expected)] == expected, limit
        assert sum(num_new) == 9


def test_nothing_waiting_is_a_mistake():
    with pytest.raises(ValueError, match='waiting'):
        SlidingWindow(CONFIG).propose(6)


@given(
    size=strategies.integers(1, 9), stride=strategies.integers(1, 8),
    limits=strategies.lists(strategies.integers(1, 12), min_size=1, max_size=40),
)
def test_whatever_fits_everything_comes_once_and_windows_overlap(size, stride, limits):
    stride = min(stride, max(size - 1, 1))
    sliding = SlidingWindow(WindowConfig(size=size, stride=stride, min_views=1))
    covered = []
    for keyframe, limit in zip(keyframes(len(limits)), limits, strict=True):
        sliding.add(keyframe)
        for window in run_due(sliding, limit):
            assert 1 <= len(window.keyframes) <= min(limit, size)
            assert ids(window) == list(range(ids(window)[0], window.new[-1].id + 1))
            if covered and min(limit, size) > 1:
                assert ids(window)[0] <= covered[-1]
            covered += [k.id for k in window.new]
    waiting = [keyframe.id for keyframe in sliding.waiting]
    assert covered + waiting == list(range(len(limits)))
