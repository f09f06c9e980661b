# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""The demo's pictures."""

from collections.abc import Mapping
from pathlib import Path

from da3_ros.demo import style, top_view
from da3_ros.demo.evaluation import Evaluation, KeyframeScore
from da3_ros.demo.film import Film
from da3_ros.demo.readback import Output, TrueView
from da3_ros.demo.style import ESTIMATE_COLOUR, TRUE_COLOUR
from da3_ros.demo.summary import Weights
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
import numpy as np

_NUM_ROWS = 5
_MAX_ERROR = 0.3
_DEPTH_COLOURS = 'turbo_r'
_ERROR_COLOURS = 'magma'
_DEPTH_COLUMNS = ('image', 'true depth', 'published depth', 'relative error')


def draw_depth(
    path: Path, weights: Weights, truth: Mapping[int, TrueView], evaluation: Evaluation,
) -> None:
    """Draw image, true depth, published depth and error for keyframes spread over the film."""
    keyframes = evaluation.keyframes
    numbers = np.linspace(0, len(keyframes) - 1, _NUM_ROWS).round().astype(int)
    chosen = [keyframes[i] for i in np.unique(numbers)]
    known = np.concatenate([k.true_depth[np.isfinite(k.true_depth)] for k in chosen])
    depth_scale = Normalize(*np.percentile(known, (0.5, 99.5)))
    error_scale = Normalize(0.0, _MAX_ERROR)
    title = 'Depth of keyframes beside the truth'
    with style.picture(
        path, title, weights, width=11.0, height=2.2 * len(chosen) + 0.7,
    ) as figure:
        grid = figure.add_gridspec(len(chosen) + 1, 4, height_ratios=[1.0] * len(chosen) + [0.06])
        for row, keyframe in enumerate(chosen):
            axes = [figure.add_subplot(grid[row, column]) for column in range(4)]
            axes[0].imshow(truth[keyframe.stamp_ns].image)
            axes[1].imshow(keyframe.true_depth, cmap=_DEPTH_COLOURS, norm=depth_scale)
            axes[2].imshow(keyframe.depth, cmap=_DEPTH_COLOURS, norm=depth_scale)
            error = np.abs(keyframe.depth / keyframe.true_depth - 1.0)
            axes[3].imshow(error, cmap=_ERROR_COLOURS, norm=error_scale)
            for axis, name in zip(axes, _DEPTH_COLUMNS, strict=True):
                axis.set(xticks=[], yticks=[], title=name if row == 0 else '')
                axis.spines[:].set_visible(False)
            time_s = 1e-9 * (keyframe.stamp_ns - keyframes[0].stamp_ns)
            score = keyframe.score
            axes[0].set_xlabel(f'at {time_s:.1f} s')
            axes[3].set_xlabel(
                f'AbsRel {score.abs_rel:.3f}, within 1.25: {score.delta_1_25:.0%}')
        figure.colorbar(
            ScalarMappable(depth_scale, _DEPTH_COLOURS), cax=figure.add_subplot(grid[-1, 1:3]),
            orientation='horizontal', extend='both',
            label=f'depth [m]; published values times {evaluation.depth_scale:.3g}')
        figure.colorbar(
            ScalarMappable(error_scale, _ERROR_COLOURS), cax=figure.add_subplot(grid[-1, 3]),
            orientation='horizontal', extend='max', label='error / truth')


def draw_cloud(
    path: Path, weights: Weights, film: Film, truth: Mapping[int, TrueView],
    outputs: Mapping[int, Output], evaluation: Evaluation,
) -> None:
    """Draw the world from above, true and published, with the path."""
    scene = film.scene()
    area = top_view.Area.of(scene)
    true_view = top_view.true_cloud(truth, [k.stamp_ns for k in evaluation.keyframes])
    published = top_view.published_cloud(outputs, evaluation)
    title = f'Points of all keyframes below {top_view.CEILING_M:.0f} m, from above'
    with style.picture(path, title, weights, width=11.0, height=5.4) as figure:
        axes = figure.subplots(1, 2, sharex=True, sharey=True)
        panels = (('true depth, true poses', true_view, TRUE_COLOUR),
                  ('published points and poses, moved by one Sim3', published, ESTIMATE_COLOUR))
        for axis, (name, cloud, colour) in zip(axes, panels, strict=True):
            view = top_view.rasterize(cloud, area)
            axis.imshow(view.image, origin='lower', extent=area.extent, interpolation='nearest')
            axis.set(title=name, xlabel=f'x [m]    (shown: {view.share:.0%} of all points)')
            _draw_path(axis, evaluation, estimated=colour == ESTIMATE_COLOUR)
        axes[0].set_ylabel('y [m]')


