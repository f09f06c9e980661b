# Copyright 2026 The da3_ros authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""
Accuracy of the mapping layer: paths and depth against the truth, one row for a configuration.

``--engine truth`` answers with the true depth and cameras in a random frame and unit per window,
with noise and outliers: what is left is the fault of mapping. The name of a variant runs that
network, with ``--weights``.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
import itertools
import json
from pathlib import Path
import sys
import time

import cv2
from da3_ros.inference.engine import InferenceEngine
from da3_ros.mapping.config import (
    KeyframeConfig,
    LoopConfig,
    PipelineConfig,
    WindowConfig,
)
from da3_ros.mapping.keyframe import PosedKeyframe, WindowEngine
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.mapping.update import PipelineUpdate
from da3_ros.model import build_network, load_weights, MODELS
from da3_ros.simulation.curves import Motion
from matplotlib import pyplot
import numpy as np
from numpy.typing import NDArray
from streams import rendered, seven_scenes, Stream, tum
from trajectory_metrics import align_trajectory, compare_depths, compare_trajectories
from truth_engine import Faults, TruthEngine

TRUTH = 'truth'
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Recording:
    """
    What a pipeline made of a stream.

    :param keyframes: all of them, in order.
    :param map_poses: (K, 4, 4) of the keyframes, each with the best correction known at the end.
    :param num_segments: pieces of world that could not be joined.
    :param num_loops: loops closed.
    :param seconds: of the whole run.
    """

    keyframes: tuple[PosedKeyframe, ...]
    map_poses: Array
    num_segments: int
    num_loops: int
    seconds: float


@dataclass(frozen=True)
class Row:
    """One line of the table; lengths in metres after one similarity for the whole path."""

    stream: str
    size: int
    stride: int
    loops: bool
    path_m: float
    ate_m: float
    ate_percent: float
    rpe_m: float
    rpe_deg: float
    abs_rel: float
    delta_1_25: float
    scale_drift: float
    keyframes: int
    segments: int
    closed: int
    s_per_keyframe: float


def record(stream: Stream, engine: WindowEngine, config: PipelineConfig) -> Recording:
    """Run a stream through a pipeline."""
    pipeline = DepthPipeline(engine, config)
    started = time.perf_counter()
    updates = []
    for frame in stream.frames:
        keyframe = pipeline.select(frame)
        if keyframe is not None:
            updates += [pipeline.add(keyframe), pipeline.close_loops()]
    updates += [pipeline.flush(), pipeline.close_loops()]
    return Recording(
        tuple(keyframe for update in updates for keyframe in update.keyframes),
        _map_poses(updates),
        len({keyframe.segment for update in updates for keyframe in update.keyframes}),
        sum(update.loop is not None for update in updates),
        time.perf_counter() - started,
    )


def _map_poses(updates: Sequence[PipelineUpdate]) -> Array:
    """Correct every keyframe by the last loop that remembers it, else as it was published."""
    poses = {
        keyframe.id: update.map_T_odom @ keyframe.odom_T_camera
        for update in updates for keyframe in update.keyframes
    }
    last = next((update.loop for update in reversed(updates) if update.loop is not None), None)
    for pose in () if last is None else last.path:
        poses[pose.id] = pose.map_T_camera
    return np.stack(list(poses.values()))


def evaluate(stream: Stream, recording: Recording, config: PipelineConfig) -> Row:
    """Compare a recording with the truth."""
    number = {frame.stamp_ns: i for i, frame in enumerate(stream.frames)}
    numbers = [number[keyframe.stamp_ns] for keyframe in recording.keyframes]
    path = compare_trajectories(recording.map_poses, stream.poses[numbers])
    depth = None
    if stream.depths:
        true_depths = [
            _resized(stream.depths[i], keyframe)
            for i, keyframe in zip(numbers, recording.keyframes, strict=True)
        ]
        depth = compare_depths([keyframe.depth for keyframe in recording.keyframes], true_depths)
    count = len(recording.keyframes)
    return Row(
        stream.name, config.window.size, config.window.stride, config.loop.enabled,
        stream.length_m, path.ate_m, 100.0 * path.ate_m / stream.length_m, path.rpe_m,
        path.rpe_deg,
        *((float('nan'),) * 3 if depth is None else
          (depth.abs_rel, depth.delta_1_25, depth.scale_drift)),
        count, recording.num_segments, recording.num_loops, recording.seconds / count,
    )


def _resized(depth: NDArray[np.float32], keyframe: PosedKeyframe) -> NDArray[np.float32]:
    height, width = keyframe.depth.shape
    return cv2.resize(depth, (width, height), interpolation=cv2.INTER_NEAREST)


