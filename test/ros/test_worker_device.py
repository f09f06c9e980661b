# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The worker over a device that works apart: one window is there while another is sent."""

from da3_ros.ros.insight.counters import Event
from node_harness import eventually
from worker_bench import Device


def test_a_window_goes_out_while_the_device_is_at_the_next(bench_of):
    """Whose end nothing waits for as long as there is something else to do."""
    bench = bench_of(engine=Device())
    bench.outlet.gate.clear()
    stamps = bench.offer(2)
    # While the first window is sent, the keyframes of the second and the third come.
    assert bench.outlet.is_publishing.wait(60.0)
    bench.engine.gate.clear()
    stamps += bench.offer(2, first=2)
    bench.outlet.gate.set()
    assert eventually(lambda: bench.outlet.stamps == stamps[:2])
    assert eventually(lambda: bench.engine.num_begun == 2)
    assert bench.engine.num_ended == 1
    bench.engine.gate.set()
    assert eventually(lambda: bench.outlet.stamps == stamps)


def test_the_last_window_needs_no_keyframe_after_it(bench_of):
    """It is waited for as soon as there is nothing else to do."""
    bench = bench_of(engine=Device())
    stamps = bench.offer(4)
    assert eventually(lambda: bench.outlet.stamps == stamps)


def test_what_a_device_is_at_does_not_come_out_of_a_world_that_has_ended(bench_of):
    """The keyframes count as lost, and the device is free for the next world."""
    bench = bench_of(engine=Device())
    bench.engine.gate.clear()
    bench.offer(2)
    assert eventually(lambda: bench.engine.num_begun == 1)
    bench.worker.discard('enough')
    bench.engine.gate.set()
    stamps = bench.offer(2, first=50)
    assert eventually(lambda: bench.outlet.stamps == stamps)
    assert bench.counters[Event.RESET] == bench.counters[Event.PUBLISHED] == 2


def test_a_worker_ends_after_its_device(bench_of):
    """Whose memory is given back then."""
    bench = bench_of(engine=Device())
    bench.engine.gate.clear()
    bench.offer(2)
    assert eventually(lambda: bench.engine.num_begun == 1)
    assert not bench.worker.stop(0.1)
    bench.engine.gate.set()
    assert bench.worker.stop(60.0)
    assert bench.engine.num_ended == 1
