# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Live frames in the worker: the newest wins, windows go first, and nothing starves."""

from dataclasses import replace

from da3_ros.mapping.config import FramesConfig, LoopConfig
from da3_ros.mapping.keyframe import Keyframe
from da3_ros.ros.insight.counters import Event
from node_harness import eventually
from perfect_engine import frames
from worker_bench import CONFIG

LIVE = replace(CONFIG, frames=FramesConfig('all'))


def offer_live(bench, index):
    """Offer a frame of the truth as a live frame, and return its stamp."""
    (frame,) = frames(1, first=index)
    bench.worker.offer_live(Keyframe(-index, frame))
    return frame.stamp_ns


def test_a_live_frame_comes_out_when_a_window_has(bench_of):
    """It is counted by itself; one that comes before any window cannot be placed."""
    bench = bench_of(config=LIVE)
    offer_live(bench, 1)
    assert eventually(lambda: bench.counters[Event.LIVE_UNPLACED] == 1)
    stamps = bench.offer(2)
    assert eventually(lambda: bench.outlet.stamps == stamps)
    stamps.append(offer_live(bench, 3))
    assert eventually(lambda: bench.outlet.stamps == stamps)
    assert bench.counters[Event.LIVE_PUBLISHED] == 1
    assert bench.counters[Event.PUBLISHED] == 2


def test_the_newest_live_frame_wins_after_the_keyframes(bench_of):
    """Those that it takes the place of are counted; no queue of them builds up."""
    bench = bench_of(config=LIVE)
    bench.engine.gate.clear()
    stamps = bench.offer(2)
    assert bench.engine.is_inferring.wait(60.0)
    live = [offer_live(bench, index) for index in range(3, 8)]
    stamps += bench.offer(2, first=10)
    bench.engine.gate.set()
    assert eventually(lambda: bench.outlet.stamps == [*stamps, live[-1]])
    assert bench.counters[Event.LIVE_SKIPPED] == 4


def test_a_keyframe_waits_for_one_live_frame_at_most(bench_of):
    """The one under way: the bound of the right of way."""
    bench = bench_of(config=LIVE)
    stamps = bench.offer(2)
    assert eventually(lambda: bench.outlet.stamps == stamps)
    bench.engine.gate.clear()
    stamps.append(offer_live(bench, 3))
    assert bench.engine.is_inferring.wait(60.0)
    offer_live(bench, 4)
    stamps += bench.offer(2, first=5)
    last = offer_live(bench, 8)
    bench.engine.gate.set()
    assert eventually(lambda: bench.outlet.stamps == [*stamps, last])


def test_what_waits_is_flushed_although_there_is_always_a_live_frame(bench_of):
    """And loops are looked for: neither waits for a pause that never comes."""
    config = replace(LIVE, loop=LoopConfig(enabled=True))
    bench = bench_of(config=config, max_age_s=0.2)
    looked = []
    close_loops = bench.worker._pipeline.close_loops
    bench.worker._pipeline.close_loops = lambda: (looked.append(0), close_loops())[1]
    stamps = bench.offer(3)

    def live_goes_on():
        offer_live(bench, 4)
        return set(stamps) <= set(bench.outlet.stamps)

    assert eventually(live_goes_on)
    looked.clear()

    def loops_are_looked_for():
        offer_live(bench, 5)
        return bool(looked)

    assert eventually(loops_are_looked_for)


def test_a_live_frame_of_a_session_that_has_ended_does_not_come_out(bench_of):
    """Neither after a reset nor after a new session, whose world it does not belong to."""
    bench = bench_of(config=LIVE)
    bench.engine.gate.clear()
    stamps = bench.offer(2)
    assert bench.engine.is_inferring.wait(60.0)
    offer_live(bench, 3)
    stamps += bench.offer(2, first=10, new_session='a gap')
    bench.engine.gate.set()
    assert eventually(lambda: bench.outlet.stamps == stamps)
    assert bench.counters[Event.LIVE_SKIPPED] == 1
    bench.engine.gate.clear()
    offer_live(bench, 13)
    assert bench.engine.is_inferring.wait(60.0)
    offer_live(bench, 14)
    bench.worker.discard('enough')
    bench.engine.gate.set()
    assert eventually(lambda: bench.counters[Event.LIVE_SKIPPED] == 3)
    assert bench.outlet.stamps == stamps


def test_a_live_frame_that_fails_costs_only_itself(bench_of):
    """Whether it cannot be inferred or its messages cannot be made."""
    bench = bench_of(config=LIVE)
    stamps = bench.offer(2)
    assert eventually(lambda: bench.outlet.stamps == stamps)
    bench.engine.fails = True
    offer_live(bench, 3)
    assert eventually(lambda: bench.counters[Event.LIVE_FAILED] == 1)
    assert bench.counters[Event.EXCEPTIONS] == 1
    bench.engine.fails = False
    (refused,) = frames(1, first=4)
    bench.outlet.refuses = (refused.stamp_ns,)
    offer_live(bench, 4)
    assert eventually(lambda: bench.counters[Event.LIVE_FAILED] == 2)
    stamps.append(offer_live(bench, 5))
    assert eventually(lambda: bench.outlet.stamps == stamps)


def test_a_live_frame_is_told_what_the_robot_says(bench_of):
    """As keyframes are: without it some modes of TF have no pose."""
    asked = []

    def complete(instant, timeout_s):
        asked.append((instant.keyframes[0].id, timeout_s))
        return instant

    bench = bench_of(config=LIVE, complete=complete)
    bench.offer(2)
    offer_live(bench, 3)
    assert eventually(lambda: bench.counters[Event.LIVE_PUBLISHED] == 1)
    assert asked == [(0, 0.2), (1, 0.2), (-3, 0.2)]
