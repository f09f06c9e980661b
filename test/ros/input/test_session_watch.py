# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A stream that is no longer the one it was begins a session."""

from dataclasses import replace

from da3_ros.ros.input.session_watch import Arrival, Observation, SessionWatch, StreamSignature
import pytest

STREAM = StreamSignature('camera', 'rgb8', 640, 480, True)
MS = 1_000_000


def observe(*arrivals):
    """Watch images, given as stamps or as stamps with signatures; return the last verdict."""
    watch = SessionWatch(max_gap_s=5.0)
    for arrival in arrivals:
        signature, stamp_ns = arrival if isinstance(arrival, tuple) else (STREAM, arrival)
        observation = watch.observe(signature, stamp_ns)
    return observation


def test_the_first_image_begins():
    """Whatever it is."""
    assert observe(0) == Observation(Arrival.BEGINS, 'the first image')


def test_a_steady_stream_continues():
    """Also with a gap that is allowed."""
    assert observe(0, 33 * MS).arrival is Arrival.CONTINUES
    assert observe(0, 5000 * MS).arrival is Arrival.CONTINUES


@pytest.mark.parametrize(('change', 'reason'), [
    ({'frame_id': 'other'}, "frame_id changed from 'camera' to 'other'"),
    ({'encoding': 'bgr8'}, "encoding changed from 'rgb8' to 'bgr8'"),
    ({'width': 320, 'height': 240}, 'width changed from 640 to 320, height changed from 480'),
    ({'is_calibrated': False}, 'is_calibrated changed from True to False'),
])
def test_another_stream_begins(change, reason):
    """The reason says what changed."""
    observation = observe(0, (replace(STREAM, **change), 33 * MS))
    assert observation.arrival is Arrival.BEGINS
    assert reason in observation.reason


def test_a_gap_begins():
    """Nothing is known about what happened meanwhile."""
    assert observe(0, 5100 * MS) == Observation(Arrival.BEGINS, 'no image for 5.1 s')


def test_time_that_goes_back_begins():
    """A bag that loops."""
    assert observe(10_000 * MS, 9_000 * MS) == Observation(
        Arrival.BEGINS, 'time went back by 1.000 s')
    assert observe(10_000 * MS, 9_000 * MS, 9_033 * MS).arrival is Arrival.CONTINUES


def test_stamps_that_are_equal_or_a_little_late_are_dropped():
    """They neither begin a session nor move the newest stamp."""
    assert observe(0, 100 * MS, 100 * MS).arrival is Arrival.DUPLICATE
    assert observe(0, 100 * MS, 50 * MS).arrival is Arrival.LATE
    assert observe(0, 100 * MS, 50 * MS, 75 * MS).arrival is Arrival.LATE


class Clock:
    """Real time, as a test likes it."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.now_s = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now_s


def watch_two_cameras(clock, watch, num_images, *, second, period_s=0.033, offset_ns=0):
    """Let two cameras publish in turns; give the verdicts about each."""
    verdicts = ([], [])
    for index in range(num_images):
        clock.now_s += period_s
        stamp_ns = round(clock.now_s * 1e9) + 10**12
        is_second = index % 2
        signature, late_ns = (second, offset_ns) if is_second else (STREAM, 0)
        verdicts[is_second].append(watch.observe(signature, stamp_ns - late_ns).arrival)
    return verdicts


TWO_CAMERAS = {
    'other frame': {'second': replace(STREAM, frame_id='rear')},
    'other size': {'second': replace(STREAM, width=320, height=240)},
    'same camera, other clock': {'second': STREAM, 'offset_ns': 3000 * MS},
    'same camera, far other clock': {'second': STREAM, 'offset_ns': 10**6 * MS},
}


@pytest.mark.parametrize('period_s', [0.003, 0.033, 0.1, 0.3])
@pytest.mark.parametrize('case', TWO_CAMERAS)
def test_two_cameras_on_one_topic_make_no_storm_of_sessions(case, period_s):
    """After three sessions one camera is kept and the other refused, as long as both send."""
    clock = Clock()
    watch = SessionWatch(max_gap_s=10.0, now_s=clock)
    verdicts = watch_two_cameras(clock, watch, 300, period_s=period_s, **TWO_CAMERAS[case])
    assert sum(camera.count(Arrival.BEGINS) for camera in verdicts) == 3
    assert {frozenset(camera[2:]) for camera in verdicts} == {
        frozenset({Arrival.CONTINUES}), frozenset({Arrival.FOREIGN})}


def test_frames_that_are_always_another_make_no_storm_of_sessions():
    """A driver that numbers its frames gets one session per second, not one per image."""
    clock = Clock()
    watch = SessionWatch(max_gap_s=10.0, now_s=clock)
    num_begun = 0
    for index in range(300):
        clock.now_s += 0.033
        signature = replace(STREAM, frame_id=f'camera_{index}')
        num_begun += watch.observe(signature, index * 33 * MS).arrival is Arrival.BEGINS
    assert num_begun <= 3 + 300 * 0.033


def test_the_second_camera_takes_over_when_the_first_falls_silent():
    """Within a second."""
    clock = Clock()
    watch = SessionWatch(max_gap_s=10.0, now_s=clock)
    second = replace(STREAM, frame_id='rear')
    verdicts = watch_two_cameras(clock, watch, 30, second=second)
    refused = STREAM if Arrival.FOREIGN in verdicts[0] else second
    arrivals = []
    for index in range(60):
        clock.now_s += 0.033
        arrivals.append(watch.observe(refused, 2 * 10**12 + index * 33 * MS).arrival)
    assert arrivals.index(Arrival.BEGINS) <= 31
    assert set(arrivals[arrivals.index(Arrival.BEGINS) + 1:]) == {Arrival.CONTINUES}


def test_a_short_bag_that_loops_fast_begins_each_time():
    """One second per round is no storm."""
    clock = Clock()
    watch = SessionWatch(max_gap_s=10.0, now_s=clock)
    arrivals = []
    for index in range(300):
        clock.now_s += 0.033
        arrivals.append(watch.observe(STREAM, index % 30 * 33 * MS).arrival)
    assert arrivals.count(Arrival.BEGINS) == 10
    assert arrivals.count(Arrival.CONTINUES) == 290
