# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Live frames beside keyframes: depth, path and flicker of the same frames, inferred either way.

A camera drives through a rendered room and then stands. One run keeps every frame as a keyframe;
the others keep every fourth, and infer the rest live, with so many keyframes. Processor time is
counted, so that other work on the machine does not matter.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
import sys
import time

import cv2
from da3_ros.inference.engine import InferenceEngine
from da3_ros.mapping.config import (
    FramesConfig,
    KeyframeConfig,
    PipelineConfig,
    ScaleConfig,
    WindowConfig,
)
from da3_ros.mapping.frame_stream import FrameStream
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.model import build_network, load_weights
from da3_ros.simulation.curves import Motion
import numpy as np
from streams import rendered, Stream
import torch
from trajectory_metrics import compare_depths, compare_trajectories

_WIDTH, _SEED, _EVERY, _PERIOD_S = 320, 3, 4, 0.2
_WINDOW = WindowConfig(12, 4, 3)


def drive(num_frames: int, num_standing: int) -> Stream:
    """Render a drive, and then the last picture again and again, with other noise."""
    stream = rendered(Motion.ARC, _SEED, num_frames, _WIDTH)
    assert stream.poses is not None
    last = stream.frames[-1]
    noise = np.random.default_rng(_SEED)
    standing = [replace(
        last, stamp_ns=last.stamp_ns + (i + 1) * round(_PERIOD_S * 1e9),
        image=np.clip(last.image + noise.normal(0.0, 2.0, last.image.shape), 0, 255).astype(
            np.uint8)) for i in range(num_standing)]
    return Stream(
        stream.name, (*stream.frames, *standing),
        np.concatenate([stream.poses, np.tile(stream.poses[-1], (num_standing, 1, 1))]),
        (*stream.depths, *[stream.depths[-1]] * num_standing))


def run(
    stream: Stream, engine: InferenceEngine, context: int
) -> tuple[dict[int, PosedKeyframe], float]:
    """
    Return what came out by its stamp, and the processor's time for a live frame [s].

    :param context: keyframes of a live frame; 0: every frame is a keyframe.
    """
    interval_s = (_EVERY - 0.5) * _PERIOD_S if context else 0.0
    config = PipelineConfig(
        KeyframeConfig('time', interval_s), _WINDOW, scale=ScaleConfig('none'),
        frames=FramesConfig('all' if context else 'keyframes', context=context))
    pipeline, frames = DepthPipeline(engine, config), FrameStream(config)
    out: list[PosedKeyframe] = []
    spent_s = []
    for frame in stream.frames:
        taken = frames.take(frame)
        for instant in taken.instants:
            out += pipeline.add(instant).keyframes
        for live in taken.live:
            began_s = time.process_time()
            out += pipeline.live(live).live
            spent_s.append(time.process_time() - began_s)
    out += pipeline.flush().keyframes
    return {keyframe.stamp_ns: keyframe for keyframe in out}, float(np.median(spent_s or [0.0]))


def row(stream: Stream, found: dict[int, PosedKeyframe], stamps: Sequence[int]) -> str:
    """Compare some frames with the truth."""
    number = {frame.stamp_ns: i for i, frame in enumerate(stream.frames)}
    keyframes = [found[stamp] for stamp in stamps]
    true = [cv2.resize(stream.depths[number[stamp]], found[stamp].depth.shape[::-1],
                       interpolation=cv2.INTER_NEAREST) for stamp in stamps]
    depth = compare_depths([keyframe.depth for keyframe in keyframes], true)
    assert stream.poses is not None
    path = compare_trajectories(
        np.stack([keyframe.odom_T_camera for keyframe in keyframes]),
        stream.poses[[number[stamp] for stamp in stamps]], delta_m=0.5 * stream.length_m)
    still = [keyframe.depth for keyframe in keyframes
             if number[keyframe.stamp_ns] >= number[max(number)] - _num_standing(stream)]
    flicker = float(np.nanmedian(np.std(np.log(np.stack(still)), axis=0)))
    return (f'{100.0 * depth.abs_rel:.2f} | {100.0 * depth.scale_drift:.2f} | '
            f'{100.0 * path.ate_m:.1f} | {100.0 * flicker:.2f}')


def _num_standing(stream: Stream) -> int:
    """Return how many frames at the end show the same."""
    assert stream.poses is not None
    stands = np.all(stream.poses == stream.poses[-1], axis=(1, 2))
    return int(stands.sum()) - 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--frames', type=int, default=24, help='of the drive')
    parser.add_argument('--standing', type=int, default=8, help='frames after it')
    parser.add_argument('--size', type=int, default=252, help='process resolution [px]')
    parser.add_argument('--context', type=int, nargs='*', default=[1, 4, 8])
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    network = build_network('da3-tiny', device='meta')
    sys.stdout.write(f'{load_weights(network).sha256[:8]}, {options.size} px, one core\n')
    engine = InferenceEngine(network, size=options.size, device='cpu')
    stream = drive(options.frames, options.standing)
    runs = {context: run(stream, engine, context) for context in (0, *options.context)}
    # What all runs have: live in all but the first.
    common = sorted(set.intersection(*[
        {stamp for stamp, keyframe in found.items() if keyframe.is_live or not context}
        for context, (found, _) in runs.items()]))
    sys.stdout.write(
        f'{len(common)} frames\n| inferred | AbsRel % | drift of scale % | ATE cm | flicker % | '
        's of a core |\n|---|---|---|---|---|---|\n')
    for context, (found, spent_s) in runs.items():
        name = f'live, with {context} keyframes' if context else 'as keyframes'
        seconds = f'{spent_s:.2f}' if context else '-'
        sys.stdout.write(f'| {name} | {row(stream, found, common)} | {seconds} |\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
