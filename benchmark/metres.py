# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
How true metres are, and what is claimed of them: windows of few pixels through ``World``.

Every window comes in a frame and a unit of its own, with the true depth and cameras with noise.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
import sys

from bare_windows import Drive, spoilt, straight, true_scale, windows
from da3_ros.geometry import rigid
from da3_ros.mapping.config import AlignmentConfig, ScaleConfig
from da3_ros.mapping.placement import Placement
from da3_ros.mapping.view import View
from da3_ros.mapping.world import World
import numpy as np
from scipy.spatial.transform import Rotation
from trajectory_report import table

_STEP_M = 0.05


@dataclass(frozen=True)
class PathRow:
    """What ``tf`` makes of a straight path, over many draws."""

    path_m: float
    noise_m: float
    error_percent: float
    sigma_percent: float
    within_2_sigma_percent: float
    metric_percent: float


@dataclass(frozen=True)
class ClaimRow:
    """What is claimed on a part of a drive, and how far off that is at worst."""

    drive: str
    source: str
    windows: int
    metric: int
    worst_error_percent: float
    tied: int


def place(drive: Drive, scale: ScaleConfig, random: np.random.Generator, *,
          bad: int | None = None) -> list[tuple[Sequence[View], Placement]]:
    """Place a whole drive; one window may be nonsense."""
    world, placed = World(AlignmentConfig(), scale), []
    for number, views in enumerate(windows(drive, random)):
        seen = spoilt(views, random) if number == bad else views
        placed.append((views, world.place(seen, is_metric=drive.is_metric)))
    return placed


def path_row(length_m: float, noise_m: float, num_draws: int) -> PathRow:
    """Draw the same path many times."""
    random, scale = np.random.default_rng(0), ScaleConfig(source='tf')
    truth = straight(length_m, round(length_m / _STEP_M) + 1)
    drive = Drive(truth, noise_m=noise_m, robot=truth)
    errors, sigmas, claims = [], [], []
    for _ in range(num_draws):
        views, placement = place(drive, scale, random)[-1]
        errors.append(np.log(placement.odom_S_window.scale * true_scale(views)))
        sigmas.append(placement.scale.sigma)
        claims.append(placement.scale.is_metric)
    known = np.isfinite(sigmas)
    return PathRow(
        length_m, noise_m, 100.0 * float(np.median(np.abs(errors))),
        100.0 * float(np.median(sigmas)),
        100.0 * float(np.mean((np.abs(errors) < 2.0 * np.array(sigmas))[known])),
        100.0 * float(np.mean(claims)))


def claims(
    name: str, source: str, placed: Sequence[tuple[Sequence[View], Placement]]
) -> ClaimRow:
    """Summarise what is claimed."""
    worst = [abs(np.log(placement.odom_S_window.scale * true_scale(views)))
             for views, placement in placed if placement.scale.is_metric]
    return ClaimRow(
        name, source, len(placed), len(worst), 100.0 * float(max(worst, default=np.nan)),
        sum(placement.tied_segment is not None for _, placement in placed))


def bad_window_rows() -> list[ClaimRow]:
    """Drive three metres; the sixth window is nonsense."""
    truth = straight(3.0, 61)
    rows = []
    for source in ('fixed', 'model', 'tf', 'pose', 'rig'):
        drive = Drive(
            truth, noise_m=0.005, robot=truth if source in ('tf', 'pose') else None,
            is_metric=source == 'model', has_own_unit=source in ('tf', 'pose', 'rig'),
            baseline_m=0.3 if source == 'rig' else 0.0)
        placed = place(drive, ScaleConfig(source=source), np.random.default_rng(1), bad=5)
        rows.append(claims('a bad window in the middle', source, placed))
    return rows


def standing_rows() -> list[ClaimRow]:
    """Stand, turn on the spot with the camera 5 cm off the axis, then drive."""
    arm = np.array([0.05, 0.0, 0.0])
    turns = [Rotation.from_euler('z', angle).as_matrix() for angle in np.linspace(0.0, 6.0, 40)]
    turning = np.stack([rigid.from_rotation_translation(turn, turn @ arm) for turn in turns])
    standing = np.tile(turning[0], (20, 1, 1))
    driving = np.tile(turning[-1], (40, 1, 1))
    driving[:, 0, 3] += np.linspace(_STEP_M, 2.0, 40)
    truth = np.concatenate([standing, turning, driving])
    rows = []
    for source in ('tf', 'pose'):
        random = np.random.default_rng(2)
        robot = truth.copy()
        robot[:, :3, 3] += 0.001 * random.standard_normal((len(truth), 3))
        drive = Drive(truth, noise_m=0.005, robot=robot)
        placed = place(drive, ScaleConfig(source=source), random)
        ends = np.array([views[-1].keyframe.id for views, _ in placed])
        for name, first, last in (('standing', 0, 20), ('turning', 20, 60), ('driving', 60, 100)):
            part = [placed[i] for i in np.flatnonzero((ends >= first) & (ends < last))]
            rows.append(claims(name, source, part))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--draws', type=int, default=200)
    parser.add_argument('--paths', type=float, nargs='+', default=[0.3, 0.6, 1.0, 2.0, 5.0])
    parser.add_argument('--noises', type=float, nargs='+', default=[0.01, 0.02, 0.05])
    options = parser.parse_args(arguments)
    rows = [path_row(length_m, noise_m, options.draws)
            for length_m in options.paths for noise_m in options.noises]
    sys.stdout.write(table(rows) + '\n\n' + table([*bad_window_rows(), *standing_rows()]) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
