# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""The look that all of the demo's pictures share, and the label that each one bears."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from da3_ros.demo.summary import Weights
from da3_ros.offline.output.plots import COLOURS, GRID_COLOUR
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
import matplotlib.style

ESTIMATE_COLOUR, TRUE_COLOUR, *_ = COLOURS
_DPI = 120
_HEADER_INCH = 0.95
_RC = {
    'font.size': 9.0,
    'axes.titlesize': 10.0,
    'axes.titleweight': 'bold',
    'axes.titlelocation': 'left',
    'axes.edgecolor': '#9aa5b1',
    'axes.labelcolor': '#52606d',
    'xtick.color': '#52606d',
    'ytick.color': '#52606d',
    'axes.spines.top': False,
    'axes.spines.right': False,
    'grid.color': GRID_COLOUR,
    'legend.frameon': False,
}


def weights_label(weights: Weights) -> str:
    """Say in one line what the network was."""
    if weights.is_random:
        return f'RANDOM WEIGHTS ({weights.model}): this shows that the parts work together, ' \
            'not what the network can do'
    return f'{weights.model}, weights {Path(weights.source.split(",")[0]).name}'


@contextmanager
def picture(
    path: Path, title: str, weights: Weights, *, width: float, height: float,
) -> Iterator[Figure]:
    """
    Make a picture with a title and the label of the weights; yield its empty figure.

    :param path: of the PNG.
    :param title: of the picture.
    :param weights: that were used.
    :param width: [inch].
    :param height: of what the caller draws [inch].
    """
    total = height + _HEADER_INCH
    with matplotlib.style.context(_RC):
        top = 1.0 - _HEADER_INCH / total
        layout = ConstrainedLayoutEngine(
            rect=(0.01, 0.01, 0.98, top - 0.01), w_pad=0.05, h_pad=0.05, wspace=0.02, hspace=0.02)
        figure = Figure(figsize=(width, total), dpi=_DPI, facecolor='white', layout=layout)
        FigureCanvasAgg(figure)
        figure.text(
            0.015, 1.0 - 0.30 / total, title, fontsize=14.0, fontweight='bold', va='center')
        label = figure.text(0.018, 1.0 - 0.66 / total, weights_label(weights), va='center')
        label.set(color='#52606d')
        if weights.is_random:
            label.set(color='white', backgroundcolor='#c92a2a', fontweight='bold')
        yield figure
        figure.savefig(path)
