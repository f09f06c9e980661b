# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What to do when a training diverges: go back, and on with smaller rates."""

import logging
import math

from torch import Tensor

from training.optimizer import Optimizer

_DIVERGED = 1.2
_DIVERGED_WARMING = 2.0
_SMALLER_RATE = 0.6
_MAX_RETREATS = 4

_logger = logging.getLogger('training')


class Retreat:
    """
    Keeps the state of some hundred steps ago, and returns to it.

    The state of the last healthy look is not taken: what went wrong began before it showed.

    While rates rise, losses do too where the weights come from a training whose rates had fallen:
    those are no measure for later ones, and only a loss that doubles counts as grown.

    :param optimizer: whose state is kept; begins as a safe one.
    :param warmup_steps: over which the rates rise.
    """

    def __init__(self, optimizer: Optimizer, warmup_steps: int) -> None:
        self.caution = 1.0
        """Factor of all rates; falls with every retreat."""
        self.warm_from = 0
        """Step from which the rates rise; that of the last retreat, if there was one."""
        self._optimizer = optimizer
        self._warmup_steps = warmup_steps
        self._best: float | None = None
        self._best_is_steady = False
        self._num_retreats = 0
        self._kept: list[tuple[Tensor, ...]] = [self._state()]

    def watch(self, first: int, step: int, loss: float) -> None:
        """
        Look at a loss; return to the kept state if it grew.

        :param first: step of those that the loss is the mean of.
        :param step: after the last of them.
        :param loss: their mean.
        :raises RuntimeError: if going back did not help several times.
        """
        is_steady = first >= self.warm_from + self._warmup_steps
        limit = _DIVERGED if self._best_is_steady else _DIVERGED_WARMING
        if not math.isfinite(loss) or (self._best is not None and loss >= limit * self._best):
            self._go_back(step, loss)
            return
        if self._best is None or loss < self._best or is_steady > self._best_is_steady:
            self._best = loss
        self._best_is_steady |= is_steady
        self._kept = [*self._kept[-2:], self._state()]

    def _go_back(self, step: int, loss: float) -> None:
        self._num_retreats += 1
        if self._num_retreats > _MAX_RETREATS:
            raise RuntimeError(f'step {step}: the loss grew to {loss:.2f} once more')
        self.caution *= _SMALLER_RATE
        self.warm_from = step
        self._kept = self._kept[:1]
        for tensor, kept in zip(self._optimizer.state, self._kept[0], strict=True):
            tensor.copy_(kept)
        _logger.warning(
            'step %d: the loss grew to %.2f; back to an earlier state, rates times %.2f',
            step, loss, self.caution)

    def _state(self) -> tuple[Tensor, ...]:
        return tuple(tensor.clone() for tensor in self._optimizer.state)
