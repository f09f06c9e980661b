# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A training that diverges goes back."""

from typing import cast

import pytest
import torch

from training.optimizer import Optimizer
from training.retreat import Retreat


class _State:
    """A state of one number."""

    def __init__(self) -> None:
        self.state = (torch.zeros(1),)


def test_growing_loss_goes_back_and_on_more_slowly() -> None:
    """The state returns to one well before the loss grew; rates fall; it gives up at last."""
    optimizer = _State()
    retreat = Retreat(cast(Optimizer, optimizer))
    for step, loss in enumerate((5.0, 4.0, 3.0, 3.2, 3.4), start=1):
        optimizer.state[0].fill_(step)
        assert not retreat.watch(step, loss, is_steady=True)
    assert float(optimizer.state[0]) == 5.0 and retreat.caution == 1.0
    assert retreat.watch(6, 4.0, is_steady=True)
    assert float(optimizer.state[0]) == 3.0 and retreat.caution == pytest.approx(0.6)
    for _ in range(3):
        retreat.watch(7, float('nan'), is_steady=True)
    with pytest.raises(RuntimeError, match='step 8'):
        retreat.watch(8, 9.0, is_steady=True)


def test_losses_of_rising_rates_are_no_measure() -> None:
    """A training from weights whose rates had fallen: its loss rises with the rates, and stays."""
    optimizer = _State()
    retreat = Retreat(cast(Optimizer, optimizer))
    # As the last run began: 1.76 on the way up, 2.24 and then about 1.95 at the full rates.
    assert not retreat.watch(400, 1.76, is_steady=False)
    assert not retreat.watch(800, 2.24, is_steady=True)
    assert not retreat.watch(1200, 1.95, is_steady=True)
    assert retreat.watch(1600, 2.35, is_steady=True)
    assert retreat.caution == pytest.approx(0.6)


@pytest.mark.parametrize('loss', [3.6, float('nan'), float('inf')])
def test_a_loss_that_doubles_on_the_way_up_has_diverged(loss: float) -> None:
    """The warm-up excuses much, but not everything."""
    retreat = Retreat(cast(Optimizer, _State()))
    assert not retreat.watch(400, 1.76, is_steady=False)
    assert retreat.watch(800, loss, is_steady=False)
    assert Retreat(cast(Optimizer, _State())).watch(400, float('nan'), is_steady=False)
