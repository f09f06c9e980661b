# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Train da3-tiny: from nothing, or on from a checkpoint.

    python -m training.train --out run1 --seconds 500 --left 900
    python -m training.train --resume run1 --out run2 --seconds 400 --left 400 --export tiny.st

Several GPUs: the same under ``torchrun --nproc-per-node``. Rates decay over the last seconds of
the whole training, which ``--left`` tells.
"""

import argparse
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
import json
import logging
import multiprocessing
import os
from pathlib import Path
import tempfile
import time
from typing import Any

from da3_ros.model import build_network, load_weights
from da3_ros.model.network import DepthAnything3
import torch
from torch import distributed

from training.checkpoint import load_checkpoint, Progress, round_state, save_checkpoint
from training.compile_cache import compile_cache
from training.export import export_weights
from training.heldout import draw_held_out
from training.initialise import initialise
from training.loop import Limits, Loop, Place
from training.mesh_bank import load_bank, MeshBank
from training.metrics import floor
from training.optimizer import Optimizer
from training.panoramas import load_panoramas, PanoramaBank
from training.photos import load_photos, PhotoBank
from training.pool import WindowPool
from training.props import Props
from training.recipe import Format, Recipe
from training.renderer import CudaRenderer, HostRenderer, Renderer
from training.schedule import Schedule
from training.step import TrainStep
from training.windows import Looks

_logger = logging.getLogger('training')


def main() -> None:
    """Run the command line."""
    options = _options()
    logging.basicConfig(level=logging.INFO, format='%(relativeCreated)8d %(message)s')
    context = multiprocessing.get_context('fork')
    with ProcessPoolExecutor(options.workers, mp_context=context) as executor:
        executor.submit(os.getpid).result()  # fork before there are threads and a GPU
        with _placed(options.device) as place, compile_cache(
            options.compiled, write=place.is_first
        ):
            _train(options, place, executor)


@contextmanager
def _placed(device: str) -> Iterator[Place]:
    rank, world_size = (int(os.environ.get(x, y)) for x, y in (('RANK', 0), ('WORLD_SIZE', 1)))
    if device == 'cpu':
        yield Place(torch.device('cpu'), rank, world_size)
        return
    torch.cuda.set_device(rank)
    if world_size > 1:
        distributed.init_process_group('nccl', device_id=torch.device('cuda', rank))
    # Graphs are captured on a stream of their own; everything else joins it there.
    with torch.cuda.stream(torch.cuda.Stream()):
        yield Place(torch.device('cuda', rank), rank, world_size)
        torch.cuda.synchronize()
    if world_size > 1:
        distributed.destroy_process_group()


def _train(options: argparse.Namespace, place: Place, executor: Executor) -> None:
    start = time.monotonic()
    recipe = replace(Recipe(), **_changes(options.recipe))
    is_gpu = place.device.type == 'cuda'
    torch._dynamo.config.cache_size_limit = 64
    network = build_network('da3-tiny')
    assert isinstance(network, DepthAnything3)
    initialise(network, recipe.seed)
    if options.init is not None:
        load_weights(network, options.init)
    network.to(place.device)
    optimizer = Optimizer(network, recipe)
    progress = Progress(0, 0.0)
    if options.resume is not None:
        progress = load_checkpoint(options.resume, optimizer)
    first_step = progress.step if options.new_pool else 0
    renderer, pools = _data(options, recipe, place, executor, first_step)
    step = TrainStep(
        network, recipe, optimizer, pools, compiled=is_gpu and not options.eager, graphs=is_gpu)
    schedule = Schedule(
        recipe, done_s=progress.seconds, left_s=options.left or options.seconds,
        decay_s=options.decay)
    held_out = None
    if place.is_first and options.held_out:
        held_out = draw_held_out(
            renderer, options.held_out, 8, recipe.formats[0].image_size, draw_all=executor.map)
        _logger.info('floor %s', floor(held_out.truth))
    limits = Limits(
        options.seconds, options.steps, options.evaluate_every, start, options.stop_file)

    def keep(now: Progress) -> None:
        _keep(options, network, optimizer, now, place)

    loop = Loop(network, step, pools, schedule, place, held_out, on_decay=keep)
    progress = loop.run(progress, limits)
    if options.profile is not None:
        table = loop.profile(progress.step)
        if place.is_first:
            options.profile.write_text(table)
    if place.is_first:
        loop.report(progress)
        _write(options, network, optimizer, progress)
        _logger.info('done: step %d, %.0f s in all', progress.step, progress.seconds)


def _data(
    options: argparse.Namespace, recipe: Recipe, place: Place, executor: Executor,
    first_step: int,
) -> tuple[Renderer, list[WindowPool]]:
    """Read the banks, and make what renders windows of every format."""
    photos = PhotoBank.empty() if options.photos is None else load_photos(options.photos)
    meshes = MeshBank.empty() if options.meshes is None else load_bank(options.meshes)
    panoramas = (
        PanoramaBank.empty() if options.panoramas is None else load_panoramas(options.panoramas))
    looks = Looks(photos.photos, Props(meshes.furniture, meshes.things), panoramas.lights,
                  recipe.light_share)
    renderer = _renderer(place.device, photos, meshes)
    return renderer, [
        WindowPool(recipe, number, renderer, executor, place.device, looks=looks,
                   panoramas=panoramas, first_step=first_step, rank=place.rank,
                   world_size=place.world_size)
        for number in range(len(recipe.formats))]


def _keep(
    options: argparse.Namespace, network: DepthAnything3, optimizer: Optimizer,
    progress: Progress, place: Place,
) -> None:
    """Write what more training goes on from, before the rates fall."""
    if place.is_first and options.keep is not None:
        export_weights(network, options.keep)
    if options.keep_state is not None:
        round_state(optimizer)
        if place.is_first:
            save_checkpoint(options.keep_state, optimizer, progress)


def _write(
    options: argparse.Namespace, network: DepthAnything3, optimizer: Optimizer,
    progress: Progress,
) -> None:
    """Write the weights' average, and all that more training needs."""
    if options.export is not None:
        optimizer.swap_average()
        export_weights(network, options.export)
        optimizer.swap_average()
    if options.out is not None:
        save_checkpoint(options.out, optimizer, progress)


