# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What the log says of metres: once what to expect, once each time that it changes."""

import logging

from da3_ros.mapping.config import ScaleConfig
from da3_ros.ros.insight.metres import MetreLog, obstacle
import pytest


@pytest.mark.parametrize(('source', 'model', 'expected'), [
    ('none', 'da3nested-giant-large', 'not metres (scale.source: none); for metres set'),
    ('model', 'da3-small', 'da3-small does not know them (scale.source: model); for metres set'),
    ('tf', 'da3-small', 'when the camera has moved 0.1 m'),
    ('pose', 'da3-small', 'when the camera has moved 0.1 m'),
    ('rig', 'da3-small', 'when a window has seen the distances between the cameras'),
    ('rig', 'da3-tiny', 'da3-tiny does not see how far cameras are from each other; take another'),
])
def test_an_obstacle_says_what_to_do(source, model, expected):
    """By the source of scale, and by what the network knows."""
    assert expected in obstacle(ScaleConfig(source=source), model)


@pytest.mark.parametrize(('source', 'model'), [
    ('model', 'da3nested-giant-large'), ('model', 'da3metric-large'), ('fixed', 'da3-small')])
def test_metres_from_the_first_window_on_are_no_obstacle(source, model):
    """Nothing is to be done."""
    assert obstacle(ScaleConfig(source=source), model) is None


@pytest.mark.parametrize(('expected', 'course', 'levels'), [
    ('none yet', [False, False, True, True], 'WARNING INFO'),
    ('none yet', [True, True, False, False, True], 'WARNING INFO WARNING INFO'),
    (None, [True, True], 'INFO'),
    (None, [False, False], 'WARNING'),
    ('never', [False] * 9, 'WARNING'),
])
def test_every_change_is_one_line(caplog, expected, course, levels):
    """A keyframe every twenty seconds."""
    caplog.set_level(logging.INFO, 'da3_ros')
    now_s = 0.0
    log = MetreLog(now_s=lambda: now_s)
    log.begin(expected)
    for is_metric in course:
        log.note(is_metric, 0.02)
        now_s += 20.0
    assert [record.levelname for record in caplog.records] == levels.split()


def test_a_scale_at_the_border_does_not_fill_the_log(caplog):
    """Changing with every keyframe, ten times a second."""
    caplog.set_level(logging.INFO, 'da3_ros')
    now_s = 0.0
    log = MetreLog(now_s=lambda: now_s)
    log.begin('none yet')
    for number in range(200):
        now_s = 0.1 * number
        log.note(number % 2 == 0, 0.05)
    assert len(caplog.records) <= 4
