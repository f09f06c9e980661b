# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""One way to run windows, and what it costs, as far as that is known."""

from collections import deque
from dataclasses import dataclass, field, replace
import logging
import statistics

from da3_ros.inference.calibration import CalibrationKey
from da3_ros.inference.executor import WindowExecutor
from da3_ros.inference.memory_model import WindowModel

_logger = logging.getLogger(__name__)

# A calibration is wrong if windows take longer or shorter by more than this factor, every time
# of so many.
_WRONG_FACTOR = 1.5
_NUM_WRONG = 8


@dataclass(eq=False)
class Way:
    """
    One way to run windows, and what it costs.

    :param executor: that runs them.
    :param key: of what it costs.
    :param model: None: not known, since not even a probe fits.
    :param tried_bytes: memory that was free when a probe did not fit.
    :param factors: by which the last windows took longer than the model says.
    """

    executor: WindowExecutor
    key: CalibrationKey
    model: WindowModel | None = None
    tried_bytes: int | None = None
    factors: deque[float] = field(default_factory=lambda: deque(maxlen=_NUM_WRONG))

    def corrects(self, model: WindowModel, num_views: int, seconds: float) -> bool:
        """
        Correct a calibration that window after window contradicts.

        :param model: by which the window was expected.
        :param num_views: of it.
        :param seconds: that it took.
        :returns: whether it was corrected, and should be made anew.
        """
        self.factors.append(_factor(model, num_views, seconds))
        if len(self.factors) < _NUM_WRONG or (
            min(self.factors) < _WRONG_FACTOR and max(self.factors) > 1.0 / _WRONG_FACTOR
        ):
            return False
        factor = statistics.median(self.factors)
        _logger.info(
            'windows take %.2f times as long as was measured at the start: expected so from now '
            'on, and measured again at the next one', factor)
        self.model = replace(model, calibration=model.calibration.slower(factor))
        self.factors.clear()
        return True


def holds(model: WindowModel, num_views: int, seconds: float) -> bool:
    """
    Return whether a window took about as long as expected.

    :param model: by which it was expected.
    :param num_views: of it.
    :param seconds: that it took.
    """
    return 1.0 / _WRONG_FACTOR < _factor(model, num_views, seconds) < _WRONG_FACTOR


def _factor(model: WindowModel, num_views: int, seconds: float) -> float:
    """Return how many times as long as predicted a window took."""
    predicted = model.seconds(num_views)
    return seconds / predicted if predicted > 0.0 else 1.0