def _draw_path(axis: Axes, evaluation: Evaluation, *, estimated: bool) -> None:
    true = np.stack([k.true_world_T_camera[:2, 3] for k in evaluation.keyframes])
    paths = [(true, TRUE_COLOUR, 'true path')]
    if estimated:
        path = np.stack([k.world_T_camera[:2, 3] for k in evaluation.keyframes])
        paths.append((path, ESTIMATE_COLOUR, 'published path'))
    for points, colour, name in paths:
        axis.plot(*points.T, color='white', linewidth=3.6, alpha=0.8)
        axis.plot(*points.T, color=colour, linewidth=1.8, label=name)
    axis.legend(loc='upper right', facecolor='white', framealpha=0.85, frameon=True)


def draw_trajectory(path: Path, weights: Weights, evaluation: Evaluation) -> None:
    """Draw the path over the true one, and its errors over time."""
    keyframes = evaluation.keyframes
    true = np.stack([k.true_world_T_camera for k in keyframes])
    estimate = np.stack([k.world_T_camera for k in keyframes])
    title = 'Path of the camera over the true one, after one Sim3'
    with style.picture(path, title, weights, width=11.0, height=4.8) as figure:
        grid = figure.add_gridspec(2, 2, width_ratios=(1.15, 1.0))
        axis = figure.add_subplot(grid[:, 0])
        for pair in zip(true[:, :2, 3], estimate[:, :2, 3], strict=True):
            axis.plot(*np.transpose(pair), color='#9aa5b1', linewidth=0.8, zorder=1)
        for poses, colour, name in (
            (true, TRUE_COLOUR, 'true'), (estimate, ESTIMATE_COLOUR, 'published'),
        ):
            axis.plot(*poses[:, :2, 3].T, color=colour, label=name, marker='o', markersize=3.0)
            ahead = poses[:, :2, 2]
            axis.quiver(
                *poses[::4, :2, 3].T, *ahead[::4].T, color=colour, angles='xy', width=0.004,
                scale=16.0, headwidth=3.0)
        axis.set(title='from above', xlabel='x [m]', ylabel='y [m]')
        axis.axis('equal')
        axis.grid(visible=True)
        axis.legend()
        _draw_errors(
            figure.add_subplot(grid[0, 1]), keyframes, [k.position_error_m for k in keyframes],
            f'position error [m], root mean square {evaluation.ate_m:.3f} m')
        _draw_errors(
            figure.add_subplot(grid[1, 1]), keyframes, [k.rotation_error_deg for k in keyframes],
            'rotation error [deg]')


def draw_latency(path: Path, weights: Weights, evaluation: Evaluation) -> None:
    """Draw how long each keyframe took."""
    latencies = [k.latency_s for k in evaluation.keyframes]
    title = 'From image to depth, points and pose'
    with style.picture(path, title, weights, width=11.0, height=2.6) as figure:
        _draw_errors(
            figure.subplots(), evaluation.keyframes, latencies,
            f'latency of each keyframe [s], median {np.median(latencies):.2f} s')


def _draw_errors(
    axis: Axes, keyframes: tuple[KeyframeScore, ...], values: list[float], title: str,
) -> None:
    time_s = 1e-9 * np.array([k.stamp_ns - keyframes[0].stamp_ns for k in keyframes])
    axis.vlines(time_s, 0.0, values, color=ESTIMATE_COLOUR, linewidth=1.2, alpha=0.5)
    axis.plot(time_s, values, 'o', color=ESTIMATE_COLOUR, markersize=3.5)
    axis.set(title=title, xlabel='time in the film [s]', ylim=(0.0, None))
    axis.grid(visible=True, axis='y')
