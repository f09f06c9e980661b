# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
How far a network's confidence tells its errors: by tenths, and by threshold.

    PYTHONPATH=. python benchmark/confidence.py [--data FOLDER] [--weights FILE] [--windows 24]

Errors of depth are relative, after one scale per window. Rendered windows need a C++ compiler;
they also say how much of the sky, whose depth nobody knows, a threshold leaves.
"""

import argparse
from dataclasses import dataclass
import logging
from pathlib import Path
import tempfile

from da3_ros.geometry.arrays import Array
from da3_ros.inference import InferenceEngine, WindowPrediction
from da3_ros.model import build_network, load_weights
import numpy as np
from numpy.typing import NDArray
from recorded_windows import predict_windows
from streams import seven_scenes
import torch

from training.heldout import draw_held_out
from training.metrics import Truth
from training.renderer import HostRenderer
from training.targets import MAX_DEPTH_M

_NUM_VIEWS = 8
_RENDERED_SIZE = (168, 224)
_FAR_OFF = 0.25
_THRESHOLDS = (1.0, 1.05, 1.1, 1.2, 1.3, 1.5, 2.0, 3.0, 5.0)

_logger = logging.getLogger('benchmark')


@dataclass(frozen=True, eq=False)
class Pixels:
    """
    Pixels of many windows.

    :param confidence: (P,) of those whose true depth is known.
    :param error: (P,) their relative errors.
    :param sky: (Q,) confidence where there is nothing to be seen.
    """

    confidence: Array
    error: Array
    sky: Array


@dataclass(frozen=True)
class Group:
    """
    Errors of some pixels.

    :param lowest: confidence of them.
    :param highest: likewise.
    :param abs_rel: mean relative error.
    :param median: of it.
    :param far_off: share of pixels whose depth is wrong by more than a quarter.
    :param share: of all pixels whose depth is known.
    """

    lowest: float
    highest: float
    abs_rel: float
    median: float
    far_off: float
    share: float


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description='Confidence and errors.')
    parser.add_argument('--data', type=Path, help='folder of recorded scenes')
    parser.add_argument('--model', default='da3-tiny')
    parser.add_argument('--weights', type=Path, help='default: those in the package')
    parser.add_argument('--windows', type=int, default=24, help='rendered ones; 0 for none')
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    network = build_network(options.model)
    load_weights(network, options.weights)
    engine = InferenceEngine(network, size=224)
    if options.windows:
        report('rendered', rendered_pixels(engine, options.windows))
    if options.data is not None:
        result = predict_windows(
            engine, seven_scenes(options.data / 'sevenscenes_100'), _NUM_VIEWS)
        report('7-Scenes', compare(result.predictions, result.truth, has_sky=False))


def rendered_pixels(engine: InferenceEngine, num_windows: int) -> Pixels:
    """
    Run a network over held-out windows.

    :param engine: with its weights.
    :param num_windows: of eight views.
    """
    with tempfile.TemporaryDirectory() as folder:
        held_out = draw_held_out(
            HostRenderer(Path(folder)), num_windows, _NUM_VIEWS, _RENDERED_SIZE)
    images = held_out.images.permute(0, 1, 3, 4, 2).numpy()
    return compare(
        [engine.infer(list(window)) for window in images], held_out.truth, has_sky=True)


def compare(
    predictions: list[WindowPrediction] | tuple[WindowPrediction, ...], truth: Truth, *,
    has_sky: bool,
) -> Pixels:
    """
    Collect errors, after one scale per window.

    :param predictions: of S windows, with confidence.
    :param truth: of the same.
    :param has_sky: whether infinite truth means that there is nothing; else it is not known.
    """
    confidences, errors, skies = [], [], []
    for prediction, depth in zip(predictions, truth.depth.numpy(), strict=True):
        assert prediction.confidence is not None
        is_known = (depth > 0) & (depth < MAX_DEPTH_M)
        true = depth[is_known].astype(np.float64)
        found = prediction.depth[is_known].astype(np.float64)
        errors.append(np.abs(found * np.median(true / found) / true - 1.0))
        confidences.append(prediction.confidence[is_known])
        skies.append(prediction.confidence[np.isinf(depth) & has_sky])
    return Pixels(*(np.concatenate(x).astype(np.float64) for x in (confidences, errors, skies)))


def tenths(pixels: Pixels) -> list[Group]:
    """
    Sort pixels by confidence and cut them into ten groups of equal size, least confident first.

    :param pixels: at least ten.
    """
    order = np.argsort(pixels.confidence, kind='stable')
    return [_group(pixels, part) for part in np.array_split(order, 10)]


def kept(pixels: Pixels, threshold: float) -> Group:
    """
    Return what a threshold keeps, as ``depth.min_confidence`` does.

    :param pixels: of which some are kept.
    :param threshold: of the confidence.
    """
    return _group(pixels, np.flatnonzero(pixels.confidence >= threshold))


def _group(pixels: Pixels, part: NDArray[np.intp]) -> Group:
    confidence, error = pixels.confidence[part], pixels.error[part]
    return Group(
        float(confidence.min()), float(confidence.max()), float(error.mean()),
        float(np.median(error)), float((error > _FAR_OFF).mean()),
        len(part) / len(pixels.confidence))


def report(name: str, pixels: Pixels) -> None:
    """
    Log both tables.

    :param name: of the windows.
    :param pixels: of them.
    """
    _logger.info('\n| %s: tenth by confidence | confidence | AbsRel | median | off by > 25 %% |\n'
                 '|---|---|---|---|---|', name)
    for number, group in enumerate(tenths(pixels), start=1):
        _logger.info('| %d | %.2f to %.2f | %.3f | %.3f | %.1f %% |', number, group.lowest,
                     group.highest, group.abs_rel, group.median, 100 * group.far_off)
    _logger.info('\n| %s: min_confidence | kept | AbsRel | off by > 25 %% | sky kept |\n'
                 '|---|---|---|---|---|', name)
    for threshold in _THRESHOLDS:
        if not (pixels.confidence >= threshold).any():
            break
        group = kept(pixels, threshold)
        sky = (f'{np.mean(pixels.sky >= threshold):.1%}' if pixels.sky.size else '-')
        _logger.info('| %.2f | %.1f %% | %.3f | %.1f %% | %s |', threshold, 100 * group.share,
                     group.abs_rel, 100 * group.far_off, sky)


if __name__ == '__main__':
    torch.set_grad_enabled(False)
    main()
