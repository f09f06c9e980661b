# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
How well places are found again by what they look like: network against gradient histograms.

A place is what one window brings: four keyframes. Each place is compared with all that are long
past. In rendered rooms, which a camera drives through three times, a place was seen before if the
true depth says so; in the recorded office only the last steps return, along the first ones.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
import sys

import cv2
from da3_ros.inference.engine import InferenceEngine
from da3_ros.mapping.config import LoopConfig
from da3_ros.mapping.covisibility import shared_share
from da3_ros.mapping.keyframe import Frame, Keyframe
from da3_ros.mapping.place import similarity
from da3_ros.mapping.samples import sample_view
from da3_ros.mapping.view import View
from da3_ros.model import build_network, load_weights, MODELS
from da3_ros.simulation.curves import Motion
from da3_ros.simulation.generator import generate_scene, Place
from da3_ros.simulation.lens import Lens
from da3_ros.simulation.sensor import capture, Sensor
from da3_ros.simulation.trajectory import PathLimits, plan_path
import numpy as np
from numpy.typing import NDArray
from streams import office, OFFICE_SAME_PLACE
import torch
from trajectory_report import table

_STRIDE = 4
_FRAMES_PER_DRIVE = 24
_DRIVES = (Motion.LOOP, Motion.ARC, Motion.LOOP)
_THRESHOLDS = (0.4, 0.5, 0.6)
# Of the office: images at most so far from the one that matches best still show the same, from
# the one on that sees the beginning again.
_OFFICE_REACH = 8
_OFFICE_RETURN = 226

Image = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Walk:
    """
    Places in order.

    :param name: for the table.
    :param images: of all keyframes.
    :param gap: places between one and its return.
    :param is_same: (P, P) whether two places show the same.
    """

    name: str
    images: tuple[Image, ...]
    gap: int
    is_same: NDArray[np.bool_]


@dataclass(frozen=True)
class Row:
    """One line of the table: shares at three thresholds of ``loop.min_similarity``."""

    walk: str
    by: str
    places: int
    returns: int
    best_is_right: float
    precision_40: float
    recall_40: float
    precision_50: float
    recall_50: float
    precision_60: float
    recall_60: float


def gradients(image: Image) -> NDArray[np.float32]:
    """Give histograms of gradient directions in 6x8 cells (Dalal and Triggs, CVPR 2005)."""
    gray = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (96, 72),
                      interpolation=cv2.INTER_AREA)
    x, y = cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)
    direction = np.mod(np.arctan2(y, x), np.pi) * (8.0 / np.pi)
    strength = np.sqrt(np.hypot(x, y))
    distance = np.abs(np.mod(direction[None] - np.arange(8.0)[:, None, None] + 4.0, 8.0) - 4.0)
    votes = strength * np.maximum(1.0 - distance, 0.0)
    cells = [cv2.resize(vote, (8, 6), interpolation=cv2.INTER_AREA) for vote in votes]
    return np.stack(cells).ravel().astype(np.float32)


def room(seed: int, width: int) -> Walk:
    """Drive through a rendered room three times."""
    scene = generate_scene(seed, Place.ROOM)
    lens = Lens(width, width * 3 // 4, 75.0)
    views = []
    for drive, motion in enumerate(_DRIVES):
        path = plan_path(scene, 10 * seed + drive, motion=motion, num_frames=_FRAMES_PER_DRIVE,
                         rate_hz=2.0, limits=PathLimits(num_pauses=0))
        for i, pose in enumerate(path.world_T_camera):
            shot = capture(scene, lens, path, i, sensor=Sensor(num_samples=1), seed=seed)
            keyframe = Keyframe(len(views), Frame(len(views), shot.image, lens.intrinsics))
            depth = np.where(np.isfinite(shot.depth), shot.depth, np.nan).astype(np.float32)
            views.append(View(keyframe, shot.image, depth, None, lens.intrinsics, pose, None))
    samples = [sample_view(view, 400) for view in views]
    shares = np.array([
        [shared_share(seen, by, sample) for by in views]
        for seen, sample in zip(views, samples, strict=True)
    ])
    num_places = len(views) // _STRIDE
    best = shares.reshape(num_places, _STRIDE, num_places, _STRIDE).max(axis=(1, 3))
    return Walk(
        f'room {seed}', tuple(view.image for view in views), _FRAMES_PER_DRIVE // _STRIDE,
        best >= LoopConfig().min_overlap,
    )


def office_walk(folder: Path) -> Walk:
    """Read the walk through the office."""
    images = tuple(frame.image for frame in office(folder, every=1).frames)
    first, second = OFFICE_SAME_PLACE
    num_places = len(images) // _STRIDE
    number = np.arange(num_places * _STRIDE)
    offset = number[:, None] - number[None] - (second - first)
    is_same = (np.abs(offset) <= _OFFICE_REACH) & (number[:, None] >= _OFFICE_RETURN)
    is_same = is_same.reshape(num_places, _STRIDE, num_places, _STRIDE).any(axis=(1, 3))
    return Walk('office', images, LoopConfig().min_gap // _STRIDE, is_same)


def score(walk: Walk, by: str, describe: Callable[[Image], NDArray[np.float32]]) -> Row:
    """Find the best earlier place of each, and compare with the truth."""
    appearance = np.stack([describe(image) for image in walk.images])
    num_places = len(walk.is_same)
    places = [appearance[_STRIDE * i:_STRIDE * (i + 1)] for i in range(num_places)]
    similarities, is_right, has_returned = [], [], []
    for new in range(walk.gap, num_places):
        earlier = new - walk.gap + 1
        alike = similarity(places[new], places[:earlier])
        similarities.append(alike.max())
        is_right.append(walk.is_same[new, int(np.argmax(alike))])
        has_returned.append(walk.is_same[new, :earlier].any())
    right, returns = np.array(is_right), int(np.sum(has_returned))
    shares = []
    for threshold in _THRESHOLDS:
        tried = np.array(similarities) >= threshold
        shares += [float(np.sum(right & tried) / max(tried.sum(), 1)),
                   float(np.sum(right & tried) / returns)]
    return Row(walk.name, by, len(right), returns, float(right.sum() / returns), *shares)


def walks(options: argparse.Namespace) -> Iterator[Walk]:
    """Make the walks, one at a time."""
    for seed in options.rooms:
        yield room(seed, options.width)
    folder = options.data / 'office_loop_237'
    if folder.is_dir():
        yield office_walk(folder)
    else:
        sys.stderr.write(f'{folder} is absent: skipped\n')


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--engine', default='da3-tiny', choices=list(MODELS))
    parser.add_argument('--weights', default=None, help='file, folder or hub id')
    parser.add_argument('--size', type=int, default=224, help='process resolution [px]')
    parser.add_argument('--rooms', nargs='*', type=int, default=[11, 12, 13, 14], help='seeds')
    parser.add_argument('--width', type=int, default=224, help='of rendered images [px]')
    parser.add_argument('--data', type=Path, default=Path('../shared/data'))
    options = parser.parse_args(arguments)
    # Single views: more threads would only wait for each other.
    torch.set_num_threads(1)
    network = build_network(options.engine)
    load_weights(network, options.weights)
    engine = InferenceEngine(network, size=options.size)

    def pooled(image: Image) -> NDArray[np.float32]:
        appearance = engine.infer([image]).appearance
        assert appearance is not None
        return appearance[0]

    rows = []
    for walk in walks(options):
        rows += [score(walk, 'gradients', gradients), score(walk, options.engine, pooled)]
    sys.stdout.write(table(rows) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
