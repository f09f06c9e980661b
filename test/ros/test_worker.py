# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The worker: bounded, prompt, and alive whatever happens; with the real pipeline."""

from dataclasses import replace
import threading
import time

from da3_ros.mapping.config import KeyframeConfig, LoopConfig, PipelineConfig, WindowConfig
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.ros.insight.counters import Counters, Event
from da3_ros.ros.worker import InferenceWorker
from node_harness import eventually
from perfect_engine import frames, level_camera, PerfectEngine, Room
import pytest

CONFIG = PipelineConfig(
    KeyframeConfig(mode='time', min_interval_s=0.0), WindowConfig(size=4, stride=2, min_views=2))
POSES = [level_camera([0.02 * index, 0.0, 0.0], 0.0) for index in range(200)]


class GatedEngine:
    """A perfect engine that waits for permission, and fails when told so."""

    def __init__(self) -> None:
        """Let everything pass."""
        self.gate = threading.Event()
        self.gate.set()
        self.is_inferring = threading.Event()
        self.fails = False
        self.closes_behind = False
        self._engine = PerfectEngine(POSES)

    def infer(self, images, *, poses=None, intrinsics=None):
        """Infer one window when the gate is open."""
        self.is_inferring.set()
        self.gate.wait(10.0)
        if self.closes_behind:
            self.gate.clear()
        self.is_inferring.clear()
        if self.fails:
            raise RuntimeError('told to fail')
        return self._engine.infer(images, poses=poses, intrinsics=intrinsics)


class Collector:
    """An outlet that remembers."""

    def __init__(self) -> None:
        """Start empty."""
        self.stamps = []
        self.loops = []
        self.num_sessions = 0

    def begin_session(self):
        """Count."""
        self.num_sessions += 1

    def note_update(self, update):
        """Ignore."""

    def prepare(self, keyframe):
        """Keep the keyframe."""
        return keyframe

    def publish(self, messages):
        """Remember its stamp."""
        self.stamps.append(messages.stamp_ns)

    def publish_loop(self, loop):
        """Remember how many keyframes were out by then."""
        del loop
        self.loops.append(len(self.stamps))


class Bench:
    """A worker with everything around it."""

    def __init__(self, *, queue_size=100, max_age_s=60.0, config=CONFIG) -> None:
        """Start it."""
        self.engine = GatedEngine()
        self.outlet = Collector()
        self.counters = Counters()
        self.pipeline = DepthPipeline(self.engine, config)
        self.worker = InferenceWorker(
            self.pipeline, self.outlet, self.counters, queue_size=queue_size,
            max_age_s=max_age_s)

    def offer(self, count, *, first=0, new_session=None):
        """Offer frames and return their stamps."""
        stamps = []
        for frame in frames(count, first=first):
            self.worker.offer(self.pipeline.select(frame), new_session=new_session)
            new_session = None
            stamps.append(frame.stamp_ns)
        return stamps


@pytest.fixture
def bench_of():
    """Give benches whose workers end with the test."""
    benches = []

    def create(**options):
        benches.append(Bench(**options))
        return benches[-1]

    yield create
    for bench in benches:
        bench.engine.gate.set()
        assert bench.worker.stop(5.0)


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
    assert eventually(lambda: bench.outlet.num_sessions == 1, 5.0)
    bench.engine.fails = False
    bench.offer(1, first=11)
    assert eventually(lambda: bench.counters[Event.PUBLISHED] == 4, 5.0)


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
    for frame in returning(22):
        bench.worker.offer(bench.pipeline.select(frame))
    assert eventually(lambda: len(bench.outlet.stamps) == 22, 5.0)
    assert not bench.outlet.loops
    return bench


def test_a_loop_is_closed_when_nothing_new_waits(looping):
    """While keyframes wait they go first."""
    looping.engine.gate.clear()
    for frame in returning(10, first=22):
        looping.worker.offer(looping.pipeline.select(frame))
    assert looping.engine.is_inferring.wait(5.0)
    looping.engine.gate.set()
    assert eventually(lambda: looping.outlet.loops, 5.0)
    assert looping.outlet.loops == [32]
    assert looping.counters[Event.LOOPS] == 1


def test_a_loop_of_an_earlier_session_does_not_come_out(looping):
    """Reset during its joint window."""
    looping.engine.gate.clear()
    for frame in returning(2, first=22):
        looping.worker.offer(looping.pipeline.select(frame))
    assert looping.engine.is_inferring.wait(5.0)
    looping.engine.closes_behind = True
    looping.engine.gate.set()
    assert eventually(lambda: len(looping.outlet.stamps) == 24, 5.0)
    assert looping.engine.is_inferring.wait(5.0)
    looping.worker.discard('test')
    looping.engine.gate.set()
    assert eventually(lambda: looping.outlet.num_sessions == 1, 5.0)
    assert not looping.outlet.loops
