# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
The levels of features that wait for the depth head.

Shapes: N views, P patches, W channels that the head keeps of a level.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

NUM_LEVELS = 4

Placement = Literal['device', 'host']


class LevelStore:
    """
    Four levels of all views, each already narrowed to the head's channels.

    A level takes memory when its first views arrive.

    :param num_views: N.
    :param widths: W of each level.
    :param placement: 'host' keeps them in pinned host memory, which costs two copies and no
        precision.
    :param dtype: in which they are kept; float32 is exact.
    """

    def __init__(
        self,
        num_views: int,
        widths: Sequence[int],
        *,
        placement: Placement = 'device',
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.num_views = num_views
        self._widths = tuple(widths)
        self._placement = placement
        self._dtype = dtype
        self._levels: list[Tensor | None] = [None] * NUM_LEVELS
        self._device = torch.device('cpu')

    def put(
        self, level: int, views: slice, tokens: Tensor, *, memory: Tensor | None = None
    ) -> None:
        """
        Keep a level of some views.

        :param level: 0 to 3.
        :param views: range over N.
        :param tokens: (views, P, W) fp32.
        :param memory: (N, ...) fp32 contiguous, no longer needed for these views: kept in there
            if they fit.
        """
        self._device = tokens.device
        kept = self._levels[level]
        if kept is None:
            kept = self._allocate(tokens.shape[1:], memory)
            self._levels[level] = kept
        kept[views].copy_(tokens, non_blocking=True)

    def get(self, views: slice) -> list[Tensor]:
        """
        Return all levels of some views.

        :param views: range over N.
        :returns: four (views, P, W) fp32 on the device they came from.
        """
        return [
            level[views].to(self._device, torch.float32, non_blocking=True)
            for level in self._levels
            if level is not None
        ]

    def _allocate(self, shape: torch.Size, memory: Tensor | None) -> Tensor:
        size = shape.numel()
        if memory is not None and memory.dtype == self._dtype and memory[0].numel() >= size:
            return memory.flatten(1)[:, :size].view(len(memory), *shape)
        on_host = self._placement == 'host' and self._device.type == 'cuda'
        return torch.empty(
            self.num_views,
            *shape,
            dtype=self._dtype,
            device='cpu' if on_host else self._device,
            pin_memory=on_host,
        )
