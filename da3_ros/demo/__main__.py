# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""The demo's command: ``python -m da3_ros.demo --out out``."""

import argparse
from collections.abc import Sequence
import dataclasses
from pathlib import Path
import signal
import sys

from da3_ros.demo.film import Film
from da3_ros.demo.own_recording import process_own
from da3_ros.demo.run import DemoOptions, MODEL, run_demo
from da3_ros.demo.summary import Summary
from da3_ros.errors import Da3Error
from da3_ros.model import MODELS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit status."""
    parser = _build_parser()
    values, others = parser.parse_known_args(arguments)
    # A plain kill must end the processes of the demo too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if values.input is not None:
        return process_own(values.input, values.out, values.model, values.weights, others)
    if others:
        parser.error(f'unrecognized arguments: {" ".join(others)}')
    try:
        summary = run_demo(_options(values))
    except Da3Error as error:
        print(f'demo: FAILED: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('demo: interrupted', file=sys.stderr)
        return 130
    print(_headline(summary))
    return 0


def _headline(summary: Summary) -> str:
    stream = summary.stream
    return (
        f'{stream.keyframes_published} keyframes of {stream.frames_sent} images, '
        f'{stream.num_gone} lost or dropped; AbsRel {summary.depth.abs_rel:.3f}, '
        f'ATE {summary.trajectory.ate_rmse_m:.3f} m; weights: {summary.weights.source}')


def _build_parser() -> argparse.ArgumentParser:
    film = Film()
    parser = argparse.ArgumentParser(
        prog='da3_ros.demo', formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
        description='Render a film, replay it into the node, score what the node publishes. With '
        '--input: what comes of a film or a bag of your own.')
    parser.add_argument('--out', type=Path, default=Path('out'), help='folder for everything')
    parser.add_argument(
        '--input', type=Path, help='a film, a bag or a folder of images, without a node and '
        'without truth; options of "da3 process" may follow')
    parser.add_argument('--model', choices=sorted(MODELS), default=MODEL, help='network')
    parser.add_argument(
        '--weights', help='file, folder or hub id, or random; default: those of the package')
    parser.add_argument('--rate', type=float, default=1.0, help="replay, times the film's pace")
    parser.add_argument('--frames', type=int, default=film.num_frames, help='length of the film')
    parser.add_argument('--scene-seed', type=int, default=film.scene_seed, help='which scene')
    parser.add_argument('--path-seed', type=int, default=film.path_seed, help='which path')
    return parser


def _options(values: argparse.Namespace) -> DemoOptions:
    film = dataclasses.replace(
        Film(), num_frames=values.frames, scene_seed=values.scene_seed,
        path_seed=values.path_seed)
    return DemoOptions(values.out, film, values.rate, values.model, values.weights)


if __name__ == '__main__':
    sys.exit(main())
