# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One stream through one pipeline, and how far the outcome is from the truth."""

from collections.abc import Sequence
from dataclasses import dataclass
import time

import cv2
from da3_ros.geometry.arrays import Array
from da3_ros.geometry.rigid import rotation_angle
from da3_ros.mapping.config import PipelineConfig
from da3_ros.mapping.frame_stream import FrameStream
from da3_ros.mapping.keyframe import PosedKeyframe, WindowEngine
from da3_ros.mapping.loop_closure import LoopReport
from da3_ros.mapping.pipeline import DepthPipeline
from da3_ros.mapping.update import PipelineUpdate
import numpy as np
from numpy.typing import NDArray
from streams import Stream
from trajectory_metrics import align_trajectory, compare_depths, compare_trajectories

UNKNOWN = float('nan')


@dataclass(frozen=True, eq=False)
class Recording:
    """
    What a pipeline made of a stream.

    :param keyframes: all of them, in order.
    :param map_poses: (K, 4, 4) of the keyframes, each with the best correction known at the end.
    :param num_loops: loops closed.
    :param cpu_s: of the whole run.
    """

    keyframes: tuple[PosedKeyframe, ...]
    map_poses: Array
    num_loops: int
    cpu_s: float


@dataclass(frozen=True)
class Row:
    """One line of the table; lengths in metres after one similarity for the whole path."""

    stream: str
    window: int
    stride: int
    loops: str
    ate_m: float
    ate_percent: float
    rpe_m: float
    rpe_deg: float
    abs_rel: float
    delta: float
    scale_drift: float
    gap_percent: float
    gap_deg: float
    keyframes: int
    segments: int
    closed: int
    cpu_s_per_keyframe: float


@dataclass(frozen=True, eq=False)
class Outcome:
    """
    What is kept of one run.

    :param row: of the table.
    :param positions: (K, 3) of the keyframes, [m] in the world of the truth where there is one.
    """

    row: Row
    positions: Array


def record(stream: Stream, engine: WindowEngine, config: PipelineConfig) -> Recording:
    """Run a stream through a pipeline."""
    pipeline, frames = DepthPipeline(engine, config), FrameStream(config)
    started = time.process_time()
    updates = []
    for frame in stream.frames:
        for instant in frames.take(frame).instants:
            updates += [pipeline.add(instant), pipeline.close_loops()]
    updates += [pipeline.flush(), pipeline.close_loops()]
    return Recording(
        tuple(keyframe for update in updates for keyframe in update.keyframes),
        _map_poses(updates),
        len(_loops(updates)),
        time.process_time() - started,
    )


def _map_poses(updates: Sequence[PipelineUpdate]) -> Array:
    """Correct every keyframe by the last loop that remembers it, else as it was published."""
    poses = {
        keyframe.id: window.map_T_odom @ keyframe.odom_T_camera
        for update in updates for window in update.windows for keyframe in window.keyframes
    }
    for pose in () if not _loops(updates) else _loops(updates)[-1].path:
        poses[pose.id] = pose.map_T_camera
    return np.stack(list(poses.values()))


def _loops(updates: Sequence[PipelineUpdate]) -> list[LoopReport]:
    return [window.loop for update in updates for window in update.windows
            if window.loop is not None]


def evaluate(stream: Stream, recording: Recording, config: PipelineConfig) -> Outcome:
    """Compare a recording with the truth, as far as it is known."""
    number = {frame.stamp_ns: i for i, frame in enumerate(stream.frames)}
    numbers = [number[keyframe.stamp_ns] for keyframe in recording.keyframes]
    poses, count = recording.map_poses, len(numbers)
    ate_m = ate_percent = rpe_m = rpe_deg = UNKNOWN
    if stream.poses is not None:
        true = stream.poses[numbers]
        path = compare_trajectories(poses, true, delta_m=min(1.0, 0.5 * stream.length_m))
        poses = align_trajectory(poses, true)
        ate_m, rpe_m, rpe_deg = path.ate_m, path.rpe_m, path.rpe_deg
        ate_percent = 100.0 * ate_m / stream.length_m
    row = Row(
        stream.name, config.window.size, config.window.stride,
        'on' if config.loop.enabled else 'off', ate_m, ate_percent, rpe_m, rpe_deg,
        *_depth_errors(stream, recording, numbers), *_gap(stream, poses, numbers),
        count, len({keyframe.segment for keyframe in recording.keyframes}), recording.num_loops,
        recording.cpu_s / count,
    )
    return Outcome(row, poses[:, :3, 3])


def _depth_errors(
    stream: Stream, recording: Recording, numbers: Sequence[int]
) -> tuple[float, float, float]:
    if not stream.depths:
        return UNKNOWN, UNKNOWN, UNKNOWN
    true = [
        _resized(stream.depths[i], keyframe)
        for i, keyframe in zip(numbers, recording.keyframes, strict=True)
    ]
    errors = compare_depths([keyframe.depth for keyframe in recording.keyframes], true)
    return errors.abs_rel, errors.delta_1_25, errors.scale_drift


def _resized(depth: NDArray[np.float32], keyframe: PosedKeyframe) -> NDArray[np.float32]:
    height, width = keyframe.depth.shape
    return cv2.resize(depth, (width, height), interpolation=cv2.INTER_NEAREST)


def _gap(stream: Stream, poses: Array, numbers: Sequence[int]) -> tuple[float, float]:
    """Return how far apart two frames of one place came out: percent of the path, degrees."""
    if stream.same_place is None or not set(stream.same_place) <= set(numbers):
        return UNKNOWN, UNKNOWN
    first, second = (poses[numbers.index(frame)] for frame in stream.same_place)
    length = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).sum()
    gap = np.linalg.norm(first[:3, 3] - second[:3, 3])
    angle = rotation_angle(first[:3, :3].T @ second[:3, :3])
    return float(100.0 * gap / length), float(np.degrees(angle))
