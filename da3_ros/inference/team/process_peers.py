# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Devices that share windows, a process each: the exchange by ``torch.distributed``.

Tensors go from device to device (NCCL) or from process to process (gloo, on CPUs), every part to
everybody who lacks it, whatever the parts' sizes. Before each exchange all hosts say whether they
are there: one that has failed says that instead, and all hear of it in the same place. The hosts
do not wait for their GPUs in this, which have work queued while they talk.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import accumulate, pairwise
from math import prod
import os
from pathlib import Path
import time

from da3_ros.errors import DeviceLostError
from da3_ros.inference.device import is_out_of_memory
from da3_ros.inference.sharing import Peers
from da3_ros.inference.team.shared_memory import Block
import torch
from torch import distributed, Tensor

_HERE, _NO_MEMORY, _FAILED = range(3)
# The heads of the largest networks divide by it.
_FRUGAL_HEAD_GROUPS = 8
# Enough for an exchange to reach its speed.
_PROBE_BYTES = 2**24
# All processes are on one machine.
_SETTINGS = {
    'GLOO_SOCKET_IFNAME': 'lo', 'NCCL_SOCKET_IFNAME': 'lo',
    # Multicast fails where not all GPUs of a switch are ours.
    'NCCL_NVLS_ENABLE': '0',
}


class ElsewhereError(RuntimeError):
    """Another device has failed at what all do together; it says how."""


