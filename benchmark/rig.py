# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Several cameras of one robot in a rendered room: one world, and metres from their known distances.

The cameras look apart and at slightly different times; the network sees every instant jointly.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
import sys

import cv2
from da3_ros.geometry import rigid
from da3_ros.geometry.arrays import Array
from da3_ros.inference.engine import InferenceEngine
from da3_ros.mapping.config import (
    KeyframeConfig,
    PipelineConfig,
    RigConfig,
    ScaleConfig,
    WindowConfig,
)
from da3_ros.mapping.frame_stream import FrameStream
from da3_ros.mapping.keyframe import Frame, PosedKeyframe
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.model import build_network, load_weights, MODELS
from da3_ros.simulation.curves import Motion
from da3_ros.simulation.generator import generate_scene, Place
from da3_ros.simulation.lens import Lens
from da3_ros.simulation.sensor import capture, Sensor
from da3_ros.simulation.trajectory import PathLimits, plan_path, Trajectory
import numpy as np
from numpy.typing import NDArray
import torch
from trajectory_metrics import align_trajectory, compare_depths
from trajectory_report import table

_RATE_HZ = 4.0
# Free-running cameras.
_OFFSETS_S = (0.0, 0.012, -0.02)
# Keyframes of the first windows, in which the filter settles.
_SETTLING = 18


@dataclass(frozen=True, eq=False)
class Shots:
    """
    What the cameras saw, in the order of their stamps.

    :param frames: with the cameras' mountings.
    :param poses: (N, 4, 4) world_T_camera [m].
    :param depths: N images (H, W) float32 [m], NaN where unknown.
    """

    frames: tuple[Frame, ...]
    poses: Array
    depths: tuple[NDArray[np.float32], ...]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    rig: str
    motion: str
    views: int
    ate_percent: float
    abs_rel: float
    metres_percent: float
    spread_percent: float
    claimed: int
    segments: int


