# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Networks shared by the tests of a session."""

import pytest
from reduced_networks import build_reduced
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
    """Give narrow networks by the names of their variants, each built once."""
    built = {}

    def get(name):
        if name not in built:
            built[name] = build_reduced(name)
        return built[name]

    return get
