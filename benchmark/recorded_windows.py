# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Windows of consecutive frames of a recorded scene, with their truth at the network's size."""

from dataclasses import dataclass

import cv2
from da3_ros.inference import InferenceEngine, WindowPrediction
import numpy as np
from numpy.typing import NDArray
from streams import Stream
import torch

from training.metrics import Truth


@dataclass(frozen=True, eq=False)
class Predictions:
    """
    What a network made of the windows of a scene.

    :param predictions: of S windows.
    :param truth: of the same.
    """

    predictions: tuple[WindowPrediction, ...]
    truth: Truth


def window_parts(stream: Stream, num_views: int) -> list[slice]:
    """
    Cut a stream into windows that do not overlap; what is left over at its end is not used.

    :param stream: of frames.
    :param num_views: of a window.
    """
    return [slice(start, start + num_views)
            for start in range(0, len(stream.frames) - num_views + 1, num_views)]


def predict_windows(engine: InferenceEngine, stream: Stream, num_views: int) -> Predictions:
    """
    Run a network over the windows of a scene.

    :param engine: with its weights.
    :param stream: with true poses.
    :param num_views: of a window.
    """
    parts = window_parts(stream, num_views)
    predictions = tuple(
        engine.infer([frame.image for frame in stream.frames[part]]) for part in parts)
    assert stream.poses is not None
    depths = [_truth_at(stream, part, prediction.depth.shape[1:])
              for part, prediction in zip(parts, predictions, strict=True)]
    poses = [stream.poses[part] for part in parts]
    return Predictions(predictions, Truth(
        torch.from_numpy(np.stack(depths)), torch.from_numpy(np.stack(poses))))


def _truth_at(stream: Stream, part: slice, size: tuple[int, ...]) -> NDArray[np.float32]:
    """Return true depth at process resolution (N, H, W), infinite where it is not known."""
    if not stream.depths:
        return np.full((len(stream.frames[part]), *size), np.inf, dtype=np.float32)
    return np.stack([
        np.nan_to_num(
            cv2.resize(depth, (size[1], size[0]), interpolation=cv2.INTER_NEAREST), nan=np.inf)
        for depth in stream.depths[part]
    ])
