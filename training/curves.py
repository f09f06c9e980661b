# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Draw how a training went, from the logs of its runs.

    python -m training.curves run1.log run2.log run3.log --out curves.png
"""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
import re

import matplotlib

_LOSSES = ('depth', 'rays', 'translation', 'rotation')
_SCORES = (
    ('abs_rel', 'AbsRel'), ('rotation_deg', 'rotation [deg]'),
    ('direction_deg', 'direction [deg]'), ('auc_30', 'AUC@30 [%]'),
    ('ate_percent', 'ATE [% of the path]'),
)
_STEP = re.compile(r'step (\d+): [\d.]+ ms, (.*)')
_SCORE = re.compile(r'EVAL \d+ s step (\d+) posed (\d) (.*)')


@dataclass(frozen=True)
class Curve:
    """
    Something over the steps.

    :param steps: of the training.
    :param values: at them.
    """

    steps: list[int]
    values: list[float]


@dataclass(frozen=True)
class Curves:
    """
    All of a training.

    :param losses: by name.
    :param scores: of held-out windows, by name.
    :param posed_scores: likewise with the cameras given.
    """

    losses: dict[str, Curve]
    scores: dict[str, Curve]
    posed_scores: dict[str, Curve]


def read_curves(lines: Iterable[str]) -> Curves:
    """
    Read logs of the runs of one training, one after the other.

    :param lines: as ``training.train`` logs them; others are passed over.
    """
    curves = Curves({}, {}, {})
    for line in lines:
        if match := _SCORE.search(line):
            named = (pair.split('=') for pair in match[3].split())
            chosen = curves.posed_scores if match[2] == '1' else curves.scores
        elif match := _STEP.search(line):
            named = re.findall(r'([a-z ]+?) (-?[\d.]+)(?: |$)', match[2])
            chosen = curves.losses
        else:
            continue
        for name, value in named:
            curve = chosen.setdefault(name.strip(), Curve([], []))
            curve.steps.append(int(match[1]))
            curve.values.append(float(value))
    return curves


def draw(curves: Curves, path: Path) -> None:
    """
    Draw losses and scores.

    :param curves: of a training.
    :param path: of the picture.
    """
    matplotlib.use('Agg')
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3, figsize=(13, 7), layout='constrained')
    first, *others = axes.flat
    for name in _LOSSES:
        curve = curves.losses.get(name, Curve([], []))
        first.semilogy(curve.steps, curve.values, label=name)
    first.set_title('training: errors')
    first.legend()
    for axis, (name, title) in zip(others, _SCORES, strict=True):
        for label, scores in (('images', curves.scores), ('poses given', curves.posed_scores)):
            curve = scores.get(name, Curve([], []))
            axis.plot(curve.steps, curve.values, 'o-', label=label)
        axis.set_title(f'held-out windows: {title}')
        axis.set_ylim(bottom=0)
        axis.legend()
    for axis in axes.flat:
        axis.set_xlabel('step')
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description='Draw how a training went.')
    parser.add_argument('logs', type=Path, nargs='+')
    parser.add_argument('--out', type=Path, default=Path('curves.png'))
    options = parser.parse_args()
    lines = (line for log in options.logs for line in log.read_text().splitlines())
    draw(read_curves(lines), options.out)


if __name__ == '__main__':
    main()
