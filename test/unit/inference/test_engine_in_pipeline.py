# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The real engine in the pipeline: in two stages, with live frames, as one that only infers."""

from dataclasses import replace
from types import SimpleNamespace

from da3_ros.inference import InferenceEngine
from da3_ros.mapping.config import FramesConfig, KeyframeConfig, PipelineConfig, WindowConfig
from da3_ros.mapping.device_stage import staged
from da3_ros.mapping.frame_stream import FrameStream
from da3_ros.mapping.pipeline import DepthPipeline
import numpy as np
from perfect_engine import frames
from reduced_networks import random_window

CONFIG = PipelineConfig(
    KeyframeConfig('time', 0.15), WindowConfig(4, 2, 2), frames=FramesConfig('all', context=2))


class Apart(InferenceEngine):
    """Works as on a GPU: windows are begun, and collected later."""

    works_apart = True


def run(engine, stream):
    """Return all that came out, and how many frames did not."""
    pipeline, selector = DepthPipeline(engine, CONFIG), FrameStream(CONFIG)
    out, num_lost = [], 0
    for frame in stream:
        taken = selector.take(frame)
        updates = [pipeline.begin(instant) for instant in taken.instants]
        updates += [pipeline.live(live) for live in taken.live]
        out += [keyframe for update in updates for keyframe in (*update.keyframes, *update.live)]
        num_lost += sum(len(update.dropped) for update in updates)
    return [*out, *pipeline.flush().keyframes], num_lost


def test_what_comes_out_is_that_of_an_engine_that_only_infers(networks):
    images = random_window(10, 56, 84)
    stream = [replace(frame, image=image, intrinsics=None)
              for frame, image in zip(frames(10), images, strict=True)]
    engine = Apart(networks('da3-small'), device='cpu', size=84)
    assert staged(engine) is engine
    plain = InferenceEngine(networks('da3-small'), device='cpu', size=84)
    ours, num_lost = run(engine, stream)
    theirs, num_lost_by_them = run(SimpleNamespace(infer=plain.infer), stream)
    assert [k.stamp_ns for k in ours] == [k.stamp_ns for k in theirs]
    assert num_lost == num_lost_by_them and len(ours) + num_lost == len(stream)
    assert any(keyframe.is_live for keyframe in ours)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.depth, other.depth, rtol=1e-4)
        np.testing.assert_allclose(one.odom_T_camera, other.odom_T_camera, atol=1e-4)
