# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Whether lengths are metres, for the log: what to expect, when they become so, when no longer."""

from collections.abc import Callable
import logging
import time

from da3_ros.mapping.config import ScaleConfig
from da3_ros.model import MODELS

_logger = logging.getLogger(__name__)

_HOW = (
    "for metres set scale.source to tf (the robot's odometry), rig (several cameras) or fixed, "
    'or model.name to a variant that knows metres (da3nested-giant-large)')
# Trained on drives of one camera: the distances that they see between cameras agree with each
# other more than with the truth (docs/benchmarks.md).
_BLIND_TO_RIGS = ('da3-tiny',)
# A scale at the border of what counts as known must not fill the log.
_SHORTEST_S = 10.0


def obstacle(scale: ScaleConfig, model: str) -> str | None:
    """
    Say why the first lengths will not be metres, and what to do.

    :param scale: where metres come from.
    :param model: name of the variant that runs.
    :returns: None where they are metres from the first window on.
    """
    config = MODELS.get(model)
    if scale.source == 'none':
        return f'lengths are not metres (scale.source: none); {_HOW}'
    if scale.source == 'model' and config is not None and (
            config.metric_branch is None and config.canonical_focal_px is None):
        return f'lengths are not metres: {model} does not know them (scale.source: model); {_HOW}'
    if scale.source in ('tf', 'pose'):
        return (
            f'lengths are not metres yet (scale.source: {scale.source}): they will be when the '
            f"camera has moved {scale.min_motion_m} m within a window, with the robot's odometry "
            'on /tf')
    if scale.source == 'rig' and model in _BLIND_TO_RIGS:
        return (
            f'lengths are not metres yet (scale.source: rig), and may be called so while they are '
            f'off by a fifth: {model} does not see how far cameras are from each other; take '
            "another variant, or scale.source: tf (the robot's odometry)")
    if scale.source == 'rig':
        return (
            'lengths are not metres yet (scale.source: rig): they will be when a window has seen '
            'the distances between the cameras, with their mountings on /tf')
    return None


class MetreLog:
    """Tell when lengths become metres and when they no longer are; for the worker's thread."""

    def __init__(self, *, now_s: Callable[[], float] = time.monotonic) -> None:
        """
        Know nothing yet.

        :param now_s: tells real time.
        """
        self._now_s = now_s
        self._were_metres: bool | None = None
        self._told_s = -_SHORTEST_S

    def begin(self, expected: str | None) -> None:
        """
        Tell what is to be expected, at activation.

        :param expected: why the first lengths will not be metres, or None.
        """
        self._were_metres = None if expected is None else False
        self._told_s = -_SHORTEST_S
        if expected is not None:
            _logger.warning(expected)

    def note(self, is_metric: bool, sigma: float) -> None:
        """
        Take note of a keyframe.

        :param is_metric: whether its lengths are metres.
        :param sigma: relative standard deviation of the scale.
        """
        if is_metric == self._were_metres or self._now_s() - self._told_s < _SHORTEST_S:
            return
        self._were_metres = is_metric
        self._told_s = self._now_s()
        if is_metric:
            _logger.info(
                'lengths are metres from now on: the scale is known to %.1f %%', 100.0 * sigma)
        else:
            _logger.warning(
                'lengths are not metres any more: what is published now has a unit of its own, '
                'until the source of scale (scale.source) has measured it')
