# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Accuracy of the mapping layer: paths and depth against the truth, one row for a configuration.

Without options it makes the table of ``docs/benchmarks.md``, with the weights in the package.
``--engine truth`` answers with the true depth and cameras in a random frame and unit per window,
with noise and outliers: what is left is the fault of mapping.
"""

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
import hashlib
import json
import multiprocessing
from pathlib import Path
import sys
import time

import cv2
from da3_ros.inference.engine import InferenceEngine
from da3_ros.mapping.config import KeyframeConfig, LoopConfig, PipelineConfig, WindowConfig
from da3_ros.mapping.keyframe import WindowEngine
from da3_ros.model import build_network, load_weights, MODELS
from da3_ros.model.weights import find_weights
from da3_ros.simulation.curves import Motion
from streams import office, rendered, seven_scenes, Stream, tum
import torch
from trajectory_report import describe, plot, StreamRow, table
from trajectory_run import evaluate, record, Row
from truth_engine import Faults, TruthEngine

TRUTH = 'truth'
RECORDED = {'tum_fr3_17': tum, 'sevenscenes_100': seven_scenes, 'office_loop_237': office}


@dataclass(frozen=True)
class StreamResult:
    """
    What all configurations made of a stream.

    :param stream: what it is.
    :param rows: of the table.
    """

    stream: StreamRow
    rows: tuple[Row, ...]


def configurations(options: argparse.Namespace) -> Iterator[PipelineConfig]:
    """Make what ``--windows`` asks for: size/stride, with loops where that ends in /loops."""
    keyframe = KeyframeConfig(mode='motion' if options.select else 'time', min_interval_s=0.0)
    for text in options.windows:
        size, stride, *rest = text.split('/')
        yield PipelineConfig(
            keyframe=keyframe,
            window=WindowConfig(int(size), int(stride), min_views=min(3, int(size))),
            loop=LoopConfig(enabled=rest == ['loops']),
        )


def make_stream(name: str, options: argparse.Namespace) -> Stream:
    """Render or read a stream; ``+back`` behind a motion returns along the same path."""
    if name in RECORDED:
        return RECORDED[name](options.data / name)
    motion, _, way = name.partition('+')
    stream = rendered(Motion(motion), options.seed, options.frames, options.width)
    return stream.back_and_forth() if way == 'back' else stream


def make_engine(stream: Stream, options: argparse.Namespace) -> WindowEngine:
    """Load the network, or prepare the engine that knows the stream's truth."""
    if options.engine == TRUTH:
        faults = Faults(options.noise, options.outliers, options.camera_noise, options.drift,
                        options.metres)
        return TruthEngine(stream, faults, seed=options.seed)
    network = build_network(options.engine)
    load_weights(network, options.weights)
    return InferenceEngine(network, size=options.size, ref_view_strategy='middle')


def run_stream(name: str, options: argparse.Namespace) -> StreamResult:
    """Run all configurations over one stream, in a process of its own, on one core."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    stream = make_stream(name, options)
    outcomes = []
    for config in configurations(options):
        # A new engine each time: the truth's noise must be the same for all.
        recording = record(stream, make_engine(stream, options), config)
        outcomes.append(evaluate(stream, recording, config))
        sys.stderr.write(f'{name}: {outcomes[-1].row}\n')
    plot(stream, outcomes, options.out / f'{name}.png')
    return StreamResult(describe(stream), tuple(outcome.row for outcome in outcomes))


def run_all(options: argparse.Namespace) -> list[StreamResult]:
    """Run every stream that is there, the last one first."""
    names = []
    for name in options.streams:
        if name in RECORDED and not (options.data / name).is_dir():
            sys.stderr.write(f'{options.data / name} is absent: skipped\n')
        else:
            names.append(name)
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(options.processes, mp_context=context) as pool:
        futures = {name: pool.submit(run_stream, name, options) for name in reversed(names)}
        return [futures[name].result() for name in names]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--engine', default='da3-tiny', choices=[TRUTH, *MODELS])
    parser.add_argument('--weights', default=None, help='file, folder or hub id')
    parser.add_argument('--size', type=int, default=224, help='process resolution [px]')
    parser.add_argument(
        '--streams', nargs='+',
        default=['forward', 'turn', 'figure_eight', 'loop+back', *RECORDED],
        help='motions to render, or folders under --data')
    parser.add_argument('--data', type=Path, default=Path('../shared/data'))
    parser.add_argument('--frames', type=int, default=40, help='of a rendered stream')
    parser.add_argument('--width', type=int, default=224, help='of rendered images [px]')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--select', action='store_true', help='select keyframes by motion')
    parser.add_argument('--windows', nargs='+', help='size/stride or size/stride/loops',
                        default=['4/2', '8/4', '12/4', '16/8', '12/4/loops'])
    parser.add_argument('--noise', type=float, default=0.01, help='of the truth')
    parser.add_argument('--outliers', type=float, default=0.2, help='of the truth')
    parser.add_argument('--camera-noise', type=float, default=0.0, help='of the truth')
    parser.add_argument('--drift', type=float, default=0.0, help='of the truth')
    parser.add_argument('--metres', type=float, default=0.0, help='sigma of the truth')
    parser.add_argument('--processes', type=int, default=2)
    parser.add_argument('--out', type=Path, default=Path('out/trajectory'))
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything, print the tables, write JSON and plots."""
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    results = run_all(options)
    rows = [row for result in results for row in result.rows]
    (options.out / 'rows.json').write_text(json.dumps([asdict(row) for row in rows], indent=1))
    network = options.engine
    if options.engine != TRUTH:
        weights = find_weights(MODELS[options.engine], options.weights).read_bytes()
        checksum = hashlib.sha256(weights).hexdigest()
        network = f'{options.engine}, weights {checksum[:12]}, size {options.size}'
    sys.stdout.write('\n\n'.join([
        table([result.stream for result in results]), table(rows),
        f'{network}; {time.perf_counter() - started:.0f} s, {options.processes} processes\n',
    ]))
    return 0


if __name__ == '__main__':
    sys.exit(main())
