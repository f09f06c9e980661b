# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The table and the pictures of ``trajectory.py``."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
import math
from pathlib import Path

from matplotlib import pyplot
import numpy as np
from streams import Stream
from trajectory_run import Outcome, Row

_TITLES = {
    'ate_m': 'ATE m', 'ate_percent': 'ATE %', 'rpe_m': 'RPE m', 'rpe_deg': 'RPE deg',
    'abs_rel': 'AbsRel', 'delta': 'delta < 1.25', 'scale_drift': 'scale drift',
    'gap_percent': 'gap %', 'gap_deg': 'gap deg', 'closed': 'loops closed',
    'cpu_s_per_keyframe': 'CPU s per keyframe', 'path_m': 'path m',
    'standing_ate_m': 'ATE m of standing still',
}


@dataclass(frozen=True)
class StreamRow:
    """What a stream is; the last column is the error of who believes that the camera stands."""

    stream: str
    frames: int
    size: str
    path_m: float
    standing_ate_m: float


def describe(stream: Stream) -> StreamRow:
    """Summarise a stream."""
    height, width = stream.frames[0].image.shape[:2]
    length_m = floor_m = math.nan
    if stream.poses is not None:
        positions = stream.poses[:, :3, 3]
        offsets = positions - positions.mean(axis=0)
        floor_m = float(np.sqrt(np.square(offsets).sum(axis=1).mean()))
        length_m = stream.length_m
    return StreamRow(stream.name, len(stream.frames), f'{width}x{height}', length_m, floor_m)


def table(rows: Sequence[Row] | Sequence[StreamRow]) -> str:
    """Write rows of one kind in Markdown."""
    titles = [_TITLES.get(field.name, field.name) for field in fields(rows[0])]
    lines = ['| ' + ' | '.join(titles) + ' |', '|---' * len(titles) + '|']
    lines += ['| ' + ' | '.join(map(_cell, asdict(row).values())) + ' |' for row in rows]
    return '\n'.join(lines)


def _cell(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return '-' if math.isnan(value) else f'{value:.3g}'


def plot(stream: Stream, outcomes: Sequence[Outcome], path: Path) -> None:
    """Draw the paths of a stream from above."""
    figure, axes = pyplot.subplots(figsize=(6.0, 6.0))
    if stream.poses is not None:
        axes.plot(*stream.poses[:, :2, 3].T, color='black', label='truth')
    for outcome in outcomes:
        row = outcome.row
        loops = ', loops' if row.loops == 'on' else ''
        axes.plot(
            *outcome.positions[:, :2].T, label=f'{row.window} views, stride {row.stride}{loops}')
    unit = 'unit of the first window' if stream.poses is None else 'm'
    axes.set(xlabel=f'x [{unit}]', ylabel=f'y [{unit}]', title=stream.name, aspect='equal')
    axes.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
