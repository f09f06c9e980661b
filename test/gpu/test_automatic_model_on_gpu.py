# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The engine of ``model.name: auto`` on a real GPU, from the parameters on."""

import logging

from da3_ros.inference.automatic_model import PlanConfig
from da3_ros.ros.engine_loading import load_engine, release_memory
from da3_ros.ros.parameters.settings import (
    MemorySettings,
    ModelSettings,
    NodeSettings,
    PreprocessSettings,
    WindowSettings,
)
import pytest
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device'),
]


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    """Calibrate anew, and give all memory back."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    release_memory()


@pytest.mark.parametrize(('limit_mib', 'expected'), [(None, 'da3-base'), (340, 'da3-small')])
def test_the_best_that_fits_runs_with_a_window_as_planned(caplog, limit_mib, expected):
    release_memory()
    if limit_mib is not None:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(limit_mib * 2**20 / total)
    settings = NodeSettings(
        model=ModelSettings(name='auto', weights='random'),
        preprocess=PreprocessSettings(size=252),
        window=WindowSettings(size=0, max_latency_s=0.3),
        plan=PlanConfig(min_views=8, min_size=252),
        memory=MemorySettings(reserve_mib=0),
    )
    with caplog.at_level(logging.INFO, 'da3_ros'):
        loaded = load_engine(settings)
    assert loaded.identity.name == expected
    assert loaded.identity.num_views >= 8
    (line,) = [r.getMessage() for r in caplog.records if 'windows of' in r.getMessage()]
    assert expected in line and f'{loaded.identity.num_views} views' in line
