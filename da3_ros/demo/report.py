# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""The report: one HTML file with everything inside."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict
import html
from pathlib import Path
from string import Template

from da3_ros.demo.style import weights_label
from da3_ros.demo.summary import Summary

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>da3_ros demo</title>
<style>
body { font: 16px/1.55 system-ui, sans-serif; color: #1f2933; background: #f5f7fa; margin: 0; }
main { max-width: 1080px; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; }
p { max-width: 46rem; }
.weights { padding: .6rem .9rem; border-radius: 6px; background: #e3e8ee; }
.random { background: #c92a2a; color: white; font-weight: 600; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: .8rem; }
.card { background: white; border-radius: 8px; padding: .8rem 1rem; }
.card b { display: block; font-size: 1.45rem; }
.card span { color: #52606d; font-size: .85rem; }
img { width: 100%; border-radius: 8px; background: white; margin-bottom: 1rem; }
table { border-collapse: collapse; background: white; border-radius: 8px; width: 100%; }
td { padding: .3rem .8rem; border-bottom: 1px solid #eef1f4; font-size: .9rem; }
td:first-child { color: #52606d; width: 45%; }
td + td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
</style>
</head>
<body><main>
<h1>da3_ros demo</h1>
<p>A rendered film was replayed in real time by one process; the node, in a second one, turned it
into depth, points and poses; a third one recorded what the node published. Everything below is
computed from the two bags.</p>
<p class="weights $weights_class">$weights</p>
<h2>Result</h2>
<div class="cards">$cards</div>
$pictures
<h2>All numbers</h2>
$tables
</main></body></html>
""")


def write_report(path: Path, summary: Summary, pictures: Sequence[Path]) -> None:
    """
    Write the report.

    :param path: of the HTML file.
    :param summary: the numbers.
    :param pictures: PNG files, which the report takes in.
    """
    label = weights_label(summary.weights)
    path.write_text(_PAGE.substitute(
        weights=html.escape(label),
        weights_class='random' if summary.weights.is_random else '',
        cards=''.join(_card(value, name) for name, value in _highlights(summary).items()),
        pictures=''.join(_picture(picture) for picture in pictures),
        tables=''.join(
            _table(name, values if isinstance(values, dict) else {name: values})
            for name, values in asdict(summary).items()),
    ))


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


def _card(value: str, name: str) -> str:
    return f'<div class="card"><b>{html.escape(value)}</b><span>{html.escape(name)}</span></div>'


def _picture(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode('ascii')
    name = html.escape(path.stem)
    return f'<h2>{name.capitalize()}</h2><img alt="{name}" src="data:image/png;base64,{data}">'


def _table(name: str, values: Mapping[str, object]) -> str:
    rows = ''.join(
        f'<tr><td>{_words(key)}</td><td>{html.escape(_text(value))}</td></tr>'
        for key, value in values.items())
    return f'<h2>{_words(name).capitalize()}</h2><table>{rows}</table>'


def _words(name: str) -> str:
    return html.escape(name.replace('_', ' '))


def _text(value: object) -> str:
    return f'{value:.4g}' if isinstance(value, float) else str(value)
