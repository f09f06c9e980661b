# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Rendered windows for the tests of the training."""

from collections.abc import Iterator
from pathlib import Path
import shutil

import pytest
import torch

from training.renderer import HostRenderer
from training.targets import make_targets, Targets
from training.windows import draw_windows, WindowArrays

SIZE = (84, 112)


@pytest.fixture(scope='session')
def renderer(tmp_path_factory: pytest.TempPathFactory) -> HostRenderer:
    """Build the kernel for the CPU."""
    if shutil.which('g++') is None:
        pytest.skip('no C++ compiler')
    folder: Path = tmp_path_factory.mktemp('renderer')
    return HostRenderer(folder)


@pytest.fixture(scope='session')
def windows() -> Iterator[WindowArrays]:
    """Draw two windows of three views."""
    yield draw_windows(3, 2, 3)


@pytest.fixture(scope='session')
def targets(renderer: HostRenderer, windows: WindowArrays) -> Targets:
    """Express their truth as the network should."""
    rendering = renderer(windows, SIZE, samples=1)
    focal = SIZE[1] / (2.0 * torch.from_numpy(windows.tangents))
    return make_targets(
        rendering.depth.flatten(0, 1), torch.from_numpy(windows.world_T_camera), focal)
