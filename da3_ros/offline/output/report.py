# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The page to look at: one HTML file with everything inside."""

from dataclasses import dataclass
import html

from da3_ros.geometry.arrays import Array
from da3_ros.mapping.keyframe import NS_PER_S, PosedKeyframe
from da3_ros.mapping.picture import to_jpeg
from da3_ros.mapping.session_record import Session
from da3_ros.model import MODELS
from da3_ros.offline.output.page import to_cards, to_page, to_picture, to_table
from da3_ros.offline.output.plots import plot
from da3_ros.offline.output.summary import Summary
from da3_ros.ros.output.depth_preview import DepthPreview
import numpy as np

_NUM_PICTURES = 6
_QUALITY = 85
# Groups of parameters that say how windows were planned.
_PLAN = ('model', 'preprocess', 'window', 'keyframe')


@dataclass(frozen=True, eq=False)
class SessionPage:
    """
    What the page shows of a session.

    :param name: of its folder.
    :param is_metric: whether lengths are metres.
    :param times_s: (N,) of the poses, from the first one.
    :param path: (N, 3) the camera in the map.
    :param depth: (M, 3) of the keyframes that are kept: time, near and far end of the depth.
    :param pictures: JPEG images, each beside its depth.
    """

    name: str
    is_metric: bool
    times_s: Array
    path: Array
    depth: Array
    pictures: tuple[bytes, ...]

    @staticmethod
    def of(name: str, session: Session) -> 'SessionPage':
        """
        Choose what is shown.

        :param name: of its folder.
        :param session: with keyframes.
        """
        first_ns = session.poses[0].stamp_ns
        times_s = np.array([pose.stamp_ns - first_ns for pose in session.poses]) / NS_PER_S
        path = np.array([session.frame_S_camera(pose.id).translation for pose in session.poses])
        keyframes = session.keyframes
        chosen = np.unique(np.linspace(0, len(keyframes) - 1, _NUM_PICTURES).round().astype(int))
        # Each by itself: they are minutes apart.
        pictures = [
            _beside_depth(keyframes[i].restored(session.frame_S_camera(keyframes[i].id)))
            for i in chosen]
        depth = [
            ((keyframe.stamp_ns - first_ns) / NS_PER_S, *_ends(
                keyframe.depth.astype(np.float64) * session.frame_S_camera(keyframe.id).scale))
            for keyframe in keyframes]
        return SessionPage(
            name, keyframes[-1].is_metric, times_s, path, np.array(depth), tuple(pictures))


def make_report(summary: Summary, pages: list[SessionPage]) -> str:
    """
    Write the page.

    :param summary: of the run.
    :param pages: of the sessions.
    :returns: HTML.
    """
    losses = ''.join(f'<li>{html.escape(line)}</li>' for line in summary.losses)
    counts = {name.removeprefix('num_').replace('_', ' '): value
              for name, value in summary.counts.items()}
    shown = {name: str(counts[name]) for name in ('frames', 'keyframes', 'windows', 'loops')}
    plan = {'model': summary.model, 'weights, sha256': summary.weights,
            'device': summary.device, 'most views in one window': summary.num_views}
    plan |= {f'{group}.{name}': value for group in _PLAN
             for name, value in summary.settings.get(group, {}).items()}
    caveat = MODELS[summary.model].caveat
    return to_page(summary.recording, ''.join([
        f'<p>{html.escape(summary.source)}, by {html.escape(summary.model)} in windows of at '
        f'most {summary.num_views} views.</p>',
        f'<p class="note caveat">{html.escape(caveat)}</p>' if caveat else '',
        f'<div class="note losses"><p>Lost:</p><ul>{losses}</ul></div>' if losses else '',
        '<h2>Result</h2>', to_cards(shown), *map(_section, pages),
        to_table('counts', counts), to_table('plan', plan)]))


def _section(page: SessionPage) -> str:
    unit = 'm' if page.is_metric else 'arbitrary unit'
    pictures = ''.join(
        to_picture(jpeg, 'jpeg', 'image and depth') for jpeg in page.pictures)
    length = float(np.linalg.norm(np.diff(page.path, axis=0), axis=1).sum())
    x, y, z = page.path.T
    depth_s, near, far = page.depth.T
    plots = [
        plot('Path from above', {'path': (x, y)}, x_label=f'x [{unit}]', y_label=f'y [{unit}]',
             is_map=True),
        plot('Place of the camera',
             {name: (page.times_s, values) for name, values in (('x', x), ('y', y), ('z', z))},
             x_label='time [s]', y_label=unit),
        plot('Depth of the nearest and the farthest tenth',
             {'far': (depth_s, far), 'near': (depth_s, near)}, x_label='time [s]',
             y_label=unit)]
    return (f'<h2>{html.escape(page.name)}</h2><p>{len(page.times_s)} poses in '
            f'{float(page.times_s[-1]):.1f} s, a path of {length:.2f} {unit}. Depth: near is red, '
            f'far is blue, unknown is black.</p><div class="pictures">{pictures}</div>'
            f'<div class="pictures">{"".join(plots)}</div>')


def _ends(depth: Array) -> tuple[float, float]:
    known = depth[np.isfinite(depth)]
    if not known.size:
        return float('nan'), float('nan')
    near, far = np.quantile(known, (0.1, 0.9))
    return float(near), float(far)


def _beside_depth(keyframe: PosedKeyframe) -> bytes:
    """Draw the image and, beside it, the depth."""
    drawn = DepthPreview().draw(keyframe.depth)
    return to_jpeg(np.hstack([keyframe.image, drawn]), _QUALITY)
