# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Stride and first window follow the size, whoever chose it."""

from dataclasses import astuple

from da3_ros.ros.parameters.snapshot import build_settings
import pytest


def window(values, num_views, num_cameras=1):
    """Return size, stride and first window of what settings become."""
    config = build_settings(values).window.config(num_views, num_cameras)
    return astuple(config)[:3]


@pytest.mark.parametrize(('size', 'expected'), [
    (120, (120, 40, 3)), (12, (12, 4, 3)), (8, (8, 2, 3)), (3, (3, 1, 3)), (2, (2, 1, 2)),
])
def test_by_default_a_third_of_a_window_is_new(size, expected):
    assert window({}, size) == window({'window.size': size}, size) == expected


@pytest.mark.parametrize(('values', 'num_views', 'expected', 'words'), [
    ({'window.stride': 4}, 12, (12, 4, 3), ()),
    ({'window.stride': 4}, 4, (4, 3, 3), ('window.stride: got 4', '4 views: 3 instead')),
    ({'window.min_views': 6}, 4, (4, 1, 4), ('window.min_views: got 6', '4 instead')),
    ({'window.size': 4, 'window.stride': 8, 'window.min_views': 9}, 4, (4, 3, 4),
     ('window.stride: got 8', 'window.min_views: got 9')),
    # A view at a time: neither matters.
    ({'window.size': 1, 'window.stride': 8}, 1, (1, 1, 1), ()),
])
def test_what_does_not_fit_the_window_is_clamped_and_said(values, num_views, expected, words):
    settings = build_settings(values).window
    config = settings.config(num_views, 1)
    assert astuple(config)[:3] == expected
    said = list(settings.clamps(config))
    assert all(word in ' '.join(said) for word in words)
    assert len(said) == sum(word.startswith('window.') for word in words)


def test_a_stride_counts_instants_of_a_rig():
    assert window({}, 30, 3) == (30, 3, 3)
    assert window({'window.stride': 20}, 9, 3) == (9, 2, 3)


def test_only_a_size_that_was_not_asked_for_follows_the_stream():
    assert build_settings({}).pipeline(12).window.is_paced
    assert not build_settings({'window.size': 12}).pipeline(12).window.is_paced
