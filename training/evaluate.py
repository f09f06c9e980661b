# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Evaluate weights on held-out rendered windows and print the model card's table.

    python -m training.evaluate --weights da3_ros/model/weights/da3-tiny.safetensors --device cpu

Needs a C++ compiler on a CPU, or cupy on a GPU.
"""

import argparse
from dataclasses import dataclass, field, fields
import logging
from pathlib import Path
import tempfile

from da3_ros.model import build_network, load_weights
from da3_ros.model.network import DepthAnything3
import torch

from training.handling import Handling
from training.heldout import Attitude, draw_held_out
from training.metrics import floor, Scores
from training.predict import evaluate, Mode
from training.renderer import CudaRenderer, HostRenderer, Renderer

_logger = logging.getLogger('training')


@dataclass(frozen=True)
class HeldOutSet:
    """
    Windows to evaluate on.

    :param name: in the table.
    :param num_views: of a window.
    :param max_stride: see ``draw_held_out``.
    :param share: of the number of windows asked for.
    :param modes: how the network is asked, with names for the table.
    :param size: height and width of the images [px].
    :param attitude: of the cameras.
    :param handling: see ``draw_held_out``.
    """

    name: str
    num_views: int
    max_stride: int
    share: float
    modes: tuple[tuple[str, Mode], ...]
    size: tuple[int, int] = (168, 224)
    attitude: Attitude = field(default_factory=Attitude)
    handling: Handling | None = None


_USUAL = (('', Mode()),)
_ALL = (*_USUAL, ('poses given', Mode(posed=True)), ('cameras from rays', Mode(use_ray_pose=True)))
_SETS = (
    HeldOutSet('2 views', 2, 1, 1.0, _USUAL),
    HeldOutSet('8 views', 8, 1, 1.0, _ALL),
    HeldOutSet('8 views, each 1st-3rd of the path', 8, 3, 1.0, _USUAL),
    HeldOutSet('32 views', 32, 1, 0.25, _USUAL),
    HeldOutSet('8 views, 40 degrees down', 8, 1, 1.0, _USUAL, attitude=Attitude(down_deg=40.0)),
    HeldOutSet('8 views, rolled 20 degrees', 8, 1, 1.0, _USUAL, attitude=Attitude(roll_deg=20.0)),
    HeldOutSet('8 views, 16:9', 8, 1, 1.0, _USUAL, size=(126, 224)),
    HeldOutSet('8 views, 3:1', 8, 1, 1.0, _USUAL, size=(70, 224)),
    HeldOutSet('8 views, portrait', 8, 1, 1.0, _USUAL, size=(224, 168)),
    HeldOutSet('8 views, 336 px', 8, 1, 1.0, _USUAL, size=(252, 336)),
    HeldOutSet('8 views, things at 0.5 to 1.5 m', 8, 1, 1.0, _USUAL, handling=Handling(
        is_free=False, rig_share=0.0, near_share=1.0)),
    HeldOutSet('8 views, 4 of each of two cameras', 8, 1, 1.0, _USUAL, handling=Handling(
        is_free=False, rig_share=1.0)),
)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description='Evaluate da3-tiny on held-out windows.')
    parser.add_argument('--weights', type=Path, help='default: those in the package')
    parser.add_argument('--windows', type=int, default=48)
    parser.add_argument('--only', default='', metavar='TEXT', help='sets whose name contains it')
    parser.add_argument('--device', choices=('cuda', 'cpu'), default='cuda')
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    device = torch.device(options.device)
    network = build_network('da3-tiny')
    assert isinstance(network, DepthAnything3)
    load_weights(network, options.weights)
    network.to(device).eval()
    names = [field.name for field in fields(Scores)]
    _logger.info('| windows | %s |\n|---|%s', ' | '.join(names), '---|' * len(names))
    with tempfile.TemporaryDirectory() as folder:
        renderer: Renderer = (
            CudaRenderer(device) if device.type == 'cuda' else HostRenderer(Path(folder)))
        for held_out_set in (x for x in _SETS if options.only in x.name):
            _evaluate_set(network, renderer, held_out_set, options.windows)


def _evaluate_set(
    network: DepthAnything3, renderer: Renderer, held_out_set: HeldOutSet, num_windows: int
) -> None:
    held_out = draw_held_out(
        renderer, max(1, round(num_windows * held_out_set.share)), held_out_set.num_views,
        held_out_set.size, max_stride=held_out_set.max_stride, attitude=held_out_set.attitude,
        handling=held_out_set.handling)
    _row(f'{held_out_set.name}: no motion, even depth', floor(held_out.truth))
    for name, mode in held_out_set.modes:
        label = f'{held_out_set.name}, {name}' if name else held_out_set.name
        _row(label, evaluate(network, held_out, mode))


def _row(label: str, scores: Scores) -> None:
    values = ' | '.join(f'{getattr(scores, field.name):.3g}' for field in fields(scores))
    _logger.info('| %s | %s |', label, values)


if __name__ == '__main__':
    main()
