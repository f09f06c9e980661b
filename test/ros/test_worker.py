# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The worker: bounded, prompt, and alive whatever happens; with the real pipeline."""

from dataclasses import replace
import threading
import time

from da3_ros.mapping.config import LoopConfig, WindowConfig
from da3_ros.ros.insight.counters import Event
from node_harness import eventually
from perfect_engine import frames, level_camera, Room
import pytest
from worker_bench import CONFIG


def test_every_keyframe_comes_out_once_and_in_order(bench_of):
    """Windows of four, flushed at the end."""
    bench = bench_of()
    stamps = bench.offer(21)
    bench.worker.request_flush()
    assert eventually(lambda: len(bench.outlet.stamps) == 21, 5.0)
    assert bench.outlet.stamps == stamps
    assert bench.counters[Event.PUBLISHED] == 21


def test_what_waits_too_long_is_flushed(bench_of):
    """A camera that stops: its last frames come out without a full window."""
    bench = bench_of(max_age_s=0.1)
    stamps = bench.offer(1)
    assert eventually(lambda: bench.outlet.stamps == stamps, 5.0)


def test_full_queue_drops_the_oldest(bench_of):
    """The newest come out; the dropped ones are counted."""
    bench = bench_of(queue_size=3)
    bench.engine.gate.clear()
    first = bench.offer(2)
    assert bench.engine.is_inferring.wait(5.0)
    rest = bench.offer(10, first=2)
    assert bench.worker.num_queued == 3
    assert bench.counters[Event.QUEUE_FULL] == 7
    bench.engine.gate.set()
    bench.worker.request_flush()
    assert eventually(lambda: bench.outlet.stamps == first + rest[-3:], 5.0)


def test_a_session_survives_the_drop_of_its_first_keyframe(bench_of):
    """The world begins anew although the keyframe that said so was dropped."""
    bench = bench_of(queue_size=2)
    bench.engine.gate.clear()
    bench.offer(2)
    assert bench.engine.is_inferring.wait(5.0)
    bench.offer(5, first=10, new_session='a gap')
    bench.engine.gate.set()
    bench.worker.request_flush()
    assert eventually(lambda: len(bench.outlet.stamps) == 4, 5.0)
    assert bench.outlet.num_sessions == 1


def test_a_new_session_lets_the_old_one_out_first(bench_of):
    """What waited for its window is not lost."""
    bench = bench_of()
    stamps = bench.offer(3) + bench.offer(2, first=10, new_session='a gap')
    assert eventually(lambda: bench.outlet.stamps == stamps, 5.0)
    assert bench.outlet.num_sessions == 1


def test_discard_is_prompt_and_final(bench_of):
    """It does not wait for the inference, whose result is thrown away."""
    bench = bench_of()
    bench.engine.gate.clear()
    bench.offer(9)
    assert bench.engine.is_inferring.wait(5.0)
    started = time.monotonic()
    bench.worker.discard('enough')
    assert time.monotonic() - started < 0.2
    bench.engine.gate.set()
    stamps = bench.offer(2, first=50)
    assert eventually(lambda: bench.outlet.stamps == stamps, 5.0)
    assert bench.counters[Event.RESET] == 9
    assert bench.counters[Event.PUBLISHED] == 2


def test_discard_waits_for_the_keyframe_that_is_being_sent(bench_of):
    """It comes out whole, before the world ends; nothing comes after that."""
    bench = bench_of()
    bench.outlet.gate.clear()
    stamps = bench.offer(2)
    assert bench.outlet.is_publishing.wait(5.0)
    thread = threading.Thread(target=bench.worker.discard, args=['enough'])
    thread.start()
    thread.join(0.2)
    assert thread.is_alive() and bench.outlet.num_sessions == 0
    bench.outlet.gate.set()
    thread.join(5.0)
    assert bench.outlet.num_sessions == 1
    num_out = len(bench.outlet.stamps)
    time.sleep(0.2)
    assert bench.outlet.stamps == stamps[:num_out]
    assert bench.counters[Event.PUBLISHED] + bench.counters[Event.RESET] == 2