def _changes(text: str) -> dict[str, Any]:
    """Parse changes of the recipe."""
    changes = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in json.loads(text).items()
    }
    if 'formats' in changes:
        changes['formats'] = tuple(
            Format(tuple(form.pop('image_size')), **form) for form in changes['formats'])
    return changes


def _renderer(device: torch.device, photos: PhotoBank, meshes: MeshBank) -> Renderer:
    if device.type == 'cuda':
        return CudaRenderer(device, photos, meshes)
    return HostRenderer(Path(tempfile.mkdtemp()), photos, meshes)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train da3-tiny on rendered scenes.')
    parser.add_argument('--resume', type=Path, help='checkpoint to go on from')
    parser.add_argument('--new-pool', action='store_true',
                        help='resume with few windows at first, not with all that were there')
    parser.add_argument('--init', type=Path, help='weights to begin with instead of random ones')
    parser.add_argument('--photos', type=Path, help='bank of photos (training.prepare_photos)')
    parser.add_argument('--meshes', type=Path, help='bank of meshes (training.prepare_meshes)')
    parser.add_argument('--panoramas', type=Path, help='folder of panoramas of real places')
    parser.add_argument('--out', type=Path, help='checkpoint to write')
    parser.add_argument('--keep', type=Path, help='weights to write before the rates fall')
    parser.add_argument('--keep-state', type=Path, help='checkpoint to write before they fall')
    parser.add_argument('--compiled', type=Path, help='file of compiled code, read and written')
    parser.add_argument('--export', type=Path, help='weights to write, as they ship')
    parser.add_argument('--seconds', type=float, required=True, help='length of this run')
    parser.add_argument('--left', type=float, help='of this run and all later ones [s]')
    parser.add_argument('--decay', type=float, default=400.0, help='final decay of rates [s]')
    parser.add_argument('--steps', type=int, default=1 << 40, help='stop at this step')
    parser.add_argument('--stop-file', type=Path, help='stop when this file appears')
    parser.add_argument('--profile', type=Path, help='table of kernels to write at the end')
    parser.add_argument('--evaluate-every', type=float, default=120.0, metavar='SECONDS')
    parser.add_argument('--held-out', type=int, default=64, help='windows to evaluate on')
    parser.add_argument('--device', choices=('cuda', 'cpu'), default='cuda')
    parser.add_argument('--eager', action='store_true', help='do not compile')
    parser.add_argument('--workers', type=int, default=10, help='processes that draw scenes')
    parser.add_argument('--recipe', default='{}', help='JSON of fields of Recipe to change')
    return parser.parse_args()


if __name__ == '__main__':
    main()
