# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The memory model beside peaks that were measured on a GPU, and its own logic."""

import csv
from dataclasses import replace
from pathlib import Path

from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.chunks import Chunks
from da3_ros.inference.memory_guard import frugal_options
from da3_ros.inference.memory_model import Calibration, slowest, WindowModel
from da3_ros.inference.sharing import Peers
from da3_ros.model import MODELS
from peaks import WAYS
import pytest
import torch

_MIB = 2**20
# What `benchmark/peaks.py` printed on an H200 with torch 2.11.
_MEASURED = Path(__file__).parent / 'measured_peaks.csv'


def measured():
    """Group the rows by variant, way to run it and image size."""
    groups = {}
    with _MEASURED.open(newline='') as file:
        for row in csv.DictReader(file):
            key = (row['model'], row['way'], (int(row['height']), int(row['width'])))
            groups.setdefault(key, []).append(row)
    return groups


def window_model(
    name='da3-large', size=(280, 504), options=None, *, with_rays=False, **calibration
):
    values = {
        'fixed_bytes': 780 * _MIB, 'head_bytes_per_view': 70 * _MIB,
        'head_bytes_of_one': 130 * _MIB,
        'view_s': 2.4e-3, 'pair_s': 4.3e-5, **calibration,
    }
    options = ExecutorOptions() if options is None else options
    return WindowModel(
        MODELS[name], size, torch.bfloat16, options, Calibration(**values), with_rays
    )


def test_every_variant_and_way_was_measured():
    assert {(name, way) for name, way, _ in measured()} == {
        (name, way) for name, config in MODELS.items() for way in WAYS
        if way != 'rays' or config.has_cameras
    }


@pytest.mark.parametrize(('name', 'way', 'size'), measured())
def test_one_small_window_predicts_all_others(name, way, size):
    """Within 5 %, and never under by more than 2 %."""
    rows = measured()[name, way, size]
    model = window_model(name, size, WAYS[way], with_rays=way == 'rays', **{
        calibrated: int(float(rows[0][column]) * _MIB)
        for calibrated, column in (
            ('fixed_bytes', 'fixed_mib'),
            ('head_bytes_per_view', 'head_per_view_mib'),
            ('head_bytes_of_one', 'head_of_one_mib'),
        )
    })
    ratios = {
        row['views']: model.peak_bytes(int(row['views'])) / _MIB / float(row['peak_mib'])
        for row in rows
    }
    assert all(0.98 < ratio < 1.05 for ratio in ratios.values()), ratios


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


def test_devices_that_share_a_window_need_less_each_and_less_time():
    """Keys and values of a few heads at a time are what lets views grow with devices."""
    alone = window_model()
    frugal = frugal_options(alone.options, alone.image_size, head_groups=8)
    for num_devices in (2, 4, 8):
        together = replace(alone, num_devices=num_devices, exchanged_bytes_per_s=2e11)
        assert 0.9 * num_devices < alone.seconds(320) / together.seconds(320) < num_devices
        assert together.peak_bytes(320) < alone.peak_bytes(320)
        few_heads = replace(together, options=frugal)
        assert few_heads.peak_bytes(320) < replace(
            together, options=frugal_options(alone.options, alone.image_size)).peak_bytes(320)
        most = alone.max_views(8 * 2**30)
        assert few_heads.max_views(8 * 2**30) > 0.9 * num_devices * most
    slow = replace(alone, num_devices=2, exchanged_bytes_per_s=1e9)
    assert slow.seconds(320) > together.seconds(320)


def test_one_view_takes_as_long_on_many_devices_as_on_one():
    alone = window_model()
    assert replace(alone, num_devices=8).seconds(1) == alone.seconds(1)


def test_a_calibration_is_that_of_the_slowest_device():
    class Others(Peers):

        def smallest(self, value):
            return min(value, 0.9 * value, 1.1 * value)

    known = window_model().calibration
    found = slowest(known, Others())
    assert found.view_s == pytest.approx(1.1 * known.view_s)
    assert isinstance(found.fixed_bytes, int) and found.fixed_bytes > known.fixed_bytes
    assert slowest(None, Peers()) is None and slowest(known, Peers()) == known


def test_published_targets_hold_in_the_model():
    """Slopes of the exact executor at 504x280, features on the GPU and on the host."""
    for name, most_device, most_host in (('da3-large', 13.5, 9.0), ('da3-giant', 16.5, 13.0)):
        for placement, most in (('device', most_device), ('host', most_host)):
            model = window_model(name, options=ExecutorOptions(features=placement))
            slope = (model.peak_bytes(600) - model.peak_bytes(300)) / 300 / 1e6
            assert slope < most
