# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
The process of one of several devices that share windows.

It does what it is told until the process that started it is gone: that holds the other end of a
pipe, which the system closes whatever becomes of it.
"""

from collections.abc import Sequence
from multiprocessing.connection import Connection
import os
from pathlib import Path
import pickle
import sys
import threading
from typing import Any

from da3_ros.errors import DeviceLostError
from da3_ros.inference.device_runner import DeviceRunner
from da3_ros.inference.team.messages import (
    load_shared,
    PlanRequest,
    receive,
    Reply,
    send,
    Start,
    to_shared,
    WidenRequest,
    WindowRequest,
)
from da3_ros.inference.team.process_peers import join, ProcessPeers
from da3_ros.inference.team.shared_memory import Block, BlockName
from da3_ros.model.build import build
import torch
from torch import Tensor

# The maps of a few windows may be in use elsewhere while the next ones are made.
_MOST_BLOCKS = 8


class TeamMember:
    """
    One device and the network on it.

    :param start: what to run, where, and with whom.
    :param meeting_place: a file that all of them know.
    """

    def __init__(self, start: Start, meeting_place: str) -> None:
        self._rank = start.rank
        self._device = torch.device(start.device)
        self._progress = Block(start.progress).lease().view(torch.int64)
        # By their numbers, the latest at the end.
        self._blocks: dict[int, Block] = {}
        self._maps: Block | None = None
        torch.set_num_threads(start.num_threads)
        join(
            self._device, Path(meeting_place), rank=start.rank,
            num_devices=start.num_devices, patience_s=start.patience_s)
        self._peers = ProcessPeers(self._device, lend=self._lend, beat=self._beat)
        with self._peers.together():
            network = build(start.config, device='meta')
            load_shared(network, start.weights)
            self._runner = DeviceRunner(network, self._device, start.settings, self._peers)

    def answer(self, request: object) -> Reply:
        """
        Do what is asked, together with the others.

        :param request: of ``messages``.
        """
        value, error = None, None
        try:
            with self._peers.together():
                value = self._do(request)
        except Exception as failure:
            error = _to_send(failure)
        return Reply(value if self._rank == 0 else None, error, self._runner.num_shortages)

    def _do(self, request: object) -> Any:
        if isinstance(request, PlanRequest):
            return self._runner.plan(request.size, request.demand)
        if isinstance(request, WidenRequest):
            return self._runner.widen()
        assert isinstance(request, WindowRequest)
        images = self._attached(request.images).lease()
        num_bytes = torch.Size(request.shape).numel()
        self._maps = self._attached(request.maps)
        output = self._runner.submit(
            images[:num_bytes].view(request.shape).numpy(), request.cameras, request.focal_px,
            keys=request.keys, wanted=request.wanted,
        ).collect()
        # All have the same, and one of them tells it.
        return to_shared(output, self._maps.lease()) if self._rank == 0 else None

    def _attached(self, name: BlockName) -> Block:
        """Return a block, known or new."""
        block = self._blocks.pop(name.number, None)
        if block is None:
            block = Block(name)
            if self._device.type == 'cuda':
                block.pin()
        self._blocks[name.number] = block
        while len(self._blocks) > _MOST_BLOCKS:
            self._blocks.pop(next(iter(self._blocks))).unpin()
        return block

    def _lend(self, num_bytes: int) -> Tensor:
        assert self._maps is not None and num_bytes <= self._maps.name.num_bytes
        return self._maps.lease()

    def _beat(self) -> None:
        self._progress[self._rank] += 1


def _to_send(error: Exception) -> Exception:
    """Return an error that comes through, with nothing of what it happened in."""
    try:
        copy: Exception = pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f'{type(error).__name__}: {error}')
    return copy


def _end_with(pipe: int) -> None:
    """End when the other end of a pipe is closed, whatever goes on."""
    os.read(pipe, 1)
    os._exit(1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to end."""
    channel_number, pipe = map(int, sys.argv[1:] if arguments is None else arguments)
    threading.Thread(target=_end_with, args=(pipe,), daemon=True).start()
    channel = Connection(channel_number)
    send(channel, Reply())
    try:
        member = TeamMember(*receive(channel))
    except Exception as error:
        send(channel, Reply(error=_to_send(error)))
        return 1
    reply = Reply()
    while not isinstance(reply.error, DeviceLostError):
        send(channel, reply)
        try:
            request = receive(channel)
        except (EOFError, OSError):
            return 0
        reply = member.answer(request)
    send(channel, reply)
    return 1


if __name__ == '__main__':
    # What waits for a device that is gone would wait at the end, too.
    sys.stdout.flush()
    os._exit(main())
