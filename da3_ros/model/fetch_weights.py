# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Weights for robots without network, brought beforehand: ``fetch_weights``."""

import argparse
from collections.abc import Sequence
import sys

from da3_ros.console import logged
from da3_ros.errors import WeightsError
from da3_ros.model.config import MODELS
from da3_ros.model.hub import download
from da3_ros.model.weights import find_weights, say_licence
from da3_ros.model.weights_file import checksum, files_of

_DEFAULT_MODELS = ('da3-small',)


def build_parser() -> argparse.ArgumentParser:
    """Describe the arguments."""
    described = '\n'.join(
        f'  {name:22} {config.licence:13} {config.hub_id or "in the package"}'
        for name, config in MODELS.items())
    parser = argparse.ArgumentParser(
        prog='fetch_weights', formatter_class=argparse.RawDescriptionHelpFormatter,
        description='Bring published weights from the Hugging Face hub into its cache on this '
        'machine,\nwhere the node finds them without a network.',
        epilog=f'variants, licences and where they come from:\n{described}\n\n'
        'The cache is ~/.cache/huggingface/hub, or where HF_HOME or HF_HUB_CACHE says; it may be\n'
        'copied to another machine as it is.',
    )
    parser.add_argument(
        'names', nargs='*', metavar='NAME', default=_DEFAULT_MODELS,
        help=f'variants, see below (default: {" ".join(_DEFAULT_MODELS)})')
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Fetch, and say what is where.

    :param arguments: of the command line.
    :returns: 1 if one of them cannot be had.
    """
    parser = build_parser()
    names = parser.parse_args(arguments).names
    for name in names:
        if name not in MODELS:
            parser.error(f'NAME: got {name!r}, expected some of {", ".join(MODELS)}')
    with logged():
        is_done = [_fetch(name) for name in names]
    return 0 if all(is_done) else 1


def _fetch(name: str) -> bool:
    """Fetch the weights of one variant; say where they are, or why they are not."""
    config = MODELS[name]
    try:
        path = find_weights(config) if config.hub_id is None else download(config.hub_id)
        sys.stdout.write(f'{name}: {path}, sha256 {checksum(*files_of(path))}\n')
        sys.stdout.flush()
        say_licence(config)
    except WeightsError as error:
        sys.stderr.write(f'{error}\n')
        return False
    return True


if __name__ == '__main__':
    sys.exit(main())