@pytest.mark.parametrize('is_asking', [True, False])
def test_discard_waits_for_nothing_that_takes_its_time(bench_of, monkeypatch, is_asking):
    """Neither for transforms that the robot is asked for, nor for messages that are made."""
    gate, is_waiting = threading.Event(), threading.Event()

    def wait(first, *_rest):
        is_waiting.set()
        gate.wait(10.0)
        return first

    bench = bench_of(complete=wait if is_asking else None)
    if not is_asking:
        monkeypatch.setattr(bench.outlet, 'prepare', wait)
    bench.offer(2)
    assert is_waiting.wait(5.0)
    thread = threading.Thread(target=bench.worker.discard, args=['enough'])
    thread.start()
    thread.join(5.0)
    assert not thread.is_alive() and bench.outlet.num_sessions == 1
    gate.set()
    assert eventually(lambda: bench.counters[Event.RESET] == 2, 5.0)
    assert bench.outlet.stamps == []


def test_no_window_is_told_of_in_a_world_that_has_ended(bench_of):
    """An inference that ends after the discard says nothing of the new world."""
    bench = bench_of()
    bench.engine.gate.clear()
    bench.offer(2)
    assert bench.engine.is_inferring.wait(5.0)
    bench.worker.discard('enough')
    bench.engine.gate.set()
    assert eventually(lambda: bench.counters[Event.RESET] == 2, 5.0)
    assert bench.outlet.reports == []


def test_a_window_that_fails_costs_only_itself(bench_of):
    """The thread lives on, and every keyframe is accounted for."""
    bench = bench_of()
    bench.engine.fails = True
    bench.offer(2)
    assert eventually(lambda: bench.counters[Event.EXCEPTIONS] == 1, 5.0)
    bench.engine.fails = False
    stamps = bench.offer(4, first=10)
    assert eventually(lambda: bench.outlet.stamps == stamps, 5.0)
    assert bench.counters[Event.INFERENCE_FAILED] == 2


def test_a_new_session_begins_although_the_old_one_ends_with_a_fault(bench_of):
    """The window of what waited fails; the first keyframe of the new session is not lost."""
    bench = bench_of()
    stamps = bench.offer(3)
    assert eventually(lambda: bench.outlet.stamps == stamps[:2], 5.0)
    bench.engine.fails = True
    bench.offer(1, first=10, new_session='a gap')
    assert eventually(lambda: bench.counters[Event.INFERENCE_FAILED] == 1, 5.0)
    bench.engine.fails = False
    bench.offer(1, first=11)
    assert eventually(lambda: bench.counters[Event.PUBLISHED] == 4, 5.0)
    assert bench.outlet.num_sessions == 1


def test_a_fault_in_one_keyframe_costs_that_one_only(bench_of):
    """The rest of its window comes out, and it is counted itself."""
    bench = bench_of()
    stamps = [frame.stamp_ns for frame in frames(6)]
    bench.outlet.refuses = stamps[2:3]
    bench.offer(6)
    assert eventually(lambda: bench.outlet.stamps == stamps[:2] + stamps[3:], 5.0)
    assert bench.counters[Event.UNPUBLISHED] == bench.counters[Event.EXCEPTIONS] == 1
    assert bench.counters[Event.PUBLISHED] == 5


def test_every_window_of_an_update_is_told_of(bench_of):
    """Also those that a flush runs one after the other."""
    bench = bench_of(config=replace(CONFIG, window=WindowConfig(size=4, stride=2, min_views=4)))
    bench.offer(3)
    bench.worker.request_flush()
    assert eventually(lambda: len(bench.outlet.stamps) == 3, 5.0)
    bench.offer(1, first=3)
    bench.offer(4, first=10, new_session='a gap')
    assert eventually(lambda: len(bench.outlet.stamps) == 8, 5.0)
    assert len(bench.outlet.reports) == bench.counters[Event.WINDOWS] == 3
    assert bench.outlet.num_sessions == 1


def test_no_keyframe_waits_longer_than_the_maximal_age(bench_of):
    """The oldest tells when a window runs, however young those are that came after it."""
    gate = threading.Event()

    def wait(instant, _timeout_s):
        gate.wait(10.0)
        return instant

    bench = bench_of(max_age_s=60.0, complete=wait, config=replace(
        CONFIG, window=WindowConfig(size=9, stride=8, min_views=9)))
    now_s = time.monotonic()
    # The first has waited as long as it may; the others have all of their time before them.
    stamps = [
        stamp for index, selected_s in enumerate((now_s - 60.0, now_s + 1e6, now_s + 1e6))
        for stamp in bench.offer(1, first=index, selected_s=selected_s)]
    gate.set()
    assert eventually(lambda: bench.outlet.stamps == stamps, 10.0)
    bench.offer(2, first=3, selected_s=now_s + 1e6)
    time.sleep(0.2)
    assert bench.outlet.stamps == stamps


