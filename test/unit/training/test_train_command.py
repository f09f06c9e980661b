# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The command trains with every option of the data, and leaves what more training needs."""

import json
from pathlib import Path
import re
import shutil
import subprocess
import sys

import cv2
from da3_ros.model import build_network, load_weights
from da3_ros.model.network import DepthAnything3
import numpy as np
import pytest
import torch

from training.checkpoint import load_checkpoint
from training.optimizer import Optimizer
from training.recipe import Recipe

_ROOT = Path(__file__).parents[3]
_RECIPE = {
    'formats': [{'image_size': [56, 70], 'views': 6, 'dense_views': 3}],
    'window_sizes': [3], 'window_shares': [1.0], 'posed_share': 0.0, 'pool_chunks': 2,
    'first_chunks': 2, 'chunk_windows': 2, 'window_views': 6, 'samples': 1, 'rig_share': 0.5,
    'rig_cameras': 3, 'near_share': 0.5, 'distorted_share': 0.5, 'light_share': 0.5,
    'turn_share': 0.5, 'jpeg_share': 0.5,
}


@pytest.mark.skipif(shutil.which('g++') is None, reason='no C++ compiler')
def test_a_training_with_everything(tmp_path: Path) -> None:
    """Two steps on a CPU: losses are numbers, and files load."""
    (tmp_path / 'panoramas').mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (8, 16, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / 'panoramas' / 'one.png'), cv2.resize(noise, (128, 64)))
    # The rates fall from the beginning on: what is kept before is kept before the first step.
    ran = subprocess.run(
        [sys.executable, '-m', 'training.train', '--device', 'cpu', '--eager', '--workers', '1',
         '--held-out', '0', '--seconds', '600', '--decay', '10000', '--steps', '2',
         '--panoramas', tmp_path / 'panoramas', '--recipe', json.dumps(_RECIPE),
         '--keep', tmp_path / 'keep.safetensors', '--keep-state', tmp_path / 'state',
         '--out', tmp_path / 'out', '--export', tmp_path / 'tiny.safetensors'],
        cwd=_ROOT, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert re.search(r'done: step 2, \d+ s in all', ran.stderr)
    optimizers = []
    for folder, steps in (('state', 0), ('out', 2)):
        network = build_network('da3-tiny')
        assert isinstance(network, DepthAnything3)
        optimizers.append(Optimizer(network, Recipe()))
        assert load_checkpoint(tmp_path / folder, optimizers[-1]).step == steps
        assert optimizers[-1].num_updates == steps
        assert optimizers[-1].weights.isfinite().all()
        assert bool(optimizers[-1].momentum.any()) == bool(steps)
        assert all(path.stat().st_size < 16 << 20 for path in (tmp_path / folder).iterdir())
    assert not torch.equal(optimizers[0].weights, optimizers[1].weights)
    for name in ('keep.safetensors', 'tiny.safetensors'):
        load_weights(build_network('da3-tiny'), tmp_path / name)
