# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Accuracy of weights on recorded scenes, window by window, against the answer that needs no eyes.

    PYTHONPATH=. python benchmark/accuracy.py --data FOLDER [--weights FILE] [--size 224]
"""

import argparse
from dataclasses import fields
import logging
from pathlib import Path
from typing import Any

import cv2
from da3_ros.inference import InferenceEngine
from da3_ros.model import build_network, load_weights
import numpy as np
from numpy.typing import NDArray
from streams import seven_scenes, Stream, tum
import torch
from torch import Tensor

from training.metrics import floor, score, Scores, Truth

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_logger = logging.getLogger('benchmark')


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description='Accuracy on recorded scenes.')
    parser.add_argument('--data', type=Path, required=True)
    parser.add_argument('--model', default='da3-tiny')
    parser.add_argument('--weights', type=Path, help='default: those in the package')
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--views', type=int, default=8)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    network = build_network(options.model)
    load_weights(network, options.weights)
    engine = InferenceEngine(network, size=options.size)
    names = [field.name for field in fields(Scores)]
    _logger.info('| scene | windows | %s |\n|---|---|%s', ' | '.join(names), '---|' * len(names))
    for name, read in (('sevenscenes_100', seven_scenes), ('tum_fr3_17', tum)):
        if (options.data / name).is_dir():
            _evaluate(engine, read(options.data / name), options.views)


def _evaluate(engine: InferenceEngine, stream: Stream, num_views: int) -> None:
    """Score windows of consecutive frames that do not overlap."""
    depths, poses, true_depths, true_poses = [], [], [], []
    for start in range(0, len(stream.frames) - num_views + 1, num_views):
        part = slice(start, start + num_views)
        prediction = engine.infer([frame.image for frame in stream.frames[part]])
        assert prediction.poses is not None
        depths.append(prediction.depth)
        poses.append(prediction.poses)
        true_depths.append(_truth_at(stream, part, prediction.depth.shape[1:]))
        true_poses.append(stream.poses[part])
    truth = Truth(_stack(true_depths), _stack(true_poses))
    for label, scores in (
        (f'{stream.name}: no motion, even depth', floor(truth)),
        (stream.name, score(_stack(depths), _stack(poses), truth)),
    ):
        values = ' | '.join(f'{getattr(scores, field.name):.3g}' for field in fields(scores))
        _logger.info('| %s | %d | %s |', label, len(depths), values)


def _truth_at(stream: Stream, part: slice, size: tuple[int, ...]) -> NDArray[np.float32]:
    """Return true depth at process resolution (N, H, W), infinite where it is not known."""
    if not stream.depths:
        return np.full((len(stream.frames[part]), *size), np.inf, dtype=np.float32)
    return np.stack([
        np.nan_to_num(
            cv2.resize(depth, (size[1], size[0]), interpolation=cv2.INTER_NEAREST), nan=np.inf)
        for depth in stream.depths[part]
    ])


def _stack(arrays: list[NDArray[Any]]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))


if __name__ == '__main__':
    main()
