# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Checkpoints: everything a training needs to go on, in files small enough to be moved anywhere.

Weights are kept in fp32, the moments of their gradients in bf16; saving rounds the running
state in the same way and restarts the weights' average, so that a training that goes on and one
that is resumed compute the same.
"""

from dataclasses import dataclass
import json
from pathlib import Path

from safetensors.torch import load_file, save_file
import torch
from torch import Tensor

from training.optimizer import Optimizer

_SHARD_BYTES = 15 << 20
_STATE = 'state.json'


@dataclass(frozen=True)
class Progress:
    """
    Where a training stands.

    :param step: steps done.
    :param seconds: time spent in them, all runs together.
    """

    step: int
    seconds: float


def round_state(optimizer: Optimizer) -> None:
    """
    Round the running state as files of checkpoints are, and restart the weights' average.

    :param optimizer: of one of several devices, which all must do the same.
    """
    optimizer.restart_average()
    for momentum in (optimizer.momentum, optimizer.first, optimizer.second):
        momentum.copy_(momentum.to(torch.bfloat16))


def save_checkpoint(folder: Path, optimizer: Optimizer, progress: Progress) -> None:
    """
    Write a checkpoint.

    :param folder: is made.
    :param optimizer: its state is rounded, see ``round_state``.
    :param progress: where the training stands.
    """
    folder.mkdir(parents=True, exist_ok=True)
    round_state(optimizer)
    tensors = {
        'weights': optimizer.weights,
        'momentum': optimizer.momentum.to(torch.bfloat16),
        'first': optimizer.first.to(torch.bfloat16),
        'second': optimizer.second.to(torch.bfloat16),
        'num_updates': optimizer.num_updates[None],
    }
    pieces = {
        f'{name}.{number}': piece.contiguous().cpu()
        for name, tensor in tensors.items()
        for number, piece in enumerate(
            tensor.split(_SHARD_BYTES // (2 * tensor.element_size())))
    }
    for number, shard in enumerate(_shards(pieces)):
        save_file(shard, folder / f'shard_{number}.safetensors')
    (folder / _STATE).write_text(json.dumps(
        {'step': progress.step, 'seconds': progress.seconds}) + '\n')


def load_checkpoint(folder: Path, optimizer: Optimizer) -> Progress:
    """
    Restore a checkpoint.

    :param folder: where it was written.
    :param optimizer: of the same network and recipe.
    """
    pieces: dict[str, Tensor] = {}
    for path in sorted(folder.glob('shard_*.safetensors')):
        pieces.update(load_file(path))
    for name in ('weights', 'momentum', 'first', 'second', 'num_updates'):
        numbers = sorted(int(key.split('.')[1]) for key in pieces if key.startswith(f'{name}.'))
        flat = torch.cat([pieces[f'{name}.{number}'] for number in numbers])
        getattr(optimizer, name).copy_(flat.view_as(getattr(optimizer, name)))
    optimizer.restart_average()
    return Progress(**json.loads((folder / _STATE).read_text()))


def _shards(pieces: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """Fill shards in order."""
    shards: list[dict[str, Tensor]] = [{}]
    used = 0
    for name, piece in pieces.items():
        size = piece.numel() * piece.element_size()
        if used + size > _SHARD_BYTES:
            shards.append({})
            used = 0
        shards[-1][name] = piece
        used += size
    return shards
