# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Frames of several cameras become instants, whatever the cameras do to each other in time."""

import weakref

from da3_ros.mapping.config import KeyframeConfig, RigConfig
from da3_ros.mapping.keyframe import Frame
from da3_ros.mapping.rig import RigSelector
from hypothesis import given, settings, strategies
import numpy as np
import pytest

MS = 1_000_000
PERIOD_NS = 100 * MS
CAMERAS = ('front', 'left', 'right')
EVERY_FRAME = KeyframeConfig(mode='time', min_interval_s=0.0)
BLACK = np.zeros((48, 64, 3), np.uint8)


def selector(cameras=CAMERAS, *, keyframe=EVERY_FRAME, tolerance_s=0.045):
    return RigSelector(RigConfig(cameras, tolerance_s), keyframe)


def frame(camera, stamp_ns, image=BLACK):
    return Frame(stamp_ns, image, camera=camera)


def stream(offsets_ms, count, *, latencies_ms=None):
    """Give the frames of free-running cameras, in the order in which they arrive."""
    latencies_ms = {} if latencies_ms is None else latencies_ms
    arrivals = [
        (i * PERIOD_NS + (offset + latencies_ms.get(camera, 0)) * MS,
         frame(camera, i * PERIOD_NS + offset * MS))
        for camera, offset in offsets_ms.items() for i in range(count)
    ]
    arrivals.sort(key=lambda arrival: arrival[0])
    return [arrived for _, arrived in arrivals]


def run(rig, frames, *, release=True):
    """Take in all frames, and what waits at the end."""
    instants = []
    for newest in frames:
        instants += rig.select(newest)
    return [*instants, *(rig.release() if release else ())]


def members(instants):
    """Name the cameras of every instant."""
    return [tuple(k.frame.camera for k in instant.keyframes) for instant in instants]


def stamps_of(instants, camera):
    return [
        k.frame.stamp_ns for instant in instants for k in instant.keyframes
        if k.frame.camera == camera
    ]


def test_one_camera_waits_for_no_one():
    rig = selector(('',))
    for number, stamp_ns in enumerate((1_000, 2_000, 50 * MS)):
        (instant,) = rig.select(frame('', stamp_ns))
        assert [(k.id, k.frame.stamp_ns) for k in instant.keyframes] == [(number, stamp_ns)]
        assert instant.keyframes[0].instant == number


@pytest.mark.parametrize('offsets_ms', [(0, 0, 0), (0, 12, 40), (30, 12, 0), (20, 0, 20)])
def test_free_running_cameras_give_whole_instants(offsets_ms):
    offsets = dict(zip(CAMERAS, offsets_ms, strict=True))
    instants = run(selector(), stream(offsets, 20))
    assert members(instants) == [CAMERAS] * 20
    for camera, offset in offsets.items():
        expected = [i * PERIOD_NS + offset * MS for i in range(20)]
        assert stamps_of(instants, camera) == expected
    for number, instant in enumerate(instants):
        assert {k.instant for k in instant.keyframes} == {number}
    ids = [k.id for instant in instants for k in instant.keyframes]
    assert ids == list(range(60))


def test_images_that_take_longer_are_waited_for():
    offsets = {'front': 0, 'left': 5, 'right': 10}
    frames = stream(offsets, 20, latencies_ms={'left': 250})
    assert members(run(selector(), frames)) == [CAMERAS] * 20


def test_a_camera_that_stops_costs_its_own_views_only():
    frames = [
        f for f in stream(dict.fromkeys(CAMERAS, 0), 40)
        if f.camera != 'left' or not 10 <= f.stamp_ns // PERIOD_NS < 30
    ]
    instants = run(selector(), frames)
    assert members(instants) == (
        [CAMERAS] * 10 + [('front', 'right')] * 20 + [CAMERAS] * 10)


def test_a_camera_that_is_gone_is_not_waited_for():
    rig = selector(('front', 'left'))
    run(rig, stream({'front': 0, 'left': 0}, 5), release=False)
    counts = [len(run(rig, [frame('front', i * PERIOD_NS)], release=False)) for i in range(5, 40)]
    assert sum(counts[:10]) < 10
    # What waited was made up for.
    assert sum(counts) == 35
    assert counts[16:] == [1] * 19


