# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What changes while the training runs: rates, the weight of matching, the sizes of windows."""

from dataclasses import dataclass

import torch

from training.recipe import Recipe

_MATCHING = 0.15
_LAST_MATCHING = 0.02
_MATCHING_SHARE = 0.75


@dataclass(frozen=True)
class Draw:
    """
    What kind of step is next.

    :param num_views: views of a window.
    :param posed: whether cameras are given.
    :param number: of the format in ``Recipe.formats``.
    """

    num_views: int
    posed: bool
    number: int = 0


@dataclass(frozen=True)
class Schedule:
    """
    The training's plan in seconds of training.

    :param recipe: its constants.
    :param done_s: spent in earlier runs.
    :param left_s: left from the start of this run, later runs included.
    :param decay_s: length of the linear decay of the rates at the end of all runs.
    """

    recipe: Recipe
    done_s: float
    left_s: float
    decay_s: float

    def rate(self, num_steps: int, elapsed_s: float) -> float:
        """
        Return the factor of all learning rates.

        :param num_steps: since the optimizer began with empty moments, or went back.
        :param elapsed_s: since the start of this run.
        """
        warm = min(1.0, (num_steps + 1) / self.recipe.warmup_steps)
        return warm * min(1.0, max(0.0, (self.left_s - elapsed_s) / self.decay_s))

    def decays(self, elapsed_s: float) -> bool:
        """
        Tell whether the rates are falling.

        :param elapsed_s: since the start of this run.
        """
        return elapsed_s > self.left_s - self.decay_s

    def matching_weight(self, elapsed_s: float) -> float:
        """
        Return the weight of the matching loss: it helps early, and leaves the end alone.

        :param elapsed_s: since the start of this run.
        """
        share = (self.done_s + elapsed_s) / (self.done_s + self.left_s)
        return max(_LAST_MATCHING, _MATCHING * (1.0 - share / _MATCHING_SHARE))

    def draw(self, step: int) -> Draw:
        """
        Draw the kind of a step, the same on every device.

        :param step: of the training.
        """
        recipe = self.recipe
        random = torch.Generator().manual_seed(recipe.seed * 7_919 + step)
        shares = torch.tensor(recipe.window_shares, dtype=torch.float32)
        size = recipe.window_sizes[int(torch.multinomial(shares, 1, generator=random))]
        posed = float(torch.rand((), generator=random)) < recipe.posed_share
        shares = torch.tensor([f.share for f in recipe.formats], dtype=torch.float32)
        number = int(torch.multinomial(shares, 1, generator=random))
        return Draw(size, posed and size in recipe.posed_sizes, number)
