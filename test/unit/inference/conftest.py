# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Networks that are built once in a session, and copied for every test."""

import copy

import pytest
from reduced_networks import build_reduced
from simulated_gpu import MIB, SimulatedGpu
import torch


@pytest.fixture(scope='module', autouse=True)
def single_thread():
    """Networks so narrow gain nothing by threads, which wait long for each other when busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope='session')
def networks():
    """
    Give narrow networks by the names of their variants.

    An engine takes its network over and moves it in memory, which changes the last bits of what
    convolutions give: each call gets a copy, lest a test depend on those before it.
    """
    built = {}

    def get(name):
        if name not in built:
            built[name] = build_reduced(name)
        return copy.deepcopy(built[name])

    return get


@pytest.fixture
def gpu(monkeypatch):
    """Install a GPU of a gibibyte whose memory is counted."""
    gpu = SimulatedGpu(1024 * MIB)
    gpu.install(monkeypatch)
    return gpu


@pytest.fixture
def guard(gpu, networks, tmp_path):
    """Put a narrow network behind a guard on that GPU."""
    return gpu.make_guard(networks('da3-small'), tmp_path / 'calibration.json')
