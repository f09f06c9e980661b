# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""How many views the windows of a node have, and why."""

import logging
import time

from da3_ros.inference import InferenceEngine
from da3_ros.inference.memory_planner import Demand
from da3_ros.model import MODELS
from da3_ros.ros.parameters.settings import NodeSettings

# A start beside other work may have measured so much too long a time, not more.
_MOST_GROWTH = 4

_logger = logging.getLogger(__name__)


def plan_views(
    engine: InferenceEngine, settings: NodeSettings, image_size: tuple[int, int], reason: str
) -> tuple[int, int]:
    """
    Return the size of the window, as asked for or as planned, and log it with the reasons.

    With it comes what it may become where windows turn out to take less time.

    A window that was asked for stays what is wanted, even if fewer views fit now: the pipeline
    makes windows smaller when it must, and larger again when it can. So it is with one that is
    planned where not even the least fits that can be joined.

    :param engine: that runs.
    :param settings: whose model is the engine's.
    :param image_size: height and width of the camera's images [px].
    :param reason: why this network runs.
    :raises MemoryBudgetError: if not even one view fits.
    """
    window = settings.window
    if not window.is_automatic and engine.device.type != 'cuda':
        _logger.info(
            '%s (%s) at %d px: windows of %d views, as asked for', settings.model.name, reason,
            settings.preprocess.size, window.size)
        return window.size, window.size
    started_s = time.monotonic()
    plan = engine.plan(*image_size, window_demand(settings))
    _logger.info(
        '%s, which keeps up with %.1f keyframes a second; planned in %.1f s; this variant: %s',
        plan, plan.sustained_hz, time.monotonic() - started_s, reason)
    if not window.is_automatic:
        return window.size, window.size
    if 0.0 < window.max_latency_s < plan.seconds:
        _logger.warning(
            'windows of %d views take %.1f s here, longer than window.max_latency_s %.1f s: '
            'a smaller preprocess.size or model makes them faster',
            plan.num_views, plan.seconds, window.max_latency_s)
    least = _least_views(settings)
    if plan.num_views < least:
        _logger.warning(
            'windows of %d views do not fit the memory now, %d do: smaller ones cannot be joined '
            'well, and run only until there is more', least, plan.num_views)
    num_views = max(plan.num_views, least)
    return num_views, max(num_views, min(plan.most_views, _MOST_GROWTH * num_views))


def window_demand(settings: NodeSettings) -> Demand:
    """
    Return what is wanted of windows.

    :param settings: whose model is known.
    """
    window = settings.window
    max_latency_s = window.max_latency_s or None
    if not window.is_automatic:
        return Demand(window.size, 1, max_latency_s)
    least = _least_views(settings)
    return Demand(
        0, 1, max_latency_s, floor_views=least,
        useful_views=max(MODELS[settings.model.name].useful_views, least))


def _least_views(settings: NodeSettings) -> int:
    """Return the fewest views that windows are planned with."""
    num_cameras = len(settings.camera.rig.cameras)
    if not MODELS[settings.model.name].has_cameras:
        # No view sees another: each instant alone comes out at once.
        return num_cameras
    return settings.window.least_views(num_cameras)
