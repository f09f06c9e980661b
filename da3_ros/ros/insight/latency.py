# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
How long images take through the node, stage by stage.

Stages inside the node are measured by the steady clock: no simulated time and no correction of the
system's clock can spoil them. What begins with the stamp of an image is measured by the clock that
stamps are of, the node's: in simulated time it is simulated too.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
import logging
import threading
import time

from da3_ros.mapping.keyframe import NS_PER_S, PosedKeyframe, StageTimes
import numpy as np

_logger = logging.getLogger(__name__)

MAX_AGE_S = 3600.0
"""Stamps farther from now are of another clock."""

_NUM_KEPT = 200


class Stage(Enum):
    """What is measured; the value is the name in the diagnostics."""

    ARRIVAL = 'stamp to receipt'
    SELECTION = 'receipt to selection'
    WAIT = 'selection to inference'
    INFERENCE = 'inference'
    PUBLICATION = 'inference to publication'
    TOTAL = 'stamp to publication'


_BY_THE_NODES_CLOCK = (Stage.ARRIVAL, Stage.TOTAL)


@dataclass(frozen=True)
class Latency:
    """
    Durations of a stage.

    :param stage: which.
    :param median_s: half are faster.
    :param p95_s: all but one in twenty are faster.
    :param max_s: the slowest.
    """

    stage: Stage
    median_s: float
    p95_s: float
    max_s: float

    @property
    def is_of_one_clock(self) -> bool:
        """Tell whether the stamps and the node's clock have anything to do with each other."""
        return abs(self.median_s) <= MAX_AGE_S


class LatencyTrace:
    """Collect the durations of the last images and keyframes; any thread may."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        """
        Start empty.

        :param now_ns: the node's clock, the one that stamps are of.
        """
        self._now_ns = now_ns
        self._lock = threading.Lock()
        self._durations_s: dict[Stage, deque[float]] = {
            stage: deque(maxlen=_NUM_KEPT) for stage in Stage}

    def begin_session(self) -> None:
        """Forget what a clock that has jumped since may have spoilt."""
        with self._lock:
            for stage in _BY_THE_NODES_CLOCK:
                self._durations_s[stage].clear()

    def note_image(self, stamp_ns: int) -> None:
        """
        Take note of an image that comes in now.

        :param stamp_ns: of its header.
        """
        age_s = self._age_s(stamp_ns)
        with self._lock:
            self._durations_s[Stage.ARRIVAL].append(age_s)

    def note_published(self, keyframe: PosedKeyframe) -> None:
        """
        Take note of a keyframe that goes out now; ``--log-level debug`` shows each.

        :param keyframe: the keyframe.
        """
        durations_s = _inside(keyframe.times) if keyframe.times is not None else {}
        durations_s[Stage.TOTAL] = self._age_s(keyframe.stamp_ns)
        with self._lock:
            for stage, duration_s in durations_s.items():
                self._durations_s[stage].append(duration_s)
        text = ', '.join(f'{stage.value} {value:.4f} s' for stage, value in durations_s.items())
        _logger.debug(
            '%s %d of stamp %d: %s', 'live frame' if keyframe.is_live else 'keyframe',
            abs(keyframe.id), keyframe.stamp_ns, text)

    def latencies(self) -> tuple[Latency, ...]:
        """Summarise the stages that have been passed."""
        with self._lock:
            durations_s = {stage: list(kept) for stage, kept in self._durations_s.items() if kept}
        return tuple(
            Latency(stage, *(float(value) for value in np.percentile(kept, (50, 95, 100))))
            for stage, kept in durations_s.items()
        )

    def _age_s(self, stamp_ns: int) -> float:
        return (self._now_ns() - stamp_ns) / NS_PER_S


def _inside(times: StageTimes) -> dict[Stage, float]:
    """Measure what needs no clock but the steady one."""
    return {
        Stage.SELECTION: times.selected_s - times.received_s,
        Stage.WAIT: times.started_s - times.selected_s,
        Stage.INFERENCE: times.inferred_s - times.started_s,
        Stage.PUBLICATION: time.monotonic() - times.inferred_s,
    }
