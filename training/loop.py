# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The loop over steps: one clock for all devices, logs, evaluations on the way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import logging
from pathlib import Path
import time

from da3_ros.model.network import DepthAnything3
import torch
from torch import distributed, nn, Tensor
from torch.nn.utils.rnn import pad_sequence

from training.checkpoint import Progress
from training.heldout import HeldOut
from training.pool import WindowPool
from training.predict import evaluate, Mode
from training.renderer import upload
from training.retreat import Retreat
from training.schedule import Draw, Schedule
from training.step import LOG_NAMES, TrainStep

_BLOCK_STEPS = 20
_LOG_STEPS = 400

_logger = logging.getLogger('training')


@dataclass(frozen=True)
class Place:
    """
    Where this process runs.

    :param device: of this process.
    :param rank: its number.
    :param world_size: number of processes.
    """

    device: torch.device
    rank: int
    world_size: int

    @property
    def is_first(self) -> bool:
        """Whether this process logs and writes."""
        return self.rank == 0


@dataclass(frozen=True)
class Limits:
    """
    When a run stops and evaluates.

    :param seconds: length of the run.
    :param steps: step at which it stops at the latest.
    :param evaluate_every: seconds between evaluations.
    :param start: monotonic time at which the run began [s].
    :param stop_file: the run stops when it exists.
    """

    seconds: float
    steps: int
    evaluate_every: float
    start: float
    stop_file: Path | None = None


class Loop:
    """
    Runs a training.

    :param network: what is trained.
    :param step: one step of it.
    :param pools: of windows, for each format.
    :param schedule: what changes on the way.
    :param place: of this process.
    :param held_out: windows to evaluate on, or None.
    :param on_decay: called once, on every device, when the rates begin to fall for good: more
        training goes on from there.
    """

    def __init__(
        self, network: DepthAnything3, step: TrainStep, pools: Sequence[WindowPool],
        schedule: Schedule, place: Place, held_out: HeldOut | None,
        on_decay: Callable[[Progress], None] | None = None,
    ) -> None:
        self._network = network
        self._step = step
        self._pools = pools
        self._schedule = schedule
        self._place = place
        self._held_out = held_out
        self._on_decay = on_decay
        self._retreat = Retreat(step.optimizer, schedule.recipe.warmup_steps)

    def run(self, progress: Progress, limits: Limits) -> Progress:
        """
        Train until a limit is reached; go back, and on more slowly, where the loss grows.

        :param progress: where the training stands.
        :param limits: when to stop.
        :raises RuntimeError: if the training keeps diverging: device time is dear.
        """
        number, evaluated = progress.step, 0.0
        sums = torch.zeros(len(LOG_NAMES), device=self._place.device)
        logged = (number, time.monotonic())
        block = self._prepare(number, limits)
        while True:
            elapsed = self._elapsed(limits)
            if self._on_decay is not None and self._schedule.decays(elapsed):
                self._on_decay(Progress(number, progress.seconds + elapsed))
                self._on_decay = None
            if elapsed >= limits.seconds or number >= limits.steps:
                return Progress(number, progress.seconds + elapsed)
            if elapsed - evaluated >= limits.evaluate_every:
                self.report(Progress(number, progress.seconds + elapsed))
                evaluated = elapsed
            sums += self._train(block, elapsed)
            number = block.end
            block = self._prepare(number, limits)
            if number % _LOG_STEPS == 0:
                pace = (time.monotonic() - logged[1]) / (number - logged[0])
                means = sums / (number - logged[0])
                if distributed.is_initialized():
                    distributed.all_reduce(means, op=distributed.ReduceOp.AVG)
                self._log(number, means, pace)
                sums.zero_()
                self._retreat.watch(logged[0], number, float(means[0]))
                logged = (number, time.monotonic())

    def profile(self, number: int) -> str:
        """
        Train a block of steps, to see where the device's time goes.

        :param number: next step.
        :returns: a table of kernels.
        """
        block = self._prepare(number, Limits(0.0, number + _BLOCK_STEPS, 0.0, 0.0))
        with torch.profiler.profile() as profiler:
            self._train(block, 0.0)
            torch.cuda.synchronize()
        table: str = profiler.key_averages().table(
            sort_by='self_device_time_total', row_limit=70, max_name_column_width=110)
        return table

    def report(self, progress: Progress) -> None:
        """
        Log the scores of the weights' average.

        :param progress: where the training stands.
        """
        if self._held_out is None or self._network.cam_dec is None:
            return
        active: list[Tensor] = []

        def watch(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            active.append((output.flatten(0, -2) > 0).float().mean(dim=0))

        hooks = [self._network.cam_dec.backbone[i].register_forward_hook(watch) for i in (1, 3)]
        self._step.optimizer.swap_average()
        for mode in (Mode('first'), Mode(posed=True)):
            scores = evaluate(self._network, self._held_out, mode)
            _logger.info(
                'EVAL %.0f s step %d posed %d %s', progress.seconds, progress.step, mode.posed,
                ' '.join(f'{name}={value:.4g}' for name, value in vars(scores).items()))
        self._step.optimizer.swap_average()
        for hook in hooks:
            hook.remove()
        dead = [float((torch.stack(active[i::2]).amax(dim=0) == 0).float().mean())
                for i in (0, 1)]
        _logger.info('camera decoder: share of dead units %.2f, %.2f', *dead)

    def _prepare(self, number: int, limits: Limits) -> '_Block':
        """Draw the next steps and bring the pool to them, while the device is still busy."""
        for pool in self._pools:
            pool.advance(number)
        end = min(number - number % _BLOCK_STEPS + _BLOCK_STEPS, max(limits.steps, number + 1))
        draws = [self._schedule.draw(n) for n in range(number, end)]
        rows = [
            self._pools[draw.number].choose(n, draw.num_views).pack()
            for n, draw in zip(range(number, end), draws, strict=True)
        ]
        return _Block(number, end, draws, upload(
            pad_sequence(rows, batch_first=True), self._place.device))

    def _train(self, block: '_Block', elapsed: float) -> Tensor:
        """Train a block of steps with the same rates; return the sum of what is watched."""
        schedule, step = self._schedule, self._step
        retreat = self._retreat
        rate = schedule.rate(block.start - retreat.warm_from, elapsed) * retreat.caution
        step.optimizer.rate.fill_(rate)
        step.matching_weight.fill_(schedule.matching_weight(elapsed))
        watched = torch.zeros(len(LOG_NAMES), device=self._place.device)
        for number, (draw, row) in enumerate(
            zip(block.draws, block.rows, strict=True), start=block.start
        ):
            watched += step(row, draw, seed=self._pools[draw.number].seed(number))
        return watched

    def _elapsed(self, limits: Limits) -> float:
        """Return the first process' time, so that all decide alike; waits for the device."""
        now = time.monotonic() - limits.start
        if limits.stop_file is not None and limits.stop_file.exists():
            now = limits.seconds
        elapsed = torch.tensor(now, device=self._place.device)
        if distributed.is_initialized():
            distributed.broadcast(elapsed, 0)
        return float(elapsed)

    def _log(self, number: int, means: Tensor, pace: float) -> None:
        if self._place.is_first:
            named = zip(LOG_NAMES, means.tolist(), strict=True)
            values = ' '.join(f'{name} {value:.4f}' for name, value in named)
            _logger.info('step %d: %.1f ms, %s', number, 1e3 * pace, values)


@dataclass(frozen=True, eq=False)
class _Block:
    """Steps from start to end: what kind they are of, and a packed ``Choice`` for each."""

    start: int
    end: int
    draws: list[Draw]
    rows: Tensor
