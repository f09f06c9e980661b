# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Equal random numbers in every run."""

import pytest
import torch


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)
