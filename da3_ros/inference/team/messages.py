# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What a process and the processes of its devices say to each other."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from multiprocessing.connection import Connection
import pickle
from typing import Any

from da3_ros.inference.device_runner import RunnerSettings
from da3_ros.inference.memory_planner import Demand
from da3_ros.inference.team.shared_memory import Block, BlockName
from da3_ros.model.build import Network
from da3_ros.model.camera_head import Cameras
from da3_ros.model.config import ModelConfig
from da3_ros.model.network import NetworkOutput
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

MAP_NAMES = ('depth', 'confidence', 'sky')
"""Parts of an output that are as large as the images, in the order in which they lie."""

# Tensors begin at whole cache lines.
_ALIGNMENT = 64


@dataclass(frozen=True)
class Weights:
    """
    Weights in shared memory.

    :param block: where they are.
    :param tensors: name, offset, shape and format of each.
    """

    block: BlockName
    tensors: tuple[tuple[str, int, tuple[int, ...], torch.dtype], ...]


@dataclass(frozen=True)
class Start:
    """
    The first message to a process, with a file to meet at: what to run, where, with whom.

    :param config: of the network.
    :param weights: of the network.
    :param device: its name.
    :param settings: of the runner.
    :param rank: of the process.
    :param num_devices: as many there are.
    :param patience_s: who does not answer for so long is lost.
    :param progress: int64 for each, which counts how often it came to meet the others.
    :param num_threads: of torch.
    """

    config: ModelConfig
    weights: Weights
    device: str
    settings: RunnerSettings
    rank: int
    num_devices: int
    patience_s: float
    progress: BlockName
    num_threads: int


@dataclass(frozen=True, eq=False)
class WindowRequest:
    """
    A window to predict.

    :param images: (N, H, W, 3) uint8 in shared memory.
    :param shape: of them.
    :param maps: shared memory for the maps.
    :param cameras: as ``WindowExecutor.submit`` takes them; so are the following.
    :param focal_px: see there.
    :param keys: see there.
    :param wanted: see there.
    """

    images: BlockName
    shape: tuple[int, ...]
    maps: BlockName
    cameras: Cameras | None
    focal_px: NDArray[np.float64] | None
    keys: tuple[int | None, ...] | None
    wanted: tuple[int, ...] | None


@dataclass(frozen=True)
class PlanRequest:
    """
    Ask what a window may be.

    :param size: height and width [px].
    :param demand: what is wanted.
    """

    size: tuple[int, int]
    demand: Demand


@dataclass(frozen=True)
class WidenRequest:
    """Ask to go over to float32."""


@dataclass(frozen=True, eq=False)
class Reply:
    """
    An answer.

    :param value: what was asked for, from the first of them.
    :param error: why there is none.
    :param num_shortages: how often memory was short for a window so far.
    """

    value: Any = None
    error: Exception | None = None
    num_shortages: int = 0


def send(channel: Connection, message: object) -> None:
    """
    Send a message.

    Not by the channel's own ``send``, for which torch would open a file per tensor.

    :param channel: to another process.
    :param message: of this module.
    """
    channel.send_bytes(pickle.dumps(message))


def receive(channel: Connection) -> Any:
    """
    Wait for a message and return it.

    :param channel: to another process.
    :raises EOFError: if that has ended.
    :raises OSError: likewise.
    """
    return pickle.loads(channel.recv_bytes())


def share_weights(network: Network) -> tuple[Block, Weights]:
    """
    Copy the weights of a network to shared memory.

    :param network: on the host.
    """
    state = network.state_dict()
    sizes = [-(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT for tensor in state.values()]
    ends = list(accumulate(sizes))
    block = Block.make(ends[-1])
    memory, tensors = block.lease(), []
    for (name, tensor), size, end in zip(state.items(), sizes, ends, strict=True):
        start, shape = end - size, tuple(tensor.shape)
        _part(memory, start, shape, tensor.dtype).copy_(tensor)
        tensors.append((name, start, shape, tensor.dtype))
    return block, Weights(block.name, tuple(tensors))


def load_shared(network: Network, weights: Weights) -> None:
    """
    Give a network weights from shared memory, without a copy.

    :param network: on the meta device.
    :param weights: of a network of its kind.
    """
    memory = Block(weights.block).lease()
    network.load_state_dict(
        {
            name: _part(memory, start, shape, dtype)
            for name, start, shape, dtype in weights.tensors
        }, assign=True)


def to_shared(output: NetworkOutput, memory: Tensor) -> dict[str, Any]:
    """
    Put the maps of a window into shared memory, those that are not there.

    :param output: on the host.
    :param memory: (bytes,) uint8.
    :returns: the parts of the output, of the maps only their shapes.
    """
    parts: dict[str, Any] = dict(vars(output))
    for name, shared in _maps_in(memory, {
        name: tuple(parts[name].shape) for name in MAP_NAMES if parts[name] is not None
    }):
        if shared.data_ptr() != parts[name].data_ptr():
            shared.copy_(parts[name])
        parts[name] = tuple(shared.shape)
    return parts


def from_shared(parts: dict[str, Any], memory: Tensor) -> NetworkOutput:
    """
    Return an output whose maps are in shared memory.

    :param parts: as ``to_shared`` returns them.
    :param memory: the same, in this process.
    """
    shapes = {name: parts[name] for name in MAP_NAMES if parts[name] is not None}
    return NetworkOutput(**{**parts, **dict(_maps_in(memory, shapes))})


def _maps_in(
    memory: Tensor, shapes: dict[str, tuple[int, ...]]
) -> Iterator[tuple[str, Tensor]]:
    start = 0
    for name, shape in shapes.items():
        part = _part(memory, start, shape, torch.float32)
        yield name, part
        start += part.nbytes


def _part(memory: Tensor, start: int, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return a tensor that lies in some memory."""
    num_bytes = dtype.itemsize * torch.Size(shape).numel()
    return memory[start:start + num_bytes].view(dtype).view(shape)
