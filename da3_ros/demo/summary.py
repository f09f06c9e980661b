# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""What ``summary.json`` says: measured values only."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
import json
from pathlib import Path

from da3_ros.demo.evaluation import DepthScore, Evaluation
from da3_ros.demo.film import Film
from da3_ros.demo.session import RunLog
import numpy as np


@dataclass(frozen=True)
class Weights:
    """Which network ran, as the node said on /diagnostics."""

    model: str
    source: str
    licence: str
    device: str
    is_random: bool


@dataclass(frozen=True)
class FilmFacts:
    """What was shown to the node."""

    scene_seed: int
    path_seed: int
    place: str
    motion: str
    num_frames: int
    rate_hz: float
    path_length_m: float
    width_px: int
    height_px: int
    fov_x_deg: float


@dataclass(frozen=True)
class Stream:
    """Where every image went; counts of the replay, the node and the recorder."""

    replay_rate: float
    replay_most_late_s: float
    frames_sent: int
    images_received: int
    images_lost_on_the_way: int
    images_dropped: int
    keyframes: int
    keyframes_published: int
    keyframes_dropped: int
    keyframes_recorded: int
    windows: int
    windows_not_joined: int
    sessions: int

    @property
    def num_gone(self) -> int:
        """Images that never became a decision, and keyframes that never came out."""
        return self.images_lost_on_the_way + self.images_dropped + self.keyframes_dropped


@dataclass(frozen=True)
class TrajectoryScore:
    """The path after one Sim3 fitted to the cameras' centres."""

    alignment: str
    alignment_scale: float
    path_length_m: float
    ate_rmse_m: float
    ate_share_of_path: float
    standing_still_ate_rmse_m: float
    rotation_median_deg: float
    rotation_max_deg: float


@dataclass(frozen=True)
class Latency:
    """From the sending of an image to the arrival of its keyframe's last output [s]."""

    median_s: float
    p95_s: float
    max_s: float


@dataclass(frozen=True)
class Summary:
    """Everything; ``depth_scale`` is metres per unit of the node's depth."""

    weights: Weights
    film: FilmFacts
    stream: Stream
    processes: Mapping[str, int]
    node_started_by: str
    messages_recorded: Mapping[str, int]
    depth_scale: float
    depth: DepthScore
    constant_depth: DepthScore
    trajectory: TrajectoryScore
    latency: Latency
    durations_s: Mapping[str, float]

    def write(self, path: Path) -> None:
        """Write the summary as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + '\n')


def summarize(
    film: Film, run: RunLog, evaluation: Evaluation, *,
    rate: float, durations_s: Mapping[str, float],
) -> Summary:
    """
    Put the numbers together.

    :param film: what was shown.
    :param run: what happened.
    :param evaluation: what came out of it.
    :param rate: of the replay.
    :param durations_s: how long each step took.
    """
    latencies = np.array([keyframe.latency_s for keyframe in evaluation.keyframes])
    return Summary(
        weights=read_weights(run),
        film=_film_facts(film),
        stream=_stream(run, evaluation, rate),
        processes=run.pids,
        node_started_by=run.started_by,
        messages_recorded=dict(sorted(run.counts.items())),
        depth_scale=evaluation.depth_scale,
        depth=evaluation.depth,
        constant_depth=evaluation.constant_depth,
        trajectory=_trajectory(film, evaluation),
        latency=Latency(
            median_s=float(np.median(latencies)),
            p95_s=float(np.percentile(latencies, 95.0)),
            max_s=float(latencies.max())),
        durations_s={name: round(value, 2) for name, value in durations_s.items()},
    )


def read_weights(run: RunLog) -> Weights:
    """Return what the node said about its network."""
    model = run.status.model
    return Weights(
        model['name'], model['weights'], model['licence'], model['device'],
        is_random=model['weights'].startswith('random'))


def _film_facts(film: Film) -> FilmFacts:
    return FilmFacts(
        film.scene_seed, film.path_seed, film.place.value, film.motion.value, film.num_frames,
        film.rate_hz, film.trajectory().length_m, film.lens.width, film.lens.height,
        film.lens.fov_x_deg)


def _stream(run: RunLog, evaluation: Evaluation, rate: float) -> Stream:
    status, counts = run.status, run.status.counts
    received = counts['images received']
    return Stream(
        replay_rate=rate,
        replay_most_late_s=run.most_late_s,
        frames_sent=len(run.sent_ns),
        images_received=received,
        images_lost_on_the_way=len(run.sent_ns) - received,
        images_dropped=status.count_all('dropped images'),
        keyframes=counts['keyframes'],
        keyframes_published=counts['keyframes published'],
        keyframes_dropped=status.count_all('dropped keyframes'),
        keyframes_recorded=len(evaluation.keyframes),
        windows=counts['windows'],
        windows_not_joined=counts['windows that could not be joined'],
        sessions=counts['sessions'],
    )


def _trajectory(film: Film, evaluation: Evaluation) -> TrajectoryScore:
    rotations = np.array([keyframe.rotation_error_deg for keyframe in evaluation.keyframes])
    length_m = film.trajectory().length_m
    return TrajectoryScore(
        alignment='Sim3',
        alignment_scale=evaluation.world_S_odom.scale,
        path_length_m=length_m,
        ate_rmse_m=evaluation.ate_m,
        ate_share_of_path=evaluation.ate_m / length_m,
        standing_still_ate_rmse_m=evaluation.standing_still_m,
        rotation_median_deg=float(np.median(rotations)),
        rotation_max_deg=float(rotations.max()),
    )
