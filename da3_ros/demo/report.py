# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""The report: one HTML file with everything inside."""

from collections.abc import Sequence
from dataclasses import asdict
import html
from pathlib import Path

from da3_ros.demo.style import weights_label
from da3_ros.demo.summary import Summary
from da3_ros.offline.output.page import to_cards, to_page, to_picture, to_table

_INTRODUCTION = """<p>A rendered film was replayed in real time by one process; the node, in a
second one, turned it into depth, points and poses; a third one recorded what the node published.
Everything below is computed from the two bags.</p>"""


def write_report(path: Path, summary: Summary, pictures: Sequence[Path]) -> None:
    """
    Write the report.

    :param path: of the HTML file.
    :param summary: the numbers.
    :param pictures: PNG files, which the report takes in.
    """
    kind = 'note bad' if summary.weights.is_random else 'note'
    label = html.escape(weights_label(summary.weights))
    path.write_text(to_page('da3_ros demo', ''.join([
        _INTRODUCTION, f'<p class="{kind}">{label}</p>', '<h2>Result</h2>',
        to_cards(_highlights(summary)), *map(_picture, pictures),
        *(_table(name, values) for name, values in asdict(summary).items())])))


def _highlights(summary: Summary) -> dict[str, str]:
    stream, depth, path = summary.stream, summary.depth, summary.trajectory
    constant = summary.constant_depth
    return {
        f'keyframes of {stream.frames_sent} images': str(stream.keyframes_published),
        'images and keyframes lost or dropped': str(stream.num_gone),
        f'depth AbsRel (constant depth: {constant.abs_rel:.3f})': f'{depth.abs_rel:.3f}',
        f'depth within 1.25 (constant depth: {constant.delta_1_25:.0%})':
            f'{depth.delta_1_25:.1%}',
        f'ATE on {path.path_length_m:.1f} m (standing still: '
        f'{path.standing_still_ate_rmse_m:.2f} m)': f'{path.ate_rmse_m:.3f} m',
        'median latency, image to outputs': f'{summary.latency.median_s:.2f} s',
    }


def _table(name: str, values: object) -> str:
    found = values if isinstance(values, dict) else {name: values}
    return to_table(
        name.replace('_', ' '), {key.replace('_', ' '): each for key, each in found.items()})


def _picture(path: Path) -> str:
    name = html.escape(path.stem)
    return f'<h2>{name.capitalize()}</h2>' + to_picture(path.read_bytes(), 'png', path.stem)
