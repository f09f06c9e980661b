# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A stream that is no longer the one it was begins a session, but a lone wrong frame does not."""

from dataclasses import replace

from da3_ros.mapping.keyframe import Frame
from da3_ros.mapping.session_watch import Admitted, Refusal, SessionWatch
import numpy as np
import pytest

MS = 1_000_000
PERIOD_MS = 33
FIRST = Frame(0, np.zeros((48, 64, 3), np.uint8), np.eye(3), 'camera', encoding='rgb8')
SMALL = np.zeros((24, 32, 3), np.uint8)


def at(stamp_ms, **fields):
    """Give a frame of the stream, or one that differs."""
    return replace(FIRST, stamp_ns=stamp_ms * MS, **fields)


def steady(count, *, first_ms=0):
    """Give frames of a camera that runs."""
    return [at(first_ms + index * PERIOD_MS) for index in range(count)]


def watched(stream, watch=None):
    """Give every verdict, in order."""
    watch = SessionWatch(max_gap_s=5.0) if watch is None else watch
    return [verdict for frame in stream for verdict in watch.observe(frame)]


def stamps_ms(verdicts):
    """Give the stamps of the frames that go on."""
    return [each.frame.stamp_ns // MS for each in verdicts if isinstance(each, Admitted)]


def sessions(verdicts):
    """Tell why sessions began, with the stamp of their first frame."""
    return [(each.frame.stamp_ns // MS, each.new_session) for each in verdicts
            if isinstance(each, Admitted) and each.new_session is not None]


def refusals(verdicts):
    """Give the stamps of the frames that are dropped, and why."""
    return [(each.frame.stamp_ns // MS, each.refusal) for each in verdicts
            if not isinstance(each, Admitted)]


def test_the_first_image_begins():
    """Whatever it is."""
    assert sessions(watched([at(0)])) == [(0, 'the first image')]


def test_a_steady_stream_continues():
    """Also with a gap that is allowed, once a second frame shows that it was one."""
    stream = [*steady(5), *steady(5, first_ms=4000)]
    verdicts = watched(stream)
    assert stamps_ms(verdicts) == [frame.stamp_ns // MS for frame in stream]
    assert len(sessions(verdicts)) == 1


@pytest.mark.parametrize(('change', 'reason'), [
    ({'frame_id': 'other'}, "frame_id changed from 'camera' to 'other'"),
    ({'encoding': 'bgr8'}, "encoding changed from 'rgb8' to 'bgr8'"),
    ({'image': SMALL}, 'width changed from 64 to 32, height changed from 48 to 24'),
    ({'intrinsics': None}, 'is_calibrated changed from True to False'),
])
def test_another_stream_begins_with_its_first_frame(change, reason):
    """When the second one confirms it; the reason says what changed."""
    changed = [at(99, **change), at(132, **change)]
    assert stamps_ms(watched([*steady(3), *changed[:1]])) == [0, 33, 66]
    verdicts = watched([*steady(3), *changed])
    assert stamps_ms(verdicts) == [0, 33, 66, 99, 132]
    assert sessions(verdicts)[1:] == [(99, reason)]


def test_a_gap_begins():
    """Nothing is known about what happened meanwhile."""
    verdicts = watched([*steady(3), at(5200), at(5233)])
    assert sessions(verdicts)[1:] == [(5200, 'no image for 5.1 s')]


def test_time_that_goes_back_begins():
    """A bag that loops loses nothing, whatever its length."""
    verdicts = watched(steady(40) * 3)
    assert stamps_ms(verdicts) == [frame.stamp_ns // MS for frame in steady(40)] * 3
    assert sessions(verdicts)[1:] == [(0, 'time went back by 1.287 s')] * 2


@pytest.mark.parametrize('num_frames', [2, 3, 4])
def test_a_bag_that_is_shorter_than_a_frame_may_be_late_begins_too(num_frames):
    """Its stamps come again in their order; sessions in too quick succession are refused."""
    clock = Clock()
    watch = SessionWatch(max_gap_s=5.0, now_s=clock)
    verdicts = []
    for frame in steady(num_frames) * 5:
        clock.now_s += 1.0
        verdicts += watch.observe(frame)
    # Each but the first with its second frame: the first one is late until that comes.
    assert [stamp for stamp, _ in sessions(verdicts)] == [0, 33, 33, 33, 33]
    assert refusals(verdicts) == [(0, Refusal.LATE)] * 4
    assert len(stamps_ms(verdicts)) == 5 * num_frames - 4


@pytest.mark.parametrize('wrong_ms', [0, 500, 1_006_000, 4_600_000, 10**9])
@pytest.mark.parametrize('num_wrong', [1, 3])
def test_a_wrong_stamp_among_good_ones_ends_no_world(wrong_ms, num_wrong):
    """It is dropped, and nothing else; as often as it happens."""
    good = steady(30, first_ms=1_000_000)
    stream = list(good)
    for number in range(num_wrong):
        stream.insert(8 + 7 * number, at(wrong_ms))
    verdicts = watched(stream)
    assert stamps_ms(verdicts) == [frame.stamp_ns // MS for frame in good]
    assert refusals(verdicts) == [(wrong_ms, Refusal.WRONG_STAMP)] * num_wrong
    assert len(sessions(verdicts)) == 1


def test_wrong_stamps_in_a_row_that_do_not_agree_end_no_world():
    """Zero, an hour ahead, zero."""
    good = steady(20, first_ms=1_000_000)
    stream = [*good[:10], at(0), at(4_600_000), at(0), *good[10:]]
    verdicts = watched(stream)
    assert stamps_ms(verdicts) == [frame.stamp_ns // MS for frame in good]
    assert len(refusals(verdicts)) == 3


def test_a_session_begins_although_its_first_frame_was_not_waited_for():
    """A slow camera after a gap: the first frame is dropped once, and the second confirms it."""
    watch = SessionWatch(max_gap_s=5.0)
    watched([*steady(5), at(20_000)], watch)
    assert refusals(watch.expire()) == [(20_000, Refusal.WRONG_STAMP)]
    assert watch.expire() == ()
    verdicts = watch.observe(at(21_000))
    assert [stamp for stamp, _ in sessions(verdicts)] == stamps_ms(verdicts) == [21_000]
    assert not refusals(verdicts)


def test_a_stream_goes_on_after_a_pause_whose_end_was_not_waited_for():
    """Shorter than a gap: no session, and no frame twice."""
    watch = SessionWatch(max_gap_s=5.0)
    watched([*steady(5), at(3000)], watch)
    assert refusals(watch.expire()) == [(3000, Refusal.WRONG_STAMP)]
    verdicts = watch.observe(at(4000))
    assert (stamps_ms(verdicts), sessions(verdicts)) == ([4000], [])


def test_what_waits_in_the_end_is_given_back():
    """And the next frame is a first one."""
    watch = SessionWatch(max_gap_s=5.0)
    watched([*steady(5), at(10**6)], watch)
    assert refusals(watch.end()) == [(10**6, Refusal.WRONG_STAMP)]
    assert sessions(watch.observe(at(5))) == [(5, 'the first image')]


def test_a_clock_that_jumps_for_all_cameras_is_seen_at_once():
    """Two cameras confirm each other; it is one session for all, and nothing is lost."""
    def all_three(first_ms):
        return [replace(frame, camera=camera) for frame in steady(4, first_ms=first_ms)
                for camera in ('front', 'left', 'right')]

    stream = [*all_three(10**6), *all_three(5000)]
    verdicts = watched(stream)
    assert [id(each.frame) for each in verdicts] == [id(frame) for frame in stream]
    assert [stamp for stamp, _ in sessions(verdicts)] == [10**6, 5000]
    assert sessions(verdicts)[1][1].startswith('camera front: time went back by ')


def test_stamps_that_are_equal_or_a_little_late_are_dropped():
    """They neither begin a session nor move the newest stamp."""
    assert refusals(watched([at(0), at(100), at(100)])) == [(100, Refusal.DUPLICATE)]
    assert refusals(watched([at(0), at(100), at(50)])) == [(50, Refusal.LATE)]
    assert refusals(watched([at(0), at(100), at(50), at(75)])) == [
        (50, Refusal.LATE), (75, Refusal.LATE)]
    # Sent twice, once late.
    verdicts = watched([at(0), at(33), at(0), at(66), at(33), at(99)])
    assert refusals(verdicts) == [(0, Refusal.LATE), (33, Refusal.LATE)]


class Clock:
    """Real time, as a test likes it."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.now_s = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now_s


def alternate(second, *, period_s, offset_ns=0, num_images=300):
    """Let two cameras publish in turns; give the verdicts about each."""
    clock = Clock()
    watch = SessionWatch(max_gap_s=10.0, now_s=clock)
    verdicts = ([], [])
    for index in range(num_images):
        clock.now_s += period_s
        stamp_ns = round(clock.now_s * 1e9) + 10**15
        frame = replace(second, stamp_ns=stamp_ns - offset_ns) if index % 2 else replace(
            FIRST, stamp_ns=stamp_ns)
        for verdict in watch.observe(frame):
            verdicts[verdict.frame.encoding == 'second'].append(verdict)
    return verdicts


TWO_CAMERAS = {
    'other frame': {'second': at(0, frame_id='rear', encoding='second')},
    'other size': {'second': at(0, image=SMALL, encoding='second')},
}


@pytest.mark.parametrize('period_s', [0.003, 0.033, 0.1, 0.3])
@pytest.mark.parametrize('case', TWO_CAMERAS)
def test_two_cameras_on_one_topic_make_no_storm_of_sessions(case, period_s):
    """One is kept and the other refused, as long as both send."""
    first, second = alternate(period_s=period_s, **TWO_CAMERAS[case])
    assert len(sessions(first)) == 1
    assert len(stamps_ms(first)) == 150
    assert {refusal for _, refusal in refusals(second)} == {Refusal.FOREIGN}
    assert len(refusals(second)) >= 149


@pytest.mark.parametrize('offset_ms', [3000, 10**6])
def test_two_clocks_on_one_topic_make_no_storm_of_sessions(offset_ms):
    """Every frame of the second one is a lone wrong stamp."""
    clock = Clock()
    watch = SessionWatch(max_gap_s=10.0, now_s=clock)
    verdicts = []
    for index in range(300):
        clock.now_s += 0.033
        verdicts += watch.observe(at(10**9 + 33 * index - index % 2 * offset_ms))
    assert len(sessions(verdicts)) == 1
    assert len(stamps_ms(verdicts)) == 150


def test_two_cameras_whose_images_come_in_pairs_make_no_storm_of_sessions():
    """Images of each confirm each other: after three sessions in a row one camera is kept."""
    clock = Clock()
    watch = SessionWatch(max_gap_s=10.0, now_s=clock)
    verdicts = []
    for index in range(300):
        clock.now_s += 0.033
        is_second = index // 2 % 2
        verdicts += watch.observe(at(33 * index, frame_id='rear' if is_second else 'camera'))
    assert len(sessions(verdicts)) <= 1 + 3
    assert Refusal.FOREIGN in {refusal for _, refusal in refusals(verdicts)}


def test_frames_that_are_always_another_make_no_storm_of_sessions():
    """A driver that numbers its frames: nothing agrees with anything, and all is refused."""
    verdicts = watched([at(33 * index, frame_id=f'camera_{index}') for index in range(300)])
    assert len(sessions(verdicts)) == 1
    assert len(refusals(verdicts)) == 298


def test_the_second_camera_takes_over_when_the_first_falls_silent():
    """With its second frame."""
    clock = Clock()
    watch = SessionWatch(max_gap_s=10.0, now_s=clock)
    stream = [at(33 * index, frame_id='rear' if index % 2 else 'camera') for index in range(20)]
    stream += [at(660 + 33 * index, frame_id='rear') for index in range(20)]
    verdicts = watched(stream, watch)
    assert len(sessions(verdicts)) == 2
    assert sessions(verdicts)[1][0] == 627
    assert stamps_ms(verdicts)[-20:] == [660 + 33 * index for index in range(20)]