@pytest.mark.parametrize('ahead', [False, True])
def test_a_wrong_clock_keeps_no_camera_from_being_seen(ahead):
    hour_ms = 3_600_000
    offsets = {'front': hour_ms * (not ahead), 'left': hour_ms * ahead}
    frames = sorted(stream(offsets, 20), key=lambda f: f.stamp_ns % (hour_ms * MS))
    instants = run(selector(('front', 'left')), frames)
    assert sorted(members(instants)) == [('front',)] * 20 + [('left',)] * 20


def test_time_that_goes_back_is_a_new_beginning():
    rig = selector(('front', 'left'))
    both = {'front': 0, 'left': 0}
    later = [frame(f.camera, f.stamp_ns + 10**12) for f in stream(both, 5)]
    run(rig, later, release=False)
    rig.restart()
    assert members(run(rig, stream(both, 5))) == [('front', 'left')] * 5


def test_late_and_repeated_frames_are_ignored():
    rig = selector(('front', 'left'))
    stamps = [0, 0, 50 * MS, 49 * MS, 120 * MS, 70 * MS]
    instants = run(rig, [frame('front', stamp) for stamp in stamps])
    assert stamps_of(instants, 'front') == [0, 50 * MS, 120 * MS]


def test_whoever_sees_something_new_takes_the_others_along():
    random = np.random.default_rng(5)
    wall = np.kron(random.integers(0, 255, (60, 300)), np.ones((8, 8))).astype(np.uint8)
    still = np.repeat(wall[:240, :320, None], 3, axis=2)

    def moving(i):
        part = wall[:240, 6 * i:6 * i + 320, None]
        return np.ascontiguousarray(np.repeat(part, 3, axis=2))

    rig = selector(('front', 'left'), keyframe=KeyframeConfig(max_interval_s=60.0))
    instants = run(rig, [
        f for i in range(40) for f in (
            frame('front', i * PERIOD_NS, still), frame('left', i * PERIOD_NS + MS, moving(i)))
    ])
    assert members(instants) == [('front', 'left')] * len(instants)
    # 6 pixels per frame, and 5 % of 320 pixels make a keyframe.
    assert np.diff(stamps_of(instants, 'left')) == pytest.approx(3 * PERIOD_NS, abs=PERIOD_NS)


def test_a_reset_makes_one_instant_of_all_cameras():
    rig = selector(('front', 'left'), keyframe=KeyframeConfig())
    frames = stream({'front': 0, 'left': 0}, 10)
    assert len(run(rig, frames[:6])) == 1
    rig.restart()
    assert members(run(rig, frames[6:])) == [('front', 'left')]


def test_old_frames_are_let_go():
    rig = selector()
    held = weakref.WeakSet()
    for i in range(300):
        newest = frame(CAMERAS[i % 3], i // 3 * PERIOD_NS)
        held.add(newest)
        rig.select(newest)
    del newest
    assert len(held) <= 2 * len(CAMERAS)


def test_an_unknown_camera_is_a_mistake():
    with pytest.raises(ValueError, match="camera: got 'rear', expected one of"):
        selector().select(frame('rear', 0))


@settings(max_examples=200, deadline=None)
@given(
    arrivals=strategies.lists(
        strategies.tuples(strategies.sampled_from(CAMERAS), strategies.integers(0, 2_000)),
        max_size=40),
    tolerance_s=strategies.sampled_from([0.0, 0.05, 1.0]),
)
def test_whatever_arrives_instants_hold_together(arrivals, tolerance_s):
    rig = selector(tolerance_s=tolerance_s)
    frames = [frame(camera, stamp * MS) for camera, stamp in arrivals]
    instants = run(rig, frames)
    taken = [id(k.frame) for instant in instants for k in instant.keyframes]
    assert len(set(taken)) == len(taken)
    for instant in instants:
        stamps = [k.frame.stamp_ns for k in instant.keyframes]
        # All are near the one that leads.
        assert max(stamps) - min(stamps) <= 2 * tolerance_s * 1e9
        cameras = [k.frame.camera for k in instant.keyframes]
        assert cameras == sorted(set(cameras))
    # The first frame of every camera is never lost, and nothing is held back in the end.
    assert {camera for camera, _ in arrivals} == {
        camera for instant in members(instants) for camera in instant}
    assert rig.release() == ()
