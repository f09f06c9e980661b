# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Accuracy of weights on recorded scenes, window by window, beside what needs no network.

    PYTHONPATH=. python benchmark/accuracy.py --data FOLDER [--weights FILE] [--classical]

The floor is the answer that needs no eyes. The classical rows are told the camera's focal length;
they are OpenCV's two views, pair by pair, and COLMAP over each window (``pip install pycolmap``).
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
import importlib.util
import logging
from pathlib import Path

from classical import structure_from_motion, two_view_motions
from da3_ros.geometry.arrays import Array
from da3_ros.inference import InferenceEngine
from da3_ros.model import build_network, load_weights
import numpy as np
from recorded_windows import predict_windows, window_parts
from streams import seven_scenes, Stream, tum
import torch

from training.metrics import floor, score, score_motions, Scores, Truth

# The file beside the images of 7-Scenes has the focal length of its depth camera. This is the
# colour camera's, as COLMAP finds it from every second of the first 48 images.
_SEVEN_SCENES_FOCAL_PX = 549.0

_logger = logging.getLogger('benchmark')


@dataclass(frozen=True)
class Row:
    """
    A row of the table.

    :param name: of the scene and the method.
    :param num_windows: that were scored.
    :param scores: of them.
    """

    name: str
    num_windows: int
    scores: Scores

    def __str__(self) -> str:
        values = ' | '.join(
            f'{getattr(self.scores, field.name):.3g}' for field in fields(self.scores))
        return f'| {self.name} | {self.num_windows} | {values} |'


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description='Accuracy on recorded scenes.')
    parser.add_argument('--data', type=Path, required=True)
    parser.add_argument('--model', default='da3-tiny')
    parser.add_argument('--weights', type=Path, help='default: those in the package')
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--views', type=int, default=8)
    parser.add_argument('--classical', action='store_true', help='also OpenCV and COLMAP; minutes')
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    network = build_network(options.model)
    load_weights(network, options.weights)
    engine = InferenceEngine(network, size=options.size)
    names = [field.name for field in fields(Scores)]
    _logger.info('| scene | windows | %s |\n|---|---|%s', ' | '.join(names), '---|' * len(names))
    for name, read in (('sevenscenes_100', seven_scenes), ('tum_fr3_17', tum)):
        if (options.data / name).is_dir():
            for row in _rows(engine, read(options.data / name), options):
                _logger.info('%s', row)


def _rows(engine: InferenceEngine, stream: Stream, options: argparse.Namespace) -> Iterator[Row]:
    """Score all methods on the windows of a scene."""
    result = predict_windows(engine, stream, options.views)
    truth, count = result.truth, len(result.predictions)
    yield Row(f'{stream.name}: no motion, even depth', count, floor(truth))
    depths = np.stack([prediction.depth for prediction in result.predictions])
    poses = np.stack([_known(prediction.poses) for prediction in result.predictions])
    yield Row(f'{stream.name}: {options.model}', count, score(
        torch.from_numpy(depths), torch.from_numpy(poses), truth))
    if options.classical:
        yield from classical_rows(stream, truth, options.views)


def classical_rows(stream: Stream, truth: Truth, num_views: int) -> Iterator[Row]:
    """
    Score the classical methods; a camera that they do not place stays where the last one was.

    :param stream: of frames with intrinsics.
    :param truth: of its windows.
    :param num_views: of a window.
    """
    windows = [stream.frames[part] for part in window_parts(stream, num_views)]
    intrinsics = _intrinsics(stream)
    images = [[frame.image for frame in window] for window in windows]
    motions = np.stack([two_view_motions(window, intrinsics) for window in images])
    share = np.mean(np.linalg.norm(motions[..., 3], axis=-1) > 0)
    yield Row(f'{stream.name}: OpenCV, two views ({share:.0%} of the pairs)', len(windows),
              score_motions(torch.from_numpy(motions), truth))
    if importlib.util.find_spec('pycolmap') is None:
        _logger.warning('no COLMAP: pip install pycolmap')
        return
    placed = [structure_from_motion(window, intrinsics) for window in images]
    share = np.mean([pose is not None for window in placed for pose in window])
    poses = torch.from_numpy(np.stack([_filled(window) for window in placed]))
    scores = score(torch.ones_like(truth.depth), poses, truth)
    yield Row(f'{stream.name}: COLMAP ({share:.0%} of the images)', len(windows), replace(
        scores, abs_rel=float('nan'), delta=float('nan')))


def _filled(poses: list[Array | None]) -> Array:
    """Let cameras that were not placed stand where the one before did, or where the first does."""
    last = next((pose for pose in poses if pose is not None), np.eye(4))
    filled = []
    for pose in poses:
        last = last if pose is None else pose
        filled.append(last)
    return np.stack(filled)


def _intrinsics(stream: Stream) -> Array:
    intrinsics = _known(stream.frames[0].intrinsics).copy()
    if stream.name == '7-Scenes':
        intrinsics[(0, 1), (0, 1)] = _SEVEN_SCENES_FOCAL_PX
    return intrinsics


def _known(array: Array | None) -> Array:
    assert array is not None
    return array


if __name__ == '__main__':
    main()
