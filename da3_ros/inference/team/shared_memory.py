# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Memory of the host that several processes see: weights, images and maps go through it.

It has no name in the file system, so nothing of it outlives the processes, and it does not count
as part of /dev/shm, which is small in containers.
"""

from dataclasses import dataclass
import itertools
import logging
import os
import weakref

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

_logger = logging.getLogger(__name__)

_numbers = itertools.count()


@dataclass(frozen=True)
class BlockName:
    """
    Where another process finds a block.

    :param path: of the file that its maker holds open.
    :param number: tells it from blocks that had the path before.
    :param num_bytes: its size.
    """

    path: str
    number: int
    num_bytes: int


class Block:
    """
    Memory that is shared, of another process that still holds the block, or of this one.

    :param name: where it is.
    """

    def __init__(self, name: BlockName) -> None:
        self.name = name
        # Keeps no file open: what is leased may outlive the block by far.
        self._memory: NDArray[np.uint8] = torch.from_file(
            name.path, shared=True, size=name.num_bytes, dtype=torch.uint8).numpy()
        self._leases: list[weakref.ref[NDArray[np.uint8]]] = []
        self._registered: Tensor | None = None

    @classmethod
    def make(cls, num_bytes: int) -> 'Block':
        """
        Make a block that this process owns.

        :param num_bytes: its size.
        """
        num_bytes = max(num_bytes, 1)
        descriptor = os.memfd_create('da3_ros')
        os.ftruncate(descriptor, num_bytes)
        path = f'/proc/{os.getpid()}/fd/{descriptor}'
        block = cls(BlockName(path, next(_numbers), num_bytes))
        weakref.finalize(block, os.close, descriptor)
        return block

    @property
    def is_free(self) -> bool:
        """Return whether nobody in this process holds any of what was leased."""
        return all(lease() is None for lease in self._leases)

    def lease(self) -> Tensor:
        """Return all of it as (num_bytes,) uint8; it is free when that and its views are gone."""
        memory = self._memory[:]
        self._leases = [lease for lease in self._leases if lease() is not None]
        self._leases.append(weakref.ref(memory))
        return torch.from_numpy(memory)

    def pin(self) -> None:
        """Let GPUs copy to and from it without a wait, where they can."""
        memory = self.lease()
        runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
        status = int(runtime.cudaHostRegister(memory.data_ptr(), memory.nbytes, 0))
        if status != 0:
            _logger.info('memory of the host not pinned: CUDA error %d', status)
            return
        self._registered = memory

    def unpin(self) -> None:
        """Undo ``pin``; before the block is forgotten."""
        if self._registered is not None:
            runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
            runtime.cudaHostUnregister(self._registered.data_ptr())
            self._registered = None
