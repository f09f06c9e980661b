# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
How far half precision takes a prediction from full precision: ours beside upstream's autocast.

Ours as it is, and with ``memory.reduced``, which keeps the residual stream in half precision too.

Random weights, the same in both, and random images. The reference is upstream's own network in
fp32, without TF32. Distances are relative to what differs between the views of the reference: what
all have in common, random weights hardly change. Each is a mean over windows.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
import json
from pathlib import Path
import sys

from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.device import choose_device, choose_dtype
from da3_ros.inference.executor import WindowExecutor
from da3_ros.inference.preprocessing import normalize
from da3_ros.model import MODELS, Network
import numpy as np
import torch
from torch import nn, Tensor
from upstream_package import build_random, build_upstream, copy_weights

# Which view is the reference is a choice; were it left to rounding, it would be all there is.
_STRATEGY = 'first'

Maps = dict[str, Tensor]


@dataclass(frozen=True)
class Precision:
    """
    Relative distances of one variant from upstream's fp32.

    :param model: name of the variant.
    :param output: 'depth' or 'extrinsics'.
    :param ours_fp32: of our executor in fp32.
    :param upstream: of upstream's network under autocast.
    :param ours: of our executor in half precision.
    :param ours_reduced: of our executor that keeps the residual stream in it too.
    """

    model: str
    output: str
    ours_fp32: float
    upstream: float
    ours: float
    ours_reduced: float

    @property
    def ratio(self) -> float:
        """Return how much farther than upstream's ours is."""
        return self.ours / self.upstream


def compare(
    model: str, device: torch.device, dtype: torch.dtype, *, num_seeds: int, num_windows: int,
    num_views: int, size: tuple[int, int],
) -> list[Precision]:
    """
    Measure one variant.

    :param model: its name.
    :param device: of both networks.
    :param dtype: of half precision.
    :param num_seeds: sets of weights to take the mean of; which of two roundings is the luckier
        one depends on the weights.
    :param num_windows: to take the mean of, with each.
    :param num_views: of a window.
    :param size: height and width [px].
    """
    shape = (num_windows, num_views, *size, 3)
    exact, ours_fp32, upstream, half, reduced = [], [], [], [], []
    for seed in range(num_seeds):
        rng = np.random.default_rng(seed)
        windows = list(rng.integers(0, 256, shape, dtype=np.uint8))
        ours, theirs = build_random(model, device, seed=seed), build_upstream(model, device)
        copy_weights(ours, theirs)
        with _no_tf32():
            exact += [_run_upstream(theirs, window, device, torch.float32) for window in windows]
            ours_fp32 += [_run_ours(ours, window) for window in windows]
        upstream += [_run_upstream(theirs, window, device, dtype) for window in windows]
        ours.set_compute_dtype(dtype)
        half += [_run_ours(ours, window) for window in windows]
        reduced += [_run_ours(ours, window, reduced=True) for window in windows]
    ways = (ours_fp32, upstream, half, reduced)
    return [
        Precision(model, name, *(_mean_distance(way, exact, name) for way in ways))
        for name in exact[0]
    ]


def _run_ours(network: Network, window: np.ndarray, *, reduced: bool = False) -> Maps:
    options = ExecutorOptions(reduced=reduced)
    output = WindowExecutor(network, options, ref_view_strategy=_STRATEGY).run(window)
    maps = {'depth': output.depth, 'extrinsics': output.extrinsics}
    return {name: values for name, values in maps.items() if values is not None}


@torch.inference_mode()
def _run_upstream(
    network: nn.Module, window: np.ndarray, device: torch.device, dtype: torch.dtype
) -> Maps:
    pixels = normalize(torch.from_numpy(window).to(device))[None]
    is_half = dtype != torch.float32
    with torch.autocast(device.type, dtype=dtype if is_half else None, enabled=is_half):
        output = network(pixels, ref_view_strategy=_STRATEGY)
    names = [name for name in ('depth', 'extrinsics') if name in output]
    return {name: output[name].float().cpu() for name in names}


def _mean_distance(found: Sequence[Maps], exact: Sequence[Maps], name: str) -> float:
    distances = []
    for one, other in zip(found, exact, strict=True):
        expected = other[name].double()
        spread = expected - expected.mean(dim=1, keepdim=True)
        distances.append(float((one[name].double() - expected).norm() / spread.norm()))
    return float(np.mean(distances))


@contextmanager
def _no_tf32() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--models', nargs='+', choices=MODELS, default=[
        name for name, config in MODELS.items()
        if config.hub_id is not None and config.metric_branch is None],
        help="of the nested one's random weights, the scale follows from a focal length near "
        'infinity, so that it says nothing')
    parser.add_argument('--seeds', type=int, default=1, help='sets of weights')
    parser.add_argument('--windows', type=int, default=3, help='with each of them')
    parser.add_argument('--views', type=int, default=8)
    parser.add_argument('--size', nargs=2, type=int, default=[280, 504], metavar=('H', 'W'))
    parser.add_argument('--dtype', choices=['bfloat16', 'float16'],
                        help="the device's own, if not given")
    parser.add_argument('--out', type=Path, default=Path('out'))
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    device = choose_device()
    dtype = choose_dtype(device) if options.dtype is None else getattr(torch, options.dtype)
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else 'CPU'
    sys.stdout.write(f'{name}, torch {torch.__version__}, {dtype}\n')
    sys.stdout.write(
        '| model | output | ours, fp32 | upstream, half | ours, half | ours / upstream '
        '| ours, memory.reduced |\n'
        + '|---' * 7 + '|\n')
    rows: list[Precision] = []
    for model in options.models:
        found = compare(
            model, device, dtype, num_seeds=options.seeds, num_windows=options.windows,
            num_views=options.views, size=(options.size[0], options.size[1]))
        rows += found
        for row in found:
            sys.stdout.write(
                f'| {row.model} | {row.output} | {row.ours_fp32:.1e} | {row.upstream:.2e} | '
                f'{row.ours:.2e} | {row.ratio:.2f} | {row.ours_reduced:.2e} |\n')
        sys.stdout.flush()
        (options.out / 'precision.json').write_text(
            json.dumps([asdict(row) for row in rows], indent=1))
    return 0


if __name__ == '__main__':
    sys.exit(main())