class ProcessPeers(Peers):
    """
    The processes of the default group.

    :param device: of this process.
    :param lend: gives so many bytes of the host's memory that all processes see, the same to all;
        None: by these themselves, the same in every window.
    :param beat: is called whenever this process has come to where it meets the others.
    """

    def __init__(
        self, device: torch.device, *, lend: Callable[[int], Tensor] | None = None,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._rank, self._num_devices = distributed.get_rank(), distributed.get_world_size()
        self._device = device
        self._lend = self._own_memory if lend is None else lend
        self._beat = beat
        self._block: Block | None = None
        self._bytes_per_s: float | None = None

    @property
    def num_devices(self) -> int:
        """Return how many devices share a window, this one included."""
        return self._num_devices

    @property
    def rank(self) -> int:
        """Return which of them this one is."""
        return self._rank

    @property
    def may_record(self) -> bool:
        """Return that work cannot be recorded: the hosts talk in between."""
        return False

    @contextmanager
    def together(self) -> Iterator[None]:
        """Do something that fails here if it fails anywhere."""
        try:
            yield
        except (ElsewhereError, DeviceLostError):
            raise
        except Exception as error:
            if not getattr(error, 'is_told', False):
                error.is_told = True  # type: ignore[attr-defined]
                is_full = isinstance(error, RuntimeError) and is_out_of_memory(error)
                met = self._meet(_NO_MEMORY if is_full else _FAILED)
                if is_full and any(state == _FAILED for state, _ in met):
                    # Nobody will try it again there, in whatever memory.
                    self._check(met)
            raise
        self.agree()

    def agree(self) -> None:
        """Wait until all are here."""
        self._check(self._meet(_HERE))

    def smallest(self, value: float) -> float:
        """Return the smallest value of all."""
        met = self._meet(_HERE, value)
        self._check(met)
        return min(number for _, number in met)

    @property
    def bytes_per_s(self) -> float:
        """Return how fast an exchange is, measured once."""
        if self._bytes_per_s is None:
            share = torch.empty(_PROBE_BYTES, dtype=torch.uint8, device=self._device)
            for _ in range(2):
                # The first one connects.
                started_s = time.perf_counter()
                (whole,) = self.gather([share], range(
                    0, (self._num_devices + 1) * _PROBE_BYTES, _PROBE_BYTES))
                # Waits for it.
                whole[-1].item()
                seconds = time.perf_counter() - started_s
            received = (self._num_devices - 1) * _PROBE_BYTES
            self._bytes_per_s = self.smallest(max(received, 1) / seconds)
        return self._bytes_per_s

    @property
    def frugal_head_groups(self) -> int:
        """Return in how many parts heads have keys and values of all views."""
        return _FRUGAL_HEAD_GROUPS

    def exchange_(self, wholes: Sequence[Tensor], bounds: Sequence[int]) -> None:
        """Fill in what the others have."""
        self.agree()
        others = [rank for rank in range(self._num_devices) if rank != self._rank]
        transfers = []
        for whole in wholes:
            parts = [
                whole[start:stop].flatten().view(torch.uint8)
                for start, stop in pairwise(bounds)
            ]
            for rank in others:
                if len(parts[self._rank]):
                    transfers.append(
                        distributed.P2POp(distributed.isend, parts[self._rank], rank))
                if len(parts[rank]):
                    transfers.append(distributed.P2POp(distributed.irecv, parts[rank], rank))
        if not transfers:
            return
        with _lost_where_it_fails():
            for transfer in distributed.batch_isend_irecv(transfers):
                transfer.wait()

    def gather(self, parts: Sequence[Tensor], bounds: Sequence[int]) -> Sequence[Tensor]:
        """Return the parts of all."""
        wholes = [part.new_empty((bounds[-1], *part.shape[1:])) for part in parts]
        for whole, part in zip(wholes, parts, strict=True):
            whole[bounds[self._rank]:bounds[self._rank + 1]].copy_(part)
        self.exchange_(wholes, bounds)
        return wholes

    def put_(self, x: Tensor, place: Tensor, value: Tensor, bounds: Sequence[int]) -> None:
        """Put a view where it runs, if that is here; without asking the device."""
        if len(x) == 0:
            return
        place = place - bounds[self._rank]
        nearest = place.clamp(0, len(x) - 1)
        is_here = (place == nearest).view(-1, *[1] * (x.ndim - 1))
        x.index_copy_(0, nearest, torch.where(is_here, value, x[nearest]))

    def host_maps(self, shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
        """Return memory of the host that all write their maps to."""
        sizes = [prod(shape) for shape in shapes.values()]
        num_bytes = sum(sizes) * torch.float32.itemsize
        numbers = self._lend(num_bytes)[:num_bytes].view(torch.float32)
        ends = accumulate(sizes)
        return {
            name: numbers[end - size:end].view(*shape)
            for (name, shape), size, end in zip(shapes.items(), sizes, ends, strict=True)
        }

    def _own_memory(self, num_bytes: int) -> Tensor:
        """Return memory that the first of these processes has made."""
        if self._block is None or self._block.name.num_bytes < num_bytes:
            block = Block.make(num_bytes) if self._rank == 0 else None
            names = [None if block is None else block.name]
            distributed.broadcast_object_list(names, src=0)
            assert names[0] is not None
            self._block = Block(names[0]) if block is None else block
            if torch.cuda.is_available():
                self._block.pin()
        return self._block.lease()

    def _meet(self, state: int, value: float = 0.0) -> list[tuple[int, float]]:
        """Tell all others how it stands here, and hear how it stands there."""
        self._beat()
        mine = torch.tensor([float(state), value], dtype=torch.float64)
        all_of_them = [torch.empty_like(mine) for _ in range(self._num_devices)]
        with _lost_where_it_fails():
            distributed.all_gather(all_of_them, mine)
        return [(int(state), float(number)) for state, number in all_of_them]

    def _check(self, met: list[tuple[int, float]]) -> None:
        """Fail here where another has, by the worst of what they failed by."""
        states = [state for state, _ in met]
        worst = max(states)
        if worst != _HERE:
            # Want of memory in the words that tell it from all else.
            what = 'is out of memory' if worst == _NO_MEMORY else 'has failed'
            raise ElsewhereError(f'device {states.index(worst)} that shares the window {what}')


@contextmanager
def _lost_where_it_fails() -> Iterator[None]:
    """Tell that another process is gone or silent."""
    try:
        yield
    except RuntimeError as error:
        text = str(error).splitlines()[0]
        raise DeviceLostError(f'another device that shares the window is lost: {text}') from error


def join(
    device: torch.device, meeting_place: Path | None, *, rank: int, num_devices: int,
    patience_s: float,
) -> None:
    """
    Form the default group with the processes of the other devices.

    :param device: of this process.
    :param meeting_place: a new file, the same for all processes; None: as ``torchrun`` says.
    :param rank: of this process.
    :param num_devices: as many processes there are.
    :param patience_s: who does not come for so long is lost.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    is_gpu = device.type == 'cuda'
    if is_gpu:
        torch.cuda.set_device(device)
    distributed.init_process_group(
        'cpu:gloo,cuda:nccl' if is_gpu else 'gloo',
        init_method='env://' if meeting_place is None else meeting_place.as_uri(), rank=rank,
        world_size=num_devices, timeout=timedelta(seconds=patience_s),
        device_id=device if is_gpu else None)