def streams(options: argparse.Namespace) -> Iterator[Stream]:
    """Make the streams that were asked for, one at a time."""
    for motion in options.motions:
        stream = rendered(Motion(motion), options.seed, options.frames, options.width)
        yield stream.back_and_forth() if options.back else stream
    readers = {'sevenscenes_100': seven_scenes, 'tum_fr3_17': tum}
    for name in options.recorded:
        folder = options.data / name
        if folder.is_dir():
            yield readers[name](folder)
        else:
            sys.stderr.write(f'{folder} is absent: skipped\n')


def engine_maker(options: argparse.Namespace) -> Callable[[Stream], WindowEngine]:
    """Return what makes the engine for a stream; a network is loaded once."""
    if options.engine == TRUTH:
        faults = Faults(options.noise, options.outliers, options.camera_noise, options.drift)
        return lambda stream: TruthEngine(stream, faults, seed=options.seed)
    network = build_network(options.engine)
    load_weights(network, options.weights)
    engine = InferenceEngine(network, size=options.size, ref_view_strategy='middle')
    return lambda _: engine


def configurations(options: argparse.Namespace) -> Iterator[PipelineConfig]:
    """Make every combination of window size, stride and loops that makes sense."""
    keyframe = KeyframeConfig(mode='motion' if options.select else 'time', min_interval_s=0.0)
    for size, stride, loops in itertools.product(options.sizes, options.strides, options.loops):
        if stride < size:
            yield PipelineConfig(
                keyframe=keyframe,
                window=WindowConfig(size=size, stride=stride, min_views=min(3, size)),
                loop=LoopConfig(enabled=loops == 'on'),
            )


def table(rows: Sequence[Row]) -> str:
    """Write a table in Markdown."""
    names = [name.replace('_', ' ') for name in Row.__dataclass_fields__]
    lines = ['| ' + ' | '.join(names) + ' |', '|---' * len(names) + '|']
    for row in rows:
        cells = [
            f'{value:.4g}' if isinstance(value, float) else str(value)
            for value in asdict(row).values()
        ]
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def plot(stream: Stream, recordings: Sequence[tuple[Row, Recording]], path: Path) -> None:
    """Draw the paths of a stream from above."""
    figure, axes = pyplot.subplots(figsize=(6.0, 6.0))
    axes.plot(*stream.poses[:, :2, 3].T, color='black', label='truth')
    number = {frame.stamp_ns: i for i, frame in enumerate(stream.frames)}
    for row, recording in recordings:
        true = stream.poses[[number[keyframe.stamp_ns] for keyframe in recording.keyframes]]
        aligned = align_trajectory(recording.map_poses, true)
        loops = ', loops' if row.loops else ''
        axes.plot(*aligned[:, :2, 3].T, label=f'{row.size} views, stride {row.stride}{loops}')
    axes.set(xlabel='x [m]', ylabel='y [m]', title=stream.name, aspect='equal')
    axes.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--engine', default=TRUTH, choices=[TRUTH, *MODELS])
    parser.add_argument('--weights', default=None, help='file, folder or hub id')
    parser.add_argument('--size', type=int, default=504, help='process resolution [px]')
    parser.add_argument('--motions', nargs='*', default=['forward', 'sideways', 'turn', 'loop'],
                        choices=[motion.value for motion in Motion])
    parser.add_argument('--recorded', nargs='*', default=[],
                        choices=['sevenscenes_100', 'tum_fr3_17'])
    parser.add_argument('--data', type=Path, default=Path('../shared/data'))
    parser.add_argument('--frames', type=int, default=100)
    parser.add_argument('--width', type=int, default=168, help='of rendered images [px]')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--back', action='store_true', help='return along the same path')
    parser.add_argument('--select', action='store_true', help='select keyframes by motion')
    parser.add_argument('--sizes', nargs='+', type=int, default=[12])
    parser.add_argument('--strides', nargs='+', type=int, default=[4])
    parser.add_argument('--loops', nargs='+', default=['off'], choices=['off', 'on'])
    parser.add_argument('--noise', type=float, default=0.01)
    parser.add_argument('--outliers', type=float, default=0.2)
    parser.add_argument('--camera-noise', type=float, default=0.0)
    parser.add_argument('--drift', type=float, default=0.0)
    parser.add_argument('--out', type=Path, default=Path('out/trajectory'))
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything, print the table, write JSON and plots."""
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    make_engine = engine_maker(options)
    rows = []
    for stream in streams(options):
        recordings = []
        for config in configurations(options):
            recording = record(stream, make_engine(stream), config)
            recordings.append((evaluate(stream, recording, config), recording))
        plot(stream, recordings, options.out / f'{stream.name.replace(" ", "_")}.png')
        rows += [row for row, _ in recordings]
        (options.out / 'rows.json').write_text(json.dumps([asdict(row) for row in rows], indent=1))
    sys.stdout.write(table(rows) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
