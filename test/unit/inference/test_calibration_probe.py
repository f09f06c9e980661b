# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The probe of a machine, on one whose clock is counted."""

import time

from da3_ros.errors import PredictionError
from da3_ros.inference import calibration
from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.chunks import Chunks
from da3_ros.inference.executor import WindowExecutor
import pytest
import torch

SIZE = (28, 28)
VIEW_S = 2e-3
OPTIONS = ExecutorOptions(chunks=Chunks(2, 2, 2))


@pytest.fixture
def clock(monkeypatch):
    """Let torch answer for a GPU without memory, and time pass only where a test lets it."""
    now = [0.0]
    for name in ('memory_allocated', 'max_memory_allocated'):
        monkeypatch.setattr(torch.cuda, name, lambda _: 0)
    for name in ('reset_peak_memory_stats', 'synchronize'):
        monkeypatch.setattr(torch.cuda, name, lambda _: None)
    monkeypatch.setattr(calibration, '_ATTENTION_TOKENS', 64)
    monkeypatch.setattr(time, 'perf_counter', lambda: now[0])
    return now


class CountedExecutor(WindowExecutor):
    """Takes the same time for every view."""

    clock = None

    def run(self, images, *given):
        self.clock[0] += VIEW_S * len(images)
        return super().run(images, *given)


def test_the_time_of_a_view_is_that_of_one(networks, clock):
    network = networks('da3-small')
    executor = CountedExecutor(network, OPTIONS)
    executor.clock = clock
    assert calibration.calibrate(network, executor, SIZE).view_s == pytest.approx(VIEW_S)


def test_images_of_which_nothing_can_be_made_do_for_a_probe(networks, clock):
    """What a network says of black images is nobody's concern."""
    network = networks('da3nested-giant-large')
    with torch.no_grad():
        network.da3_metric.head.scratch.sky_output_conv2[2].bias.fill_(100.0)
    executor = CountedExecutor(network, OPTIONS)
    executor.clock = clock
    with pytest.raises(PredictionError, match='not sky'):
        executor.run(torch.zeros(1, *SIZE, 3, dtype=torch.uint8).numpy())
    assert calibration.calibrate(network, executor, SIZE).view_s == pytest.approx(VIEW_S)
