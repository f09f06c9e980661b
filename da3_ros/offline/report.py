# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The page to look at: one HTML file with everything inside."""

import base64
from dataclasses import dataclass
import html
from string import Template

import cv2
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.picture import to_jpeg
from da3_ros.mapping.session_record import Session
from da3_ros.model import MODELS
from da3_ros.offline.summary import Summary
import numpy as np
from numpy.typing import NDArray

_NUM_PICTURES = 6
_QUALITY = 85
_PLOT_PX = 400.0
_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>$recording</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 1080px;
  margin: 2rem auto; }
.caveat { background: #ffe3e3; padding: .6rem 2rem; border-radius: 6px; }
.losses { background: #fff3bf; padding: .6rem 2rem; border-radius: 6px; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr));
  gap: .8rem; }
img { width: 100%; }
td { padding: .2rem .8rem; border-bottom: 1px solid #e3e8ee; }
</style>
</head>
<body>
<h1>$recording</h1>
<p>$source, by $model in windows of $num_views views.</p>
$caveat
$losses
<table>$rows</table>
$sessions
</body></html>
""")


@dataclass(frozen=True, eq=False)
class SessionPage:
    """
    What the page shows of a session.

    :param name: of its folder.
    :param is_metric: whether lengths are metres.
    :param path: (N, 2) x and y of the camera in the map.
    :param pictures: JPEG images, each beside its depth.
    """

    name: str
    is_metric: bool
    path: NDArray[np.float64]
    pictures: tuple[bytes, ...]

    @staticmethod
    def of(name: str, session: Session) -> 'SessionPage':
        """
        Choose what is shown.

        :param name: of its folder.
        :param session: with keyframes.
        """
        path = np.array([session.frame_S_camera(pose.id).rigid_part()[:2, 3]
                         for pose in session.poses])
        keyframes = session.keyframes
        chosen = np.unique(np.linspace(0, len(keyframes) - 1, _NUM_PICTURES).round().astype(int))
        pictures = [
            _beside_depth(keyframes[i].restored(session.frame_S_camera(keyframes[i].id)))
            for i in chosen]
        return SessionPage(name, keyframes[-1].is_metric, path, tuple(pictures))


def make_report(summary: Summary, pages: list[SessionPage]) -> str:
    """
    Write the page.

    :param summary: of the run.
    :param pages: of the sessions.
    :returns: HTML.
    """
    losses = ''.join(f'<li>{html.escape(line)}</li>' for line in summary.losses)
    rows = ''.join(
        f'<tr><td>{html.escape(name.replace("_", " "))}</td><td>{value}</td></tr>'
        for name, value in summary.counts.items())
    caveat = MODELS[summary.model].caveat
    return _PAGE.substitute(
        caveat=f'<p class="caveat">{html.escape(caveat)}</p>' if caveat else '',
        recording=html.escape(summary.recording), source=html.escape(summary.source),
        model=html.escape(summary.model), num_views=summary.num_views, rows=rows,
        losses=f'<div class="losses"><p>Lost:</p><ul>{losses}</ul></div>' if losses else '',
        sessions=''.join(_section(page) for page in pages))


def _section(page: SessionPage) -> str:
    unit = 'metres' if page.is_metric else 'an arbitrary unit'
    pictures = ''.join(
        f'<img alt="image and depth" src="data:image/jpeg;base64,'
        f'{base64.b64encode(jpeg).decode("ascii")}">' for jpeg in page.pictures)
    return (f'<h2>{html.escape(page.name)}</h2><div class="pictures">{pictures}</div>'
            f'<h3>Path from above, in {unit}</h3>{_plot(page.path)}')


def _plot(path: NDArray[np.float64]) -> str:
    low, high = path.min(axis=0), path.max(axis=0)
    size = max(float((high - low).max()), 1e-9)
    points = (path - low) / size * _PLOT_PX
    # On paper y goes down, in the map to the left.
    line = ' '.join(f'{x + 10:.1f},{_PLOT_PX - y + 10:.1f}' for x, y in points)
    extent = ' x '.join(f'{length:.2f}' for length in high - low)
    box = _PLOT_PX + 20
    return (f'<svg width="{box:.0f}" height="{box:.0f}"><polyline points="{line}" fill="none" '
            f'stroke="#e8590c" stroke-width="2"/></svg><p>{extent}</p>')


def _beside_depth(keyframe: PosedKeyframe) -> bytes:
    """Draw the image and, beside it, the depth: near is bright, unknown is black."""
    near = 1.0 / np.maximum(keyframe.depth, 1e-6)
    known = np.isfinite(keyframe.depth)
    drawn = np.zeros_like(keyframe.image)
    if known.any():
        low, high = np.quantile(near[known], (0.02, 0.98))
        share = np.clip((near - low) / max(float(high - low), 1e-9), 0.0, 1.0)
        grey = np.asarray(np.nan_to_num(share) * 255.0, dtype=np.uint8)
        drawn = np.asarray(
            cv2.applyColorMap(grey, cv2.COLORMAP_TURBO)[..., ::-1] * known[..., None],
            dtype=np.uint8)
    return to_jpeg(np.hstack([keyframe.image, drawn]), _QUALITY)
