# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The worker ends when it can, and is of use as long as it cannot."""

from node_harness import eventually
import pytest
from worker_bench import Bench


@pytest.fixture
def bench():
    """Give a worker that ends with the test."""
    bench = Bench()
    yield bench
    bench.engine.gate.set()
    assert bench.worker.stop(5.0)


def test_stop_says_when_it_could_not(bench):
    """It waits as long as it was told to, and succeeds later."""
    bench.engine.gate.clear()
    bench.offer(2)
    assert bench.engine.is_inferring.wait(5.0)
    assert not bench.worker.stop(0.1)
    bench.engine.gate.set()
    assert bench.worker.stop(5.0)
    assert bench.outlet.stamps == []


def test_a_worker_that_could_not_stop_works_on(bench):
    """What is offered after that comes out when the inference has ended, what was before not."""
    bench.engine.gate.clear()
    bench.offer(4)
    assert bench.engine.is_inferring.wait(5.0)
    assert not bench.worker.stop(0.1)
    stamps = bench.offer(2, first=50)
    bench.engine.gate.set()
    assert eventually(lambda: bench.outlet.stamps == stamps, 5.0)
