# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Workers on the machines that Ray has: it places them, and starts those again that die."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
import logging
import os
import re
import socket
import sys
from typing import Any

from da3_ros.errors import Da3Error
from da3_ros.offline.exit_code import ExitCode
from da3_ros.offline.fleet.outcome import failed, Outcome
from da3_ros.offline.fleet.worker import Task, Worker
from da3_ros.offline.job import LoadEngine

LOCAL = 'local'
# Nothing large goes through it; Ray wants no less.
_OBJECT_STORE_BYTES = 80 * 2**20
_REACH_S = 10.0


class ClusterError(Da3Error):
    """Ray, or what a worker needs of it, cannot be had; the text says why."""


@dataclass(frozen=True)
class Crew:
    """
    The workers that are wanted.

    :param num_workers: 0: as many as the machines have room for.
    :param num_cpus: of a worker.
    :param num_gpus: of a worker; None: one where the machines have any.
    :param num_retries: how often a recording is tried again whose worker died.
    """

    num_workers: int = 0
    num_cpus: float = 1.0
    num_gpus: float | None = None
    num_retries: int = 2

    def needs(self, nodes: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """
        Return what a worker occupies.

        :param nodes: what each machine has, by Ray's names.
        """
        has_gpu = any(node.get('GPU', 0.0) >= 1.0 for node in nodes)
        num_gpus = float(has_gpu) if self.num_gpus is None else self.num_gpus
        return {'CPU': self.num_cpus, 'GPU': num_gpus}

    def size(self, nodes: Sequence[Mapping[str, float]], num_tasks: int) -> int:
        """
        Return how many workers are started.

        :param nodes: what each machine has, by Ray's names.
        :param num_tasks: recordings that wait.
        :raises ClusterError: if not even one fits.
        """
        if self.num_workers:
            return min(self.num_workers, num_tasks)
        needs = {name: amount for name, amount in self.needs(nodes).items() if amount}
        room = sum(
            min(int(node.get(name, 0.0) / amount) for name, amount in needs.items())
            for node in nodes)
        if not room:
            has = '; '.join(', '.join(f'{node.get(name, 0.0):g} {name}' for name in needs)
                            for node in nodes)
            wanted = ', '.join(f'{amount:g} {name}' for name, amount in needs.items())
            raise ClusterError(
                f'a worker needs {wanted}, and the machines have {has}; --workers N waits for '
                'others to come')
        return min(room, num_tasks)


@contextmanager
def connected(address: str, *, is_quiet: bool = False) -> Iterator[None]:
    """
    Use a cluster, or one that is made of this machine and ends with the command.

    :param address: ``local``, ``auto`` for the cluster that this machine is in, or HOST:PORT.
    :param is_quiet: do not repeat here what Ray and the workers say.
    :raises ClusterError: if Ray is not installed, or there is no such cluster.
    """
    # Nobody is told that a robot's owner uses it.
    os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
    try:
        import ray
    except ImportError as error:
        raise ClusterError("Ray is not installed: pip install 'da3_ros[fleet]'") from error
    if ray.is_initialized():
        # By whoever calls this; it stays.
        with redirect_stdout(sys.stderr):
            yield
        return
    options: dict[str, Any] = {} if address != LOCAL else {
        'include_dashboard': False, 'object_store_memory': _OBJECT_STORE_BYTES}
    try:
        _reach(address)
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=not is_quiet,
                 **options)
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        # A cluster says on its own log alone that it wants a token.
        hint = '' if 'RAY_AUTH_MODE' in os.environ or isinstance(error, ValueError) else (
            '; a cluster with a token wants RAY_AUTH_MODE=token')
        raise ClusterError(f'ray: got {address!r}: {error}{hint}') from error
    try:
        # Standard output is for what the command itself says.
        with redirect_stdout(sys.stderr):
            yield
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Find out that nobody is there: Ray itself would wait for minutes."""
    host, _, port = address.rpartition(':')
    if host and '/' not in host and port.isdecimal():
        socket.create_connection((host.strip('[]'), int(port)), _REACH_S).close()


def call(crew: Crew, function: Callable[..., Any], *arguments: object) -> Any:
    """
    Call a function where a worker would run.

    :param crew: what a worker occupies.
    :param function: that is called.
    :param arguments: of it.
    """
    import ray
    needs = crew.needs(_nodes())
    remote = ray.remote(num_cpus=needs['CPU'], num_gpus=needs['GPU'], max_retries=0)(function)
    return ray.get(remote.remote(*arguments))


def count_workers(crew: Crew, num_tasks: int) -> int:
    """
    Return how many workers would be started on the cluster that is connected.

    :param crew: that is wanted.
    :param num_tasks: recordings that wait.
    :raises ClusterError: if not even one fits.
    """
    return crew.size(_nodes(), num_tasks)


def process_all(
    tasks: Sequence[Task], crew: Crew, load: LoadEngine, note: Callable[[Outcome], object]
) -> None:
    """
    Process recordings on the cluster that is connected.

    :param tasks: that wait.
    :param crew: who does it.
    :param load: loads the network on a worker.
    :param note: is given what became of each, in the order in which they end.
    :raises ClusterError: if no worker can be started.
    """
    if not tasks:
        return
    import ray
    from ray.exceptions import RayError
    needs = crew.needs(_nodes())
    start = ray.remote(Worker).options(
        num_cpus=needs['CPU'], num_gpus=needs['GPU'], max_restarts=-1,
        max_task_retries=crew.num_retries)
    workers = [start.remote(load) for _ in range(count_workers(crew, len(tasks)))]
    try:
        asyncio.run(_served(workers, tasks, note, RayError))
    except RayError as error:
        raise ClusterError(
            f'a worker cannot be started: {_lines(error)[-1]} (da3_ros must be installed where '
            'workers run)') from error


async def _served(
    workers: Sequence[Any], tasks: Sequence[Task], note: Callable[[Outcome], object],
    lost: type[Exception],
) -> None:
    """Give every worker that is there a recording, and another one when that has ended."""
    waiting, num_left = deque(tasks), len(tasks)

    async def serve(worker: Any) -> None:
        nonlocal num_left
        while True:
            # One that the machines have no room for yet, or that starts again, is given nothing.
            await worker.is_ready.options(max_task_retries=-1).remote()
            if not waiting:
                return
            task = waiting.popleft()
            try:
                outcome = await worker.process.remote(task)
            except lost as error:
                outcome = failed(
                    task.entry, ExitCode.FAULT, f'its worker was lost: {_lines(error)[0]}')
            num_left -= 1
            note(outcome)

    serving = {asyncio.ensure_future(serve(worker)) for worker in workers}
    try:
        while num_left:
            ended, _ = await asyncio.wait(serving, return_when=asyncio.FIRST_COMPLETED)
            serving -= ended
            for each in ended:
                each.result()
    finally:
        for each in serving:
            each.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


def _nodes() -> list[dict[str, float]]:
    import ray
    return [node['Resources'] for node in ray.nodes() if node['Alive']]


def _lines(error: Exception) -> list[str]:
    """Return what Ray says, without its colours."""
    return re.sub(r'\x1b\[\d+m', '', str(error)).strip().splitlines() or [type(error).__name__]
