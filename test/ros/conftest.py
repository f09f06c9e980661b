# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Fixtures of tests that run the node in a process of its own."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from node_harness import ENGINE_NODE, NodeProcess, Peer
import pytest
from ros_domain import reserved_domain
from worker_bench import Bench

TIME_MODE = {
    'keyframe.mode': 'time', 'keyframe.min_interval_s': 0.0, 'window.size': 6, 'window.stride': 2,
    'window.max_age_s': 0.3, 'camera.info_wait_s': 0.2,
    # On a busy machine best effort loses images, which the tests count.
    'qos_overrides./image.subscription.reliability': 'reliable',
    'qos_overrides./camera_info.subscription.reliability': 'reliable',
}
"""Every frame a keyframe, in small windows; none lost on the way."""


@pytest.fixture(scope='module')
def domain_id() -> Iterator[int]:
    """Give each file a DDS domain of its own: what one leaves behind does not disturb the next."""
    with reserved_domain() as number:
        yield number


@pytest.fixture
def start_node(domain_id: int, tmp_path: Path) -> Iterator[Callable[..., NodeProcess]]:
    """Start nodes that end with the test."""
    processes: list[NodeProcess] = []

    def start(
        parameters: dict[str, object] | None = None, *,
        program: Sequence[str] = ENGINE_NODE, arguments: Sequence[str] = (),
    ) -> NodeProcess:
        values = {'autostart': True} | TIME_MODE | (parameters or {})
        log = tmp_path / f'node{len(processes)}.log'
        processes.append(NodeProcess(program, log, domain_id, values, arguments))
        return processes[-1]

    yield start
    for process in processes:
        process.close()


@pytest.fixture
def peer(domain_id: int) -> Iterator[Peer]:
    """Give the other side of the node."""
    peer = Peer(domain_id)
    yield peer
    peer.close()


@pytest.fixture
def bench_of() -> Iterator[Callable[..., Bench]]:
    """Give benches whose workers end with the test."""
    benches: list[Bench] = []

    def create(**options: object) -> Bench:
        benches.append(Bench(**options))
        return benches[-1]

    yield create
    for bench in benches:
        bench.engine.gate.set()
        assert bench.worker.stop(5.0)
