# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The pipeline on an engine of your own: whatever has ``infer`` gives posed depth."""

from da3_ros.inference import WindowPrediction
from da3_ros.mapping.config import KeyframeConfig, PipelineConfig
from da3_ros.mapping.frame_stream import FrameStream
from da3_ros.mapping.keyframe import Frame
from da3_ros.mapping.pipeline import DepthPipeline
import numpy as np


class Wall:
    """Sees a wall two units ahead, from where the brightness of the image says."""

    def infer(self, images, *, poses=None, intrinsics=None):
        """Infer a window; ``poses`` come with ``scale.source: pose`` only."""
        del poses, intrinsics
        images = np.stack(images)
        num_views, height, width, _ = images.shape
        k = np.array([[width, 0.0, width / 2], [0.0, width, height / 2], [0.0, 0.0, 1.0]])
        world_T_camera = np.tile(np.eye(4), (num_views, 1, 1))
        world_T_camera[:, 0, 3] = images.mean(axis=(1, 2, 3)) / 50.0
        return WindowPrediction(
            images, np.full((num_views, height, width), 2.0, np.float32), None, None,
            np.tile(k, (num_views, 1, 1)), world_T_camera)


config = PipelineConfig(keyframe=KeyframeConfig(mode='time', min_interval_s=0.0))
stream, pipeline = FrameStream(config), DepthPipeline(Wall(), config)
updates = []
for number in range(10):
    frame = Frame(stamp_ns=number * 10**8, image=np.full((28, 42, 3), 10 * number, np.uint8))
    updates += [pipeline.add(instant) for instant in stream.take(frame).instants]
updates.append(pipeline.flush())
for update in updates:
    for keyframe in update.keyframes:
        print(keyframe.stamp_ns, *keyframe.odom_T_camera[:3, 3].round(3))
