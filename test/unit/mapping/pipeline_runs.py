# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Run a pipeline over a stream and collect what comes out."""

from da3_ros.geometry import robust
from da3_ros.mapping.config import KeyframeConfig, PipelineConfig
from da3_ros.mapping.frame_stream import FrameStream
import numpy as np
from perfect_engine import index_of

EVERY_FRAME = PipelineConfig(keyframe=KeyframeConfig(mode='time', min_interval_s=0.0))


def run(pipeline, frames):
    """Feed every frame, then flush; return the updates."""
    stream = FrameStream(pipeline.config)
    updates = []
    for frame in frames:
        updates += [pipeline.add(instant) for instant in stream.take(frame).instants]
    updates += [pipeline.add(instant) for instant in stream.release()]
    updates.append(pipeline.flush())
    return updates


def posed_keyframes(updates):
    """Return what came out, in order."""
    return [keyframe for update in updates for keyframe in update.keyframes]


def dropped_keyframes(updates):
    """Return what will never come out."""
    return [keyframe for update in updates for keyframe in update.dropped]


def reports(updates):
    """Return the reports of the windows."""
    return [window.report for window in windows(updates) if window.report is not None]


def windows(updates):
    """Return what windows changed, in order."""
    return [window for update in updates for window in update.windows]


def loops(updates):
    """Return the loops that were closed."""
    return [window.loop for window in windows(updates) if window.loop is not None]


def indices(keyframes):
    """Return the indices that the images of posed keyframes carry."""
    return [index_of(keyframe.image) for keyframe in keyframes]


def published_scale(keyframe, engine):
    """Return published length over true length."""
    true = engine.room.depth(engine.poses[keyframe.id])
    ratio = np.log(keyframe.depth / true).ravel()
    # Not the median, which the outliers (all too far) would move.
    return float(np.exp(robust.location(ratio, np.ones(ratio.size), min_sigma=1e-6).centre))