def mounts(count: int, baseline_m: float, turn_deg: float) -> list[Array]:
    """Give base_T_camera of cameras side by side that look apart; the first looks ahead."""
    poses = []
    for i in range(count):
        side = (-1) ** i * ((i + 1) // 2)
        angle = np.radians(turn_deg * side)
        turn = np.array([[np.cos(angle), 0.0, np.sin(angle)], [0.0, 1.0, 0.0],
                         [-np.sin(angle), 0.0, np.cos(angle)]])
        poses.append(rigid.from_rotation_translation(turn, np.array([baseline_m * side, 0, 0])))
    return poses


def shoot(
    motion: Motion, seed: int, base_T_cameras: Sequence[Array], num: int, width: int
) -> Shots:
    """Render a drive through a room, as all cameras see it."""
    scene = generate_scene(seed, Place.ROOM)
    lens = Lens(width, width * 3 // 4, 75.0)
    path = plan_path(scene, seed, motion=motion, num_frames=num, rate_hz=_RATE_HZ,
                     limits=PathLimits(speed_m_s=0.5, clearance_m=0.5, num_pauses=0))
    taken = []
    for number, base_T_camera in enumerate(base_T_cameras):
        time_s = path.time_s + _OFFSETS_S[number]
        poses = np.stack([path.pose_at(t) @ base_T_camera for t in time_s])
        for i in range(num):
            shot = capture(scene, lens, Trajectory(time_s, poses), i,
                           sensor=Sensor(num_samples=1), seed=seed + number)
            frame = Frame(round(1e9 * (1.0 + time_s[i])), shot.image, lens.intrinsics,
                          camera=str(number), base_T_camera=base_T_camera)
            taken.append((frame, poses[i], shot.depth))
    taken.sort(key=lambda each: each[0].stamp_ns)
    depths = tuple(np.where(np.isfinite(depth), depth, np.nan) for _, _, depth in taken)
    return Shots(tuple(frame for frame, _, _ in taken), np.stack([p for _, p, _ in taken]), depths)


def run(shots: Shots, engine: InferenceEngine, num_cameras: int) -> tuple[PosedKeyframe, ...]:
    """Run a pipeline over all frames."""
    window = WindowConfig(size=12, stride=max(1, 6 // num_cameras), min_views=6,
                          num_cameras=num_cameras)
    config = PipelineConfig(
        KeyframeConfig(mode='time', min_interval_s=0.0), window,
        scale=ScaleConfig(source='rig' if num_cameras > 1 else 'none'),
        rig=RigConfig(tuple(map(str, range(num_cameras)))))
    pipeline, stream = DepthPipeline(engine, config), FrameStream(config)
    keyframes: list[PosedKeyframe] = []
    for frame in shots.frames:
        for instant in stream.take(frame).instants:
            keyframes += pipeline.add(instant).keyframes
    for instant in stream.release():
        keyframes += pipeline.add(instant).keyframes
    return (*keyframes, *pipeline.flush().keyframes)


def evaluate(rig: str, motion: str, shots: Shots, keyframes: Sequence[PosedKeyframe]) -> Row:
    """Compare with the truth."""
    number = {(f.camera, f.stamp_ns): i for i, f in enumerate(shots.frames)}
    numbers = [number[k.camera, k.stamp_ns] for k in keyframes]
    true = shots.poses[numbers]
    aligned = align_trajectory(np.stack([k.odom_T_camera for k in keyframes]), true)
    ate_m = np.sqrt(np.square(aligned[:, :3, 3] - true[:, :3, 3]).sum(axis=1).mean())
    length_m = np.linalg.norm(np.diff(true[:, :3, 3], axis=0), axis=1).sum()
    if len({k.camera for k in keyframes}) > 1:
        first = [i for i, k in enumerate(keyframes) if k.camera == '0']
        length_m = np.linalg.norm(np.diff(true[first, :3, 3], axis=0), axis=1).sum()
    depths = [
        cv2.resize(shots.depths[i], k.depth.shape[::-1], interpolation=cv2.INTER_NEAREST)
        for i, k in zip(numbers, keyframes, strict=True)
    ]
    ratios = np.array([
        np.nanmedian(k.depth / depth) for k, depth in zip(keyframes, depths, strict=True)
    ])[_SETTLING:]
    is_metric = any(k.is_metric for k in keyframes)
    error = 100.0 * (np.median(ratios) - 1.0) if is_metric else float('nan')
    return Row(
        rig, motion, len(keyframes), 100.0 * float(ate_m / length_m),
        compare_depths([k.depth for k in keyframes], depths).abs_rel, float(error),
        100.0 * float(np.std(np.log(ratios))), sum(k.is_metric for k in keyframes),
        len({k.segment for k in keyframes}))


def main(arguments: Sequence[str] | None = None) -> int:
    """Render, run, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--model', default='da3-tiny', choices=[*MODELS])
    parser.add_argument('--weights', default=None, help='file, folder or hub id')
    parser.add_argument('--size', type=int, default=224, help='process resolution [px]')
    parser.add_argument('--instants', type=int, default=24)
    parser.add_argument('--seeds', type=int, nargs='+', default=[1])
    parser.add_argument('--motions', nargs='+', default=['forward', 'loop'])
    parser.add_argument('--rigs', nargs='+', default=['1/0/0', '2/0.2/0', '2/0.2/40', '3/0.2/40'],
                        help='cameras/baseline_m/turn_deg')
    options = parser.parse_args(arguments)
    network = build_network(options.model)
    load_weights(network, options.weights)
    engine = InferenceEngine(network, size=options.size, ref_view_strategy='middle')
    rows = []
    for text in options.rigs:
        count, baseline_m, turn_deg = (float(part) for part in text.split('/'))
        rig = mounts(int(count), baseline_m, turn_deg)
        for motion in options.motions:
            for seed in options.seeds:
                shots = shoot(Motion(motion), seed, rig, options.instants, options.size)
                name = f'{int(count)} cameras, {baseline_m:g} m, {turn_deg:g} deg'
                keyframes = run(shots, engine, len(rig))
                rows.append(evaluate(name, f'{motion} {seed}', shots, keyframes))
                sys.stderr.write(f'{rows[-1]}\n')
    sys.stdout.write(f'{options.model}, size {options.size}, torch {torch.__version__}\n\n')
    sys.stdout.write(table(rows) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
