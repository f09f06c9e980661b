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


def _retreat(state: _State) -> Retreat:
    return Retreat(cast(Optimizer, state), warmup_steps=400)


def test_growing_loss_goes_back_and_on_more_slowly() -> None:
    """The state returns to one well before the loss grew; rates fall; it gives up at last."""
    optimizer = _State()
    retreat = _retreat(optimizer)
    for look, loss in enumerate((5.0, 4.0, 3.0, 3.2, 3.4), start=1):
        optimizer.state[0].fill_(look)
        retreat.watch(400 * look, 400 * look + 400, loss)
    assert float(optimizer.state[0]) == 5.0
    assert (retreat.caution, retreat.warm_from) == (1.0, 0)
    retreat.watch(2400, 2800, 4.0)
    assert float(optimizer.state[0]) == 3.0
    assert (retreat.caution, retreat.warm_from) == (pytest.approx(0.6), 2800)
    for _ in range(3):
        retreat.watch(2800, 3200, float('nan'))
    with pytest.raises(RuntimeError, match='step 3600'):
        retreat.watch(3200, 3600, 9.0)


def test_losses_of_rising_rates_are_no_measure() -> None:
    """A training from weights whose rates had fallen: its loss rises with the rates, and stays."""
    retreat = _retreat(_State())
    # As the last run began: 1.76 on the way up, 2.24 and then about 1.95 at the full rates.
    for first, loss in ((0, 1.76), (400, 2.24), (800, 1.95)):
        retreat.watch(first, first + 400, loss)
    assert retreat.caution == 1.0
    retreat.watch(1200, 1600, 2.35)
    assert retreat.caution == pytest.approx(0.6)
    # The rates rise anew; the loss of before still is the measure.
    retreat.watch(1600, 2000, 2.3)
    assert retreat.caution == pytest.approx(0.6)
    retreat.watch(2000, 2400, 2.36)
    assert retreat.caution == pytest.approx(0.36)


@pytest.mark.parametrize('loss', [3.6, float('nan'), float('inf')])
def test_a_loss_that_doubles_on_the_way_up_has_diverged(loss: float) -> None:
    """The warm-up excuses much, but not everything."""
    retreat = _retreat(_State())
    retreat.watch(0, 200, 1.76)
    assert retreat.caution == 1.0
    retreat.watch(200, 400, loss)
    assert retreat.caution < 1.0
    first = _retreat(_State())
    first.watch(0, 200, float('nan'))
    assert first.caution < 1.0