def test_a_fault_while_the_robot_is_asked_loses_nothing(bench_of):
    """Keyframes go on without what it says."""
    def fail(_instant, _timeout_s):
        raise TypeError('told to fail')

    bench = bench_of(complete=fail)
    stamps = bench.offer(2)
    assert eventually(lambda: bench.outlet.stamps == stamps, 5.0)
    assert bench.counters[Event.EXCEPTIONS] == 2


def test_a_job_keeps_the_settings_that_it_began_with(bench_of):
    """And the next one takes the newest: nothing is frozen when the worker is made."""
    seen = []

    def ask(instant, timeout_s):
        seen.append(timeout_s)
        return instant

    bench = bench_of(complete=ask)
    bench.offer(1)
    assert eventually(lambda: len(seen) == 1, 5.0)
    bench.settings = replace(bench.settings, tf=replace(bench.settings.tf, timeout_s=3.0))
    bench.offer(1, first=1)
    assert eventually(lambda: seen == [0.2, 3.0], 5.0)


def test_the_time_of_a_job_is_seen_meanwhile(bench_of):
    """An inference that does not end is noticed from other threads."""
    bench = bench_of()
    assert bench.worker.busy_s == 0.0
    bench.engine.gate.clear()
    bench.offer(2)
    assert bench.engine.is_inferring.wait(5.0)
    time.sleep(0.1)
    assert 0.1 <= bench.worker.busy_s < 10.0
    bench.engine.gate.set()
    assert eventually(lambda: bench.worker.busy_s == 0.0, 5.0)


def test_resets_from_another_thread_do_not_race(bench_of):
    """After many of them in mid-stream, all is accounted for and the thread works."""
    bench = bench_of()
    stop = threading.Event()

    def reset_all_the_time():
        while not stop.is_set():
            bench.worker.discard('again')
            time.sleep(0.002)

    thread = threading.Thread(target=reset_all_the_time)
    thread.start()
    for first in range(0, 150, 5):
        bench.offer(5, first=first)
        time.sleep(0.005)
    stop.set()
    thread.join()
    # On a busy machine the thread may not have come to it after the last ones.
    bench.worker.discard('the last time')
    num_before = len(bench.outlet.stamps)
    stamps = bench.offer(2, first=160)
    assert eventually(lambda: bench.outlet.stamps[num_before:][-2:] == stamps, 5.0)
    assert len(set(bench.outlet.stamps)) == len(bench.outlet.stamps)
    assert eventually(lambda: bench.counters[Event.PUBLISHED] + bench.counters[Event.RESET] == 152)
    assert bench.counters[Event.EXCEPTIONS] == 0


def returning(count, first=0):
    """Give frames of a camera that looks back and forth, twice."""
    headings = [0.1 * min(index % 22, 22 - index % 22) for index in range(44)]
    pictures = [Room().image(level_camera([0.0, 0.0, 0.0], heading)) for heading in headings]
    return frames(count, first=first, pictures=pictures)


@pytest.fixture
def looping(bench_of):
    """Give a bench that looks for loops and has seen enough to find one at any time."""
    bench = bench_of(config=replace(CONFIG, loop=LoopConfig(enabled=True, min_gap=20)))
    bench.take(returning(22))
    assert eventually(lambda: len(bench.outlet.stamps) == 22, 5.0)
    assert not bench.outlet.loops
    return bench


def test_a_loop_is_closed_when_nothing_new_waits(looping):
    """While keyframes wait they go first."""
    looping.engine.gate.clear()
    looping.take(returning(10, first=22))
    assert looping.engine.is_inferring.wait(5.0)
    looping.engine.gate.set()
    assert eventually(lambda: looping.outlet.loops, 5.0)
    assert looping.outlet.loops == [32]
    assert looping.counters[Event.LOOPS] == 1


def test_a_loop_of_an_earlier_session_does_not_come_out(looping):
    """Reset during its joint window."""
    looping.engine.gate.clear()
    looping.take(returning(2, first=22))
    assert looping.engine.is_inferring.wait(5.0)
    looping.engine.closes_behind = True
    looping.engine.gate.set()
    assert eventually(lambda: len(looping.outlet.stamps) == 24, 5.0)
    assert looping.engine.is_inferring.wait(5.0)
    looping.worker.discard('test')
    looping.engine.gate.set()
    assert eventually(lambda: looping.outlet.num_sessions == 1, 5.0)
    assert not looping.outlet.loops
