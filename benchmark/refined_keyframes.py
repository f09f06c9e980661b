# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
What it would gain to refine keyframes by every window that sees them.

With windows of 12 and a stride of 4 a keyframe is inferred three times. Its depth from the first
window, which is what the node uses, is compared with the mean of all, weighted by confidence, in
the frame that the windows were aligned to: relative error, and thickness of surfaces that several
keyframes see.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
import sys

import cv2
from da3_ros.geometry import camera, rigid
from da3_ros.geometry.arrays import Array
from da3_ros.inference.engine import InferenceEngine
from da3_ros.mapping.config import AlignmentConfig, ScaleConfig
from da3_ros.mapping.keyframe import Keyframe
from da3_ros.mapping.view import known_intrinsics, read_views
from da3_ros.mapping.world import World
from da3_ros.model import build_network, load_weights
from da3_ros.simulation.curves import Motion
import numpy as np
from numpy.typing import NDArray
from streams import rendered, Stream
from trajectory_metrics import align_trajectory, compare_depths
from trajectory_report import table

_SIZE, _STRIDE = 12, 4
# Surfaces are told apart by cubes of the truth that this many pixels fall into.
_CUBE_M = 0.1
_MIN_PIXELS = 50


@dataclass(frozen=True, eq=False)
class Sight:
    """
    A keyframe as one window saw it.

    :param depth: (H, W) in the unit of the map.
    :param weights: (H, W) confidence above none.
    :param map_T_camera: (4, 4).
    :param intrinsics: (3, 3) [px].
    """

    depth: NDArray[np.float32]
    weights: NDArray[np.float32]
    map_T_camera: Array
    intrinsics: Array


@dataclass(frozen=True)
class Row:
    """One line of the table: changes are those of all windows against the first one."""

    stream: str
    abs_rel_first: float
    abs_rel_all: float
    abs_rel_change_percent: float
    thickness_first_m: float
    thickness_all_m: float
    thickness_change_percent: float


def look(stream: Stream, engine: InferenceEngine) -> list[list[Sight]]:
    """Run all windows; return what they made of every keyframe, in the order of windows."""
    world = World(AlignmentConfig(), ScaleConfig(source='none'))
    keyframes = [Keyframe(i, frame) for i, frame in enumerate(stream.frames)]
    sights: list[list[Sight]] = [[] for _ in keyframes]
    for end in dict.fromkeys([3, *range(3 + _STRIDE, len(keyframes), _STRIDE), len(keyframes)]):
        part = keyframes[max(0, end - _SIZE):end]
        prediction = engine.infer(
            [keyframe.frame.image for keyframe in part], intrinsics=known_intrinsics(part))
        views = read_views(prediction, part)
        map_S_window = world.place(views, is_metric=False).map_S_window
        for view in views:
            assert view.confidence is not None and view.window_T_camera is not None
            sights[view.keyframe.id].append(Sight(
                view.depth * np.float32(map_S_window.scale),
                np.maximum(view.confidence - 1.0, 1e-3).astype(np.float32),
                map_S_window.transform_pose(view.window_T_camera), view.intrinsics))
    return sights


def fused(sights: Sequence[Sight]) -> Sight:
    """Weigh what all windows saw of a keyframe by confidence; the newest knows best where."""
    total = sum(sight.weights for sight in sights)
    logs = sum(sight.weights * np.log(sight.depth) for sight in sights)
    last = sights[-1]
    return Sight(np.exp(logs / total), last.weights, last.map_T_camera, last.intrinsics)


def errors(sights: Sequence[Sight], stream: Stream) -> tuple[float, float]:
    """Return the relative error of depth, and the median thickness of surfaces [m]."""
    assert stream.poses is not None
    depths = [
        cv2.resize(depth, sight.depth.shape[::-1], interpolation=cv2.INTER_NEAREST)
        for depth, sight in zip(stream.depths, sights, strict=True)]
    ratios = [depth / sight.depth for depth, sight in zip(depths, sights, strict=True)]
    factor = np.float32(np.nanmedian(np.concatenate([ratio.ravel() for ratio in ratios])))
    aligned = align_trajectory(np.stack([sight.map_T_camera for sight in sights]), stream.poses)
    cubes, off = [], []
    for sight, depth, pose, true_pose in zip(
            sights, depths, aligned, stream.poses, strict=True):
        true, seen = (
            rigid.transform_points(at, camera.unproject(z, sight.intrinsics).reshape(-1, 3))
            for at, z in ((true_pose, depth), (pose, factor * sight.depth)))
        known = np.isfinite(true).all(axis=1) & np.isfinite(seen).all(axis=1)
        true, seen = true[known], seen[known]
        rays = true - true_pose[:3, 3]
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        cubes.append(np.floor(true / _CUBE_M).astype(int))
        off.append(np.sum((seen - true) * rays, axis=1))
    _, cube, count = np.unique(
        np.concatenate(cubes), axis=0, return_inverse=True, return_counts=True)
    along = np.concatenate(off)
    mean = np.bincount(cube.ravel(), along) / count
    variance = np.bincount(cube.ravel(), np.square(along)) / count - np.square(mean)
    thickness = np.sqrt(np.median(variance[count > _MIN_PIXELS]))
    return compare_depths([sight.depth for sight in sights], depths).abs_rel, float(thickness)


def compare(stream: Stream, engine: InferenceEngine) -> Row:
    """Compare the first window's keyframes with those of all."""
    sights = look(stream, engine)
    first, first_m = errors([each[0] for each in sights], stream)
    refined, refined_m = errors([fused(each) for each in sights], stream)
    return Row(
        stream.name, first, refined, 100.0 * (refined / first - 1.0),
        first_m, refined_m, 100.0 * (refined_m / first_m - 1.0))


def main(arguments: Sequence[str] | None = None) -> int:
    """Render, run, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--motions', nargs='+', default=['forward', 'figure_eight', 'turn'])
    parser.add_argument('--seeds', type=int, nargs='+', default=[1, 2])
    parser.add_argument('--frames', type=int, default=40)
    parser.add_argument('--size', type=int, default=224, help='of images and process [px]')
    options = parser.parse_args(arguments)
    network = build_network('da3-tiny')
    load_weights(network, None)
    engine = InferenceEngine(network, size=options.size, ref_view_strategy='middle')
    rows = [compare(rendered(Motion(motion), seed, options.frames, options.size), engine)
            for motion in options.motions for seed in options.seeds]
    sys.stdout.write(table(rows) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
