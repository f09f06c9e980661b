# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Logs of a training become curves."""

from pathlib import Path

import cv2

from training.curves import Curve, draw, read_curves

_LOG = """\
   29923 floor Scores(abs_rel=0.39, delta=0.45)
  101428 step 400: 178.5 ms, total 4.9733 depth 0.3190 rays 0.8945 camera norm 51.9029
  111441 step 800: 24.9 ms, total 4.2577 depth 0.2443 rays 0.7595 camera norm 29.2790
  153891 EVAL 144 s step 880 posed 0 abs_rel=0.1965 rotation_deg=2.824
  160591 EVAL 144 s step 880 posed 1 abs_rel=0.1992 rotation_deg=2.102
  160592 camera decoder: share of dead units 0.03, 0.08
"""


def test_losses_and_scores_are_read() -> None:
    """Names of one and of two words, with and without cameras given."""
    curves = read_curves(_LOG.splitlines())
    assert curves.losses['depth'] == Curve([400, 800], [0.3190, 0.2443])
    assert curves.losses['camera norm'] == Curve([400, 800], [51.9029, 29.2790])
    assert curves.scores['rotation_deg'] == Curve([880], [2.824])
    assert curves.posed_scores['abs_rel'] == Curve([880], [0.1992])


def test_they_are_drawn(tmp_path: Path) -> None:
    """The picture has lines where the curves are."""
    path = tmp_path / 'curves.png'
    draw(read_curves(_LOG.splitlines()), path)
    picture = cv2.imread(str(path))
    assert picture is not None
    assert (picture.max(axis=-1) > picture.min(axis=-1) + 60).sum() > 500
