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
        retreat.watch(step, loss)
    assert float(optimizer.state[0]) == 5.0 and retreat.caution == 1.0
    retreat.watch(6, 4.0)
    assert float(optimizer.state[0]) == 3.0 and retreat.caution == pytest.approx(0.6)
    for _ in range(3):
        retreat.watch(7, float('nan'))
    with pytest.raises(RuntimeError, match='step 8'):
        retreat.watch(8, 9.0)
