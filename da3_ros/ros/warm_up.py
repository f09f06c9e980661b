# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
The beginning of a stream, before there is one.

A GPU runs a window of a size it has not seen kernel by kernel, and records its work the second
time. What the first session would wait for is done here, by the stream's own windows.
"""

from collections.abc import Iterator
from dataclasses import replace
import logging

from da3_ros.errors import Da3Error
from da3_ros.mapping.config import PipelineConfig
from da3_ros.mapping.device_stage import DeviceStage, StagedEngine
from da3_ros.mapping.keyframe import Frame, Keyframe
from da3_ros.mapping.live import live_window, LivePace
from da3_ros.mapping.window import SlidingWindow, Window
import numpy as np
from numpy.typing import NDArray

_logger = logging.getLogger(__name__)

# Run as it is, recorded, run as recorded.
_NUM_SESSIONS = 3
# Where a window grows in more steps than this, those on the way are not worth their time.
_MOST_STEPS = 6
# By which poses that are given hold motion.
_STEP_M = 1.0


def warm_up(
    engine: StagedEngine, config: PipelineConfig, image_size: tuple[int, int], *, most_views: int
) -> None:
    """
    Run the windows of a few short sessions, and live frames where they are wanted.

    :param engine: that will run the stream's.
    :param config: of the stream.
    :param image_size: height and width of the images [px].
    :param most_views: larger windows are not run, since nothing is recorded of them.
    """
    stage = DeviceStage(engine, config.scale)
    try:
        for _ in range(_NUM_SESSIONS):
            for window in _windows(config, image_size):
                if len(window.keyframes) <= most_views:
                    stage.begin(window)
                    stage.finish()
    except Da3Error as error:
        # The stream makes do with less, and says so.
        _logger.info('not warmed up: %s', str(error))


def _windows(config: PipelineConfig, image_size: tuple[int, int]) -> Iterator[Window]:
    """Give the windows of a session up to the first full one, and one more."""
    size = config.window.planned_views
    window = replace(config.window, size=size, first_views=0)
    num_new = window.stride * window.num_cameras
    if window.is_chained and (size - window.min_views) > _MOST_STEPS * num_new:
        window = replace(window, min_views=size)
    sliding = SlidingWindow(window)
    images = np.zeros((size + 2 * num_new, *image_size, 3), np.uint8)
    for number, image in enumerate(images):
        sliding.add(_keyframe(number, image, instant=number // window.num_cameras))
        is_whole = (number + 1) % window.num_cameras == 0
        if is_whole and sliding.is_due:
            proposed = sliding.propose(size)
            sliding.complete(proposed)
            yield proposed
    if config.frames.is_live:
        context = sliding.newest(LivePace(config.frames, config.window).num_context)
        yield live_window(context, _keyframe(-1, np.zeros_like(images[0])))


def _keyframe(
    number: int, image: NDArray[np.uint8], *, instant: int | None = None
) -> Keyframe:
    """Return a keyframe of a camera that moves on."""
    height, width = image.shape[:2]
    intrinsics = np.array([[width, 0.0, width / 2], [0.0, width, height / 2], [0.0, 0.0, 1.0]])
    robot_T_camera = np.eye(4)
    robot_T_camera[0, 3] = _STEP_M * number
    return Keyframe(number, Frame(
        number, image, intrinsics=intrinsics, robot_T_camera=robot_T_camera), instant)
