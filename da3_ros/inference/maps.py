# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Maps of a window's views, filled a few views at a time."""

from collections.abc import Mapping

from da3_ros.model.network import RawOutput
import torch
from torch import Tensor


class Maps:
    """
    Maps of all views, filled a few views at a time.

    :param num_views: N.
    :param device: where they are kept; copies to the host do not wait.
    :param parts: maps that there is memory for already.
    """

    def __init__(
        self, num_views: int, device: torch.device, parts: dict[str, Tensor] | None = None
    ) -> None:
        self._num_views = num_views
        self._device = device
        self.parts: dict[str, Tensor] = {} if parts is None else parts

    def put(self, name: str, views: slice, part: Tensor | None) -> None:
        """
        Keep a map of some views.

        :param name: as in ``RawOutput``.
        :param views: range over N.
        :param part: (views, ...), or None where the head has no such map.
        """
        if part is None:
            return
        if name not in self.parts:
            shape = (self._num_views, *part.shape[1:])
            is_copy_to_host = part.is_cuda and self._device.type == 'cpu'
            self.parts[name] = torch.empty(
                shape, device=self._device, pin_memory=is_copy_to_host
            )
        self.parts[name][views].copy_(part, non_blocking=True)

    def fill(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """
        Return all maps, those too of which no view came here.

        :param shapes: of a view's maps, by their names.
        """
        for name, shape in shapes.items():
            if name not in self.parts:
                self.parts[name] = torch.empty((self._num_views, *shape), device=self._device)
        return {name: self.parts[name] for name in shapes}

    def output(self) -> RawOutput:
        """Return all maps as one window."""
        return RawOutput(**{name: views[None] for name, views in self.parts.items()})
