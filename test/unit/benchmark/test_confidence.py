# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Errors are sorted by confidence as the tables say."""

from confidence import compare, kept, Pixels, tenths
from da3_ros.inference import WindowPrediction
import numpy as np
import pytest
import torch

from training.metrics import Truth


def test_tenths_and_thresholds():
    """A hundred pixels whose errors fall as confidence grows."""
    confidence = np.linspace(1.0, 10.9, 100)
    order = np.random.default_rng(0).permutation(100)
    pixels = Pixels(confidence[order], (1.0 / confidence)[order], np.zeros(0))
    groups = tenths(pixels)
    assert [group.share for group in groups] == pytest.approx([0.1] * 10)
    assert groups[0].lowest == 1.0 and groups[9].highest == pytest.approx(10.9)
    assert groups[0].abs_rel == pytest.approx(np.mean(1.0 / confidence[:10]))
    assert [group.abs_rel for group in groups] == sorted(
        (group.abs_rel for group in groups), reverse=True)
    assert groups[2].far_off == 1.0 and groups[4].far_off == 0.0
    half = kept(pixels, confidence[50])
    assert half.share == 0.5 and half.median == pytest.approx(np.median(1.0 / confidence[50:]))


def test_the_unit_of_a_window_does_not_matter_and_the_sky_is_apart():
    """Two windows in units of their own; unknown depth is sky only where that is said."""
    true = np.full((2, 2, 4, 5), 2.0, np.float32)
    true[:, 0, 0] = np.inf
    true[:, 1, 3, 4] = 4.0
    confidence = np.full((2, 4, 5), 3.0, np.float32)
    confidence[0, 0] = 1.0
    predictions = [
        WindowPrediction(np.zeros((2, 4, 5, 3), np.uint8), unit * np.full((2, 4, 5), 1.0),
                         confidence, None, None, None) for unit in (0.3, 7.0)]
    truth = Truth(torch.from_numpy(true), torch.eye(4).repeat(2, 2, 1, 1))
    pixels = compare(predictions, truth, has_sky=True)
    assert len(pixels.error) == 70 and (pixels.confidence == 3.0).all()
    assert sorted(pixels.error)[-2:] == pytest.approx([0.5, 0.5]) and pixels.error.sum() < 1.001
    assert (pixels.sky == 1.0).all() and len(pixels.sky) == 10
    assert compare(predictions, truth, has_sky=False).sky.size == 0
