# Copyright 2026 The da3_ros authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""The memory model beside peaks that were measured on a GPU, and its own logic."""

import csv
from dataclasses import replace
from pathlib import Path

from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.chunks import Chunks
from da3_ros.inference.memory_guard import frugal_options
from da3_ros.inference.memory_model import Calibration, WindowModel
from da3_ros.model import MODELS
import pytest
import torch

_MIB = 2**20
# Peaks of torch's allocator on an H200 with torch 2.11, in the backbone and in the head.
_MEASURED = Path(__file__).parent / 'measured_peaks.csv'


def measured():
    """Group the rows by variant and image size, and by views."""
    groups = {}
    with _MEASURED.open(newline='') as file:
        for row in csv.DictReader(file):
            key = (row['model'], (int(row['height']), int(row['width'])))
            values = [float(row[name]) * _MIB for name in row if name.endswith('_mib')]
            groups.setdefault(key, {})[int(row['views'])] = values
    return groups


def window_model(name='da3-large', size=(280, 504), options=None, **calibration):
    values = {
        'fixed_bytes': 780 * _MIB, 'head_bytes_per_view': 70 * _MIB,
        'head_bytes_of_one': 130 * _MIB,
        'view_s': 2.4e-3, 'pair_s': 4.3e-5, **calibration,
    }
    options = ExecutorOptions() if options is None else options
    return WindowModel(MODELS[name], size, torch.bfloat16, options, Calibration(**values))


@pytest.mark.parametrize(('name', 'size'), measured())
def test_one_small_window_predicts_all_others(name, size):
    """Calibrated with three views: within 5 %, and never under by more than 2 %."""
    rows = measured()[name, size]
    fixed, _, head = rows[3]
    bare = window_model(name, size, fixed_bytes=0, head_bytes_per_view=0)
    tokens = (size[0] // 14) * (size[1] // 14) + 1
    config = bare.config
    kept = 4 * (config.embed_dim * tokens + sum(config.head_channels[:3]) * (tokens - 1))
    # Three views are one chunk of the head, or a chunk of two and one of one.
    at_once = min(3, bare.options.chunks_for(size).head)
    per_view = (head - fixed - 3 * kept) / at_once
    model = window_model(
        name, size, fixed_bytes=int(fixed), head_bytes_per_view=int(per_view)
    )
    for views, (_, in_backbone, in_head) in rows.items():
        ratio = model.peak_bytes(views) / max(in_backbone, in_head)
        assert 0.98 < ratio < 1.05, (views, ratio)


@pytest.mark.parametrize('name', sorted(MODELS))
def test_what_fits_is_the_largest_that_fits(name):
    model = window_model(name)
    for budget in (1.2e9, 3e9, 8e9):
        most = model.max_views(budget)
        assert most == 0 or model.peak_bytes(most) <= budget
        assert model.peak_bytes(most + 1) > budget


def test_no_view_fits_less_than_the_weights():
    assert window_model().max_views(700 * _MIB) == 0


def test_time_grows_with_the_window():
    model = window_model('da3-giant')
    times = [model.seconds(views) for views in range(1, 400)]
    assert times == sorted(times)
    in_time = model.max_views_within(0.5)
    assert model.seconds(in_time) <= 0.5 < model.seconds(in_time + 1)


def test_every_option_that_saves_memory_saves_memory():
    base = window_model(size=(378, 504))
    frugal = frugal_options(base.options, base.image_size)
    for options in (
        frugal,
        replace(base.options, features='host'),
        replace(base.options, reduced=True),
        replace(base.options, chunks=Chunks(4, 4, 1)),
    ):
        assert replace(base, options=options).peak_bytes(200) < base.peak_bytes(200)


def test_published_targets_hold_in_the_model():
    """Slopes of the exact executor at 504x280, features on the GPU and on the host."""
    for name, most_device, most_host in (('da3-large', 13.5, 9.0), ('da3-giant', 16.5, 13.0)):
        for placement, most in (('device', most_device), ('host', most_host)):
            model = window_model(name, options=ExecutorOptions(features=placement))
            slope = (model.peak_bytes(600) - model.peak_bytes(300)) / 300 / 1e6
            assert slope < most
