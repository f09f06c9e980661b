# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
How work reaches the device: kernel by kernel, or recorded once as a CUDA graph and launched whole.

A small window keeps a GPU busy for a few milliseconds, and Python for tens of them, launching its
kernels. A graph is the same kernels on the same data, launched at once.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
import logging
import time
from typing import Any

import torch
from torch import Tensor

_logger = logging.getLogger(__name__)

Outputs = dict[str, Tensor]
Work = Callable[..., Outputs]

# The least that a graph must gain to be worth its memory.
_LEAST_GAIN = 0.05


class Launcher:
    """
    Launches work kernel by kernel.

    :param device: where it runs.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    @property
    def held_bytes(self) -> int:
        """Return the memory that is allocated between windows."""
        return 0

    def run(self, key: Hashable, work: Work, inputs: Sequence[Tensor]) -> Outputs:  # noqa: ARG002
        """
        Run work on its inputs.

        :param key: the same for the same work on inputs of the same shapes.
        :param work: takes the inputs on the device.
        :param inputs: on the host, pinned where the device is a GPU.
        :returns: on the device, until work is run again.
        """
        return work(*self._to_device(inputs))

    def release(self) -> None:
        """Give back the memory that is held."""

    def _to_device(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        return [x.to(self._device, non_blocking=True) for x in inputs]


@dataclass(frozen=True, eq=False)
class _Recorded:
    """
    Work that is launched at once.

    :param graph: its kernels.
    :param inputs: that they read.
    :param outputs: that they write.
    :param keeps: whatever else they read.
    """

    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    outputs: Outputs
    keeps: object

    def run(self, inputs: Sequence[Tensor]) -> Outputs:
        """Run the work on other inputs."""
        for kept, given in zip(self.inputs, inputs, strict=True):
            kept.copy_(given, non_blocking=True)
        self.graph.replay()
        return self.outputs


class GraphLauncher(Launcher):
    """
    Records work that comes again and gains by it; runs the rest kernel by kernel.

    Work runs as it is the first time, which compiles and measures whatever kernels want; the
    second time it is timed and recorded. All graphs share their memory, since one runs after the
    other. Must be used within ``on_work_stream``.

    :param device: a CUDA device.
    :param keeps: returns what work reads besides its inputs and parameters.
    :param limit: graphs that are kept; the one that was not run for the longest time goes first.
    """

    def __init__(
        self, device: torch.device, keeps: Callable[[], object], *, limit: int = 12
    ) -> None:
        super().__init__(device)
        self._keeps = keeps
        self._limit = limit
        # By when they ran last, the latest at the end.
        self._recorded: dict[Hashable, _Recorded] = {}
        self._num_runs: Counter[Hashable] = Counter()
        self._pool: Any = None

    @property
    def num_graphs(self) -> int:
        """Return the number of graphs that are kept."""
        return len(self._recorded)

    @property
    def held_bytes(self) -> int:
        """Return the memory that is allocated between windows."""
        return sum(
            x.nbytes for recorded in self._recorded.values()
            for x in (*recorded.inputs, *recorded.outputs.values())
        )

    def run(self, key: Hashable, work: Work, inputs: Sequence[Tensor]) -> Outputs:
        """Run work on its inputs."""
        recorded = self._recorded.pop(key, None)
        if recorded is not None:
            self._recorded[key] = recorded
            return recorded.run(inputs)
        self._num_runs[key] += 1
        on_device = self._to_device(inputs)
        if self._num_runs[key] != 2:
            return work(*on_device)
        seconds, outputs = self._time(lambda: work(*on_device))
        self._record(key, work, on_device, seconds)
        return outputs

    def release(self) -> None:
        """Give back the memory that is held; what was recorded must be recorded anew."""
        self._recorded.clear()
        self._num_runs.clear()
        self._pool = None

    def _record(
        self, key: Hashable, work: Work, inputs: list[Tensor], seconds: float
    ) -> None:
        """
        Record work, and keep it if it gains by that.

        :param seconds: that it takes kernel by kernel.
        """
        while len(self._recorded) >= self._limit:
            self._recorded.pop(next(iter(self._recorded)))
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        try:
            with torch.cuda.graph(
                graph, pool=self._pool, stream=stream, capture_error_mode='thread_local'
            ):
                outputs = work(*inputs)
            recorded = _Recorded(graph, inputs, outputs, (work, self._keeps()))
            # The first launch of a graph also brings it to the device.
            recorded.run(inputs)
            launched, _ = self._time(lambda: recorded.run(inputs))
        except RuntimeError as error:
            # What runs all the same must not fail for want of being faster.
            _logger.info('no graph of %s: %s', key, error)
            return
        is_kept = launched <= (1.0 - _LEAST_GAIN) * seconds
        _logger.debug(
            '%s: %.1f ms kernel by kernel, %.1f ms as a graph', key, seconds * 1e3, launched * 1e3)
        if is_kept:
            self._recorded[key] = recorded

    def _time(self, run: Callable[[], Outputs]) -> tuple[float, Outputs]:
        stream = torch.cuda.current_stream(self._device)
        stream.synchronize()
        start = time.perf_counter()
        outputs = run()
        stream.synchronize()
        return time.perf_counter() - start, outputs
