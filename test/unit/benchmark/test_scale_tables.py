# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The arithmetic of docs/scale.md, and that the page holds to it."""

from dataclasses import replace
import json
from pathlib import Path

import pytest
from scale import (
    at_size,
    BENCHMARKS,
    build_parser,
    Load,
    measure_decoding,
    measure_outputs,
    read_windows,
    Windows,
)

PAGE = BENCHMARKS.with_name('scale.md').read_text()
LOAD = Load(30.0, 2.0, 5.0, 4.0, 50.0, 1.0)


def test_the_times_of_the_benchmarks_are_found():
    """Of every kind of network one, each window once."""
    windows = read_windows(BENCHMARKS.read_text())
    keys = [(each.model, each.machine, each.num_views) for each in windows]
    assert len(set(keys)) == len(keys)
    assert {model for model, _, _ in keys} == {'da3-tiny', 'da3-small', 'da3-large', 'da3-giant'}
    assert all(1e-3 < each.seconds < 10.0 for each in windows)


def test_a_recording_keeps_a_machine_busy_by_its_keyframes():
    window = Windows('da3-small', 'H200', '504x280', 12, 0.1)
    # Twelve views, of which four are new: five windows in ten seconds at two keyframes a second.
    assert window.busy(2.0) == pytest.approx(0.05)
    assert window.busy(4.0) == pytest.approx(0.1)
    assert LOAD.cores == pytest.approx(0.27 + 0.1)


def test_a_larger_size_costs_between_its_pixels_and_their_square():
    windows = [Windows('m', 'H200', '504x280', n, n * (0.001 + n * 2e-5)) for n in (12, 32, 100)]
    larger = at_size(windows, '504x560')
    for small, large in zip(windows, larger, strict=True):
        n = small.num_views
        assert large.seconds == pytest.approx(n * (0.002 + n * 8e-5))
    assert at_size(windows, '504x280') == [
        replace(each, seconds=pytest.approx(each.seconds)) for each in windows]


def test_the_page_reckons_rightly():
    """Hours and machines follow from the time of the window in the same row."""
    load = Load(*(getattr(build_parser().parse_args([]), name) for name in (
        'images_hz', 'keyframes_hz', 'decode_ms', 'select_ms', 'keyframe_ms', 'keyframe_mib')))
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in PAGE.splitlines()
            if line.startswith('| da3-')]
    assert len(rows) >= 8
    for model, machine, size, views, seconds, times, hours, machines, cores, _ in rows:
        window = Windows(model, machine, size, int(views.partition(' ')[0]), float(seconds))
        busy = window.busy(load.keyframes_hz)
        assert int(views.rpartition(' ')[2]) == window.stride
        assert float(times) == pytest.approx(1.0 / busy, rel=0.01)
        assert float(hours) == pytest.approx(1e4 * busy, rel=0.01)
        assert float(machines) == pytest.approx(1e4 * busy / 168.0, rel=0.05)
        assert cores == '-' or float(cores) == pytest.approx(load.cores / busy, abs=0.6)
    assert f'| processor in all: core hours | {load.cores:.3f} |' in PAGE


def test_what_is_measured_is_measured(tmp_path):
    """A folder's bytes by kind, for each keyframe; an image's time, more than none."""
    (tmp_path / 'day/colmap/images').mkdir(parents=True)
    (tmp_path / 'day/colmap/images/1.jpg').write_bytes(bytes(2**20))
    (tmp_path / 'day/cloud.ply').write_bytes(bytes(2**19))
    (tmp_path / 'summary.json').write_text(json.dumps({'counts': {'num_keyframes': 2}}))
    lines = list(measure_outputs(Path(tmp_path)))
    assert '| colmap | 0.500 |' in lines
    assert '| cloud.ply | 0.250 |' in lines
    assert 0.1 < measure_decoding(1, 2) < 1000.0
