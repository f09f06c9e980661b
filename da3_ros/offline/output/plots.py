# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Plots as SVG, which a page holds as text."""

from collections.abc import Callable, Mapping
import html

from da3_ros.geometry.arrays import Array
import numpy as np

COLOURS = ('#e8590c', '#1f2933', '#1c7ed6')
GRID_COLOUR = '#dfe3e8'
_WIDTH, _HEIGHT, _MARGIN = 640.0, 360.0, 48.0
_TEXT = 'font-family="system-ui, sans-serif" font-size="12" fill="#52606d"'
_NUM_TICKS = 5
# More points than pixels show nothing.
_MAX_POINTS = 1000


def plot(
    title: str, lines: Mapping[str, tuple[Array, Array]], *, x_label: str, y_label: str,
    is_map: bool = False,
) -> str:
    """
    Draw lines.

    :param title: of the plot.
    :param lines: x and y of each, by its name; what is not finite is left out.
    :param x_label: with the unit.
    :param y_label: with the unit.
    :param is_map: one unit is as long to the side as upwards.
    :returns: SVG.
    """
    lines = {name: _thinned(x, y) for name, (x, y) in lines.items()}
    low, high = _range(lines, is_map=is_map)
    size = np.array([_WIDTH - 2.0 * _MARGIN, _HEIGHT - 2.0 * _MARGIN])

    def place(points: Array) -> Array:
        share = (points - low) / (high - low)
        return np.stack([_MARGIN + share[..., 0] * size[0],
                         _HEIGHT - _MARGIN - share[..., 1] * size[1]], axis=-1)

    parts = [*_axes(low, high, place), _label(_WIDTH / 2, _HEIGHT - 10, x_label, 'middle'),
             _label(8, _MARGIN - 12, y_label, 'start'),
             f'<text x="8" y="20" {_TEXT} font-weight="bold">{html.escape(title)}</text>']
    for number, (name, (x, y)) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = ' '.join(f'{u:.1f},{v:.1f}' for u, v in place(np.stack([x, y], axis=-1)))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" '
                     'stroke-width="2" stroke-linejoin="round"/>')
        if len(lines) > 1:
            at = _WIDTH - _MARGIN - 70 * (len(lines) - 1 - number)
            parts.append(_label(at, 20, name, 'end', colour))
    return (f'<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" '
            f'aria-label="{html.escape(title)}">{"".join(parts)}</svg>')


def _thinned(x: Array, y: Array) -> tuple[Array, Array]:
    known = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if len(known) > _MAX_POINTS:
        known = known[np.linspace(0, len(known) - 1, _MAX_POINTS).round().astype(int)]
    return x[known], y[known]


def _range(lines: Mapping[str, tuple[Array, Array]], *, is_map: bool) -> tuple[Array, Array]:
    """Return the lower left and the upper right corner of what is shown."""
    x, y = (np.concatenate([line[axis] for line in lines.values()]) for axis in (0, 1))
    if not len(x):
        return np.zeros(2), np.ones(2)
    low, high = np.array([x.min(), y.min()]), np.array([x.max(), y.max()])
    middle, half = (low + high) / 2.0, (high - low) / 2.0
    if is_map:
        ratio = (_WIDTH - 2.0 * _MARGIN) / (_HEIGHT - 2.0 * _MARGIN)
        tall = max(half[1], half[0] / ratio)
        half = np.array([ratio * tall, tall])
    # What does not change is a line in the middle.
    half = np.where(half > 0.0, 1.05 * half if is_map else half, 0.5)
    return middle - half, middle + half


def _axes(low: Array, high: Array, place: Callable[[Array], Array]) -> list[str]:
    parts = []
    for axis in (0, 1):
        for value in _ticks(float(low[axis]), float(high[axis])):
            ends = np.array([low, high])
            ends[:, axis] = value
            (x0, y0), (x1, y1) = place(ends)
            parts.append(f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" '
                         f'stroke="{GRID_COLOUR}"/>')
            parts.append(
                _label(x0, y0 + 16, f'{value:g}', 'middle') if axis == 0
                else _label(x0 - 6, y0 + 4, f'{value:g}', 'end'))
    return parts


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers between two."""
    rough = (high - low) / _NUM_TICKS
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(power * factor for factor in (1.0, 2.0, 5.0, 10.0) if power * factor >= rough)
    return [round(float(number * step), 9) for number in range(
        int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]


def _label(x: float, y: float, text: str, anchor: str, colour: str = '#52606d') -> str:
    look = _TEXT.replace('#52606d', colour)
    return (f'<text x="{x:.1f}" y="{y:.1f}" {look} text-anchor="{anchor}">'
            f'{html.escape(text)}</text>')
