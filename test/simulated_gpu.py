# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A GPU whose memory is counted, not there: what the guard and the planner see of a real one."""

from pathlib import Path
from types import SimpleNamespace
import weakref

from da3_ros.inference import memory_guard, plan
from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.calibration import CalibrationCache
from da3_ros.inference.executor import PendingWindow, WindowExecutor
from da3_ros.inference.memory_guard import MemoryGuard, MemoryLimits
from da3_ros.inference.memory_model import Calibration, WindowModel
from da3_ros.model.build import Network
import torch

MIB = 2**20
# What a probe of a calibration takes for each view of a chunk of the head.
_PROBE_BYTES_PER_VIEW = MIB // 2


class Taken:
    """
    Memory of somebody else, given back with the object.

    :param num_bytes: taken.
    """

    def __init__(self, num_bytes: int) -> None:
        self.num_bytes = num_bytes

    def numel(self) -> int:
        """Return the size, as a tensor of bytes does."""
        return self.num_bytes


class SimulatedGpu:
    """
    Counts what a network and others hold of a GPU; the networks themselves run on the CPU.

    :param total_bytes: of the GPU.
    :param miss: by which factor windows need more than the memory model says.
    """

    device = torch.device('cpu')
    calibration = Calibration(
        fixed_bytes=40 * MIB, head_bytes_per_view=4 * MIB, head_bytes_of_one=6 * MIB,
        view_s=1e-3, pair_s=1e-5
    )

    def __init__(self, total_bytes: int, *, miss: float = 1.0) -> None:
        self.total_bytes = total_bytes
        self.miss = miss
        self.fraction = 1.0
        self.slowness = 1.0
        self.now_s = 0.0
        self.num_tries = 0
        self.num_probes = 0
        self.num_failures = 0
        self._peak_bytes = 0
        self._executors: weakref.WeakSet[WindowExecutor] = weakref.WeakSet()
        self._others: weakref.WeakSet[Taken] = weakref.WeakSet()

    @property
    def allocated_bytes(self) -> int:
        """Return what is held between windows."""
        held = sum(executor.held_bytes for executor in self._executors)
        others = sum(taken.num_bytes for taken in self._others)
        return self.calibration.fixed_bytes + held + others

    @property
    def limit_bytes(self) -> int:
        """Return what may be held."""
        return int(self.fraction * self.total_bytes)

    def take(self, _device: torch.device, num_bytes: float) -> Taken:
        """Take memory, or as much of it as there is."""
        free = self.limit_bytes - self.allocated_bytes
        taken = Taken(max(min(int(num_bytes), free), 0))
        self._others.add(taken)
        return taken

    def make_guard(
        self, network: Network, cache: Path, *, reserve_mib: int = 0,
        options: ExecutorOptions | None = None,
    ) -> MemoryGuard:
        """Put a network behind a guard; one on 'meta' answers nothing, at once."""
        return MemoryGuard(
            network, lambda options: self._make_executor(network, options),
            ExecutorOptions() if options is None else options, MemoryLimits(reserve_mib),
            cache=CalibrationCache(cache),
        )

    def install(self, monkeypatch) -> None:
        """Let torch answer for this GPU until the test ends."""
        answers = {
            'mem_get_info': lambda _: (self.total_bytes - self.allocated_bytes, self.total_bytes),
            'memory_reserved': lambda _=None: self.allocated_bytes,
            'memory_allocated': lambda _=None: self.allocated_bytes,
            'max_memory_allocated': lambda: self._peak_bytes,
            'max_memory_reserved': lambda: self._peak_bytes,
            'reset_peak_memory_stats': lambda: setattr(self, '_peak_bytes', self.allocated_bytes),
            'get_per_process_memory_fraction': lambda _: self.fraction,
            'set_per_process_memory_fraction': lambda f, _=None: setattr(self, 'fraction', f),
            'get_device_properties': lambda _: SimpleNamespace(
                total_memory=self.total_bytes, uuid='0123'),
            'get_device_name': lambda _: 'simulated',
        }
        for name, answer in answers.items():
            monkeypatch.setattr(torch.cuda, name, answer, raising=False)
        for module in (memory_guard, plan):
            monkeypatch.setattr(module, 'calibrate', self._calibrate)
        monkeypatch.setattr(memory_guard, 'probe_seconds', self._probe_seconds)
        clock = SimpleNamespace(perf_counter=lambda: self.now_s)
        monkeypatch.setattr(memory_guard, 'time', clock)

    def _calibrate(self, _network, executor, size) -> Calibration:
        """Probe one way to run: in small pieces everything takes nine times as long."""
        self.num_tries += 1
        chunks = executor.options.chunks_for(size)
        if self.allocated_bytes + chunks.head * _PROBE_BYTES_PER_VIEW > self.limit_bytes:
            raise torch.cuda.OutOfMemoryError('CUDA out of memory (simulated)')
        self.num_probes += 1
        return self.calibration.slower(self.slowness * (9.0 if chunks.head == 1 else 1.0))

    def _probe_seconds(self, executor, size, _device) -> tuple[int, float]:
        """Time a window as it takes now."""
        num_views = 4 * executor.options.chunks_for(size).head
        cost = self.calibration.slower(9.0 if num_views == 4 else 1.0)
        spent_s = num_views * (cost.view_s + num_views * cost.pair_s)
        return num_views, self.slowness * spent_s

    def _make_executor(self, network: Network, options: ExecutorOptions) -> WindowExecutor:
        """Make an executor that runs out of memory where a window does not fit."""
        executor = WindowExecutor(network, options)
        self._executors.add(executor)
        # Not the method itself: it would keep the executor alive for ever.
        executor_ = weakref.ref(executor)

        def count_and_submit(images, *given, **named):
            size, dtype = images.shape[1:3], torch.float32
            cost = WindowModel(
                network.config, size, dtype, options, self.calibration, is_fused=False)
            needed = self.miss * (cost.peak_bytes(len(images)) - cost.calibration.fixed_bytes)
            if self.allocated_bytes + needed > self.limit_bytes:
                self.num_failures += 1
                raise torch.cuda.OutOfMemoryError('CUDA out of memory (simulated)')
            self._peak_bytes = max(self._peak_bytes, self.allocated_bytes + int(needed))
            is_frugal = options.chunks_for(size).head == 1
            self.now_s += self.slowness * (9.0 if is_frugal else 1.0) * cost.seconds(len(images))
            is_real = not next(network.parameters()).is_meta
            if not is_real:
                return PendingWindow(None, lambda: None)
            return WindowExecutor.submit(executor_(), images, *given, **named)

        executor.submit = count_and_submit
        return executor
