# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Several devices that run every window together, each in a process of its own.

None of them is in this process. Launching for several GPUs under one interpreter lock takes as
long as their work; and what a GPU that fails leaves behind, such as a wait for an exchange that
never ends, can only be got rid of with the process that it happened in. So when one is lost, the
processes of the others are ended too, and windows go on, the interrupted one first, on the
devices that are left.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
import logging
from typing import Any

from da3_ros.errors import DeviceLostError
from da3_ros.inference.device_runner import RunnerSettings
from da3_ros.inference.executor import PendingWindow
from da3_ros.inference.memory_planner import Demand, Plan
from da3_ros.inference.team.messages import (
    from_shared,
    MAP_NAMES,
    PlanRequest,
    share_weights,
    Start,
    WidenRequest,
    WindowRequest,
)
from da3_ros.inference.team.processes import LostError, MEMBER, TeamProcesses
from da3_ros.inference.team.shared_memory import Block
from da3_ros.model.build import Network
from da3_ros.model.camera_head import Cameras
from da3_ros.model.network import NetworkOutput
import numpy as np
from numpy.typing import NDArray
import torch

_logger = logging.getLogger(__name__)

# Views that may come again, and more.
_MOST_KEYS = 1024
_MOST_FREE_BLOCKS = 2
# As many as the processes of the devices know, less the one for images.
_MOST_BLOCKS = 7


@dataclass(eq=False)
class _Asked:
    """
    What is under way, and what has become of it.

    :param request: to all devices.
    :param value: the answer.
    :param error: why there is none.
    """

    request: object
    value: Any = None
    error: Exception | None = None

    def take(self) -> Any:
        """Return the answer, or raise why there is none; once."""
        error, self.error = self.error, None
        if error is None:
            return self.value
        # What the error's traceback holds must not hold the error: processes end with the team.
        try:
            raise error
        finally:
            del error


class Team:
    """
    Runs the windows of a network on several devices together; see ``DeviceRunner``.

    :param network: on the host, where its weights stay; rounded in place.
    :param devices: at least one.
    :param settings: how windows are run.
    :param patience_s: a device that does not go on for so long is lost.
    :param module: that the devices' processes run.
    :raises MemoryBudgetError: if the weights do not fit a GPU.
    :raises DeviceLostError: if the devices cannot work together.
    """

    def __init__(
        self, network: Network, devices: Sequence[torch.device], settings: RunnerSettings, *,
        patience_s: float = 120.0, module: str = MEMBER,
    ) -> None:
        network.set_compute_dtype(settings.dtype)
        self.devices = tuple(devices)
        self._config = network.config
        self._settings = settings
        self._patience_s = patience_s
        self._module = module
        # Kept: for processes that take the place of others.
        self._weights_block, self._weights = share_weights(network)
        self._progress = Block.make(len(devices) * torch.int64.itemsize)
        self._images = Block.make(1)
        self._maps: list[Block] = []
        self._key_numbers: dict[Hashable, int] = {}
        self._num_keys = 0
        # Of the processes there are now, and of those before them.
        self._num_shortages = [0, 0]
        self._asked: _Asked | None = None
        self._was_unclear = False
        self.processes: TeamProcesses | None = None
        try:
            self._start()
        except LostError as lost:
            raise DeviceLostError(
                f'{_names(devices)} cannot work together: {self._lost_text(lost)}') from lost

    @property
    def num_shortages(self) -> int:
        """Return how often memory was short for a window; such windows are not lost."""
        return sum(self._num_shortages)

    def submit(
        self,
        images: NDArray[np.uint8],
        cameras: Cameras | None = None,
        focal_px: NDArray[np.float64] | None = None,
        *,
        keys: Sequence[Hashable] | None = None,
        wanted: Sequence[int] | None = None,
    ) -> PendingWindow:
        """
        Begin to predict one window, see ``WindowExecutor.submit``.

        :raises DeviceLostError: if there is no device left.
        """
        if images.dtype != np.uint8 or images.ndim != 4:
            raise ValueError(f'images: got {images.dtype} of shape {images.shape}, expected uint8 '
                             '(N, H, W, 3)')
        num_maps = len(images) if wanted is None else len(wanted)
        maps = self._take_maps(num_maps * images.shape[1] * images.shape[2])
        # Before the next one is put into the memory of the last.
        self._drain()
        request = WindowRequest(
            self._put(images), images.shape, maps.name, cameras, focal_px,
            None if keys is None else self._numbers(keys),
            None if wanted is None else tuple(wanted))
        memory = maps.lease()
        asked = self._ask(request)

        def finish() -> NetworkOutput:
            if asked is self._asked:
                self._drain()
            return from_shared(asked.take(), memory)

        return PendingWindow(None, finish)

    def plan(self, size: tuple[int, int], demand: Demand) -> Plan:
        """
        Say how many views a window may have at the moment, and why.

        :param size: height and width of what the network sees [px].
        :param demand: what is wanted.
        :raises MemoryBudgetError: if not even one view fits, or none is done in time.
        """
        plan: Plan = self._do(PlanRequest(size, demand))
        return plan

    def widen(self) -> None:
        """
        Go over to float32, or stay as it is where there is no memory for that.

        :raises MemoryBudgetError: if there is none.
        """
        self._do(WidenRequest())
        self._settings = replace(self._settings, dtype=torch.float32)

    def _start(self) -> None:
        """Start the processes of the devices that there are."""
        num_devices = len(self.devices)
        on_cpu = all(device.type == 'cpu' for device in self.devices)
        num_threads = torch.get_num_threads()
        self.processes = TeamProcesses([
            Start(
                self._config, self._weights, str(device), self._settings, rank, num_devices,
                self._patience_s, self._progress.name,
                max(num_threads // num_devices, 1) if on_cpu else num_threads)
            for rank, device in enumerate(self.devices)
        ], self._progress, patience_s=self._patience_s, module=self._module)

    def _do(self, request: object) -> Any:
        """Ask, and return the answer."""
        self._drain()
        asked = self._ask(request)
        self._drain()
        return asked.take()

    def _ask(self, request: object) -> '_Asked':
        """Begin something."""
        if self.processes is None:
            raise DeviceLostError('all devices are lost: none is left to run windows')
        self._asked = _Asked(request)
        self.processes.ask(request)
        return self._asked

    def _drain(self) -> None:
        """Wait for what was asked, if anything is under way."""
        asked, self._asked = self._asked, None
        if asked is None:
            return
        try:
            asked.value = self._answer(asked.request)
        except Exception as error:
            asked.error = error

    def _answer(self, request: object) -> Any:
        """Return the answer to what was asked, from the devices that are left where some go."""
        while True:
            assert self.processes is not None
            try:
                reply = self.processes.answer()
                break
            except LostError as lost:
                self._go_on_without(lost)
            self.processes.ask(request)
        self._num_shortages[0] = reply.num_shortages
        self._was_unclear = False
        return reply.value

    def _go_on_without(self, lost: LostError) -> None:
        """
        Start anew with the devices that are left.

        :raises DeviceLostError: if there is none.
        """
        self._num_shortages = [0, self.num_shortages]
        while True:
            if self.processes is not None:
                self.processes.end()
            self.processes = None
            text = self._lost_text(lost)
            self.devices = tuple(
                device for rank, device in enumerate(self.devices) if rank not in lost.ranks)
            if not lost.ranks and self._was_unclear:
                # Whichever it is, it is not the processes that are to blame.
                self.devices = ()
            self._was_unclear = not lost.ranks
            if not self.devices:
                raise DeviceLostError(f'{text}; none is left')
            _logger.error('%s; going on with %s', text, _names(self.devices))
            try:
                self._start()
                return
            except LostError as another:
                lost = another

    def _lost_text(self, lost: LostError) -> str:
        names = _names([self.devices[rank] for rank in sorted(lost.ranks)])
        return f'{names or "one of " + _names(self.devices)} is lost: {lost}'

    def _put(self, images: NDArray[np.uint8]) -> Any:
        """Put images where all see them."""
        if self._images.name.num_bytes < images.nbytes:
            self._images = Block.make(images.nbytes)
        memory = self._images.lease()[:images.nbytes].view(images.shape)
        memory.copy_(torch.from_numpy(images))
        return self._images.name

    def _take_maps(self, num_pixels: int) -> Block:
        """Return a block for the maps of a window that nobody needs any more."""
        num_bytes = len(MAP_NAMES) * num_pixels * torch.float32.itemsize
        free = [block for block in self._maps if block.is_free]
        fitting = [block for block in free if block.name.num_bytes >= num_bytes]
        block = fitting[-1] if fitting else Block.make(num_bytes)
        # Smaller ones, and what a burst of windows took, are not needed again soon.
        spared = [other for other in fitting if other is not block][-_MOST_FREE_BLOCKS:]
        self._maps = [
            other for other in self._maps
            if other in spared or (other not in free and other is not block)]
        # What is in use longer is its users' alone.
        self._maps = [*self._maps[1 - _MOST_BLOCKS:], block]
        return block

    def _numbers(self, keys: Sequence[Hashable]) -> tuple[int | None, ...]:
        """Return numbers for keys, which may mean nothing in another process."""
        numbers: list[int | None] = []
        for key in keys:
            if key is None:
                numbers.append(None)
                continue
            number = self._key_numbers.pop(key, None)
            if number is None:
                number, self._num_keys = self._num_keys, self._num_keys + 1
            # The latest at the end.
            self._key_numbers[key] = number
            numbers.append(number)
        while len(self._key_numbers) > _MOST_KEYS:
            self._key_numbers.pop(next(iter(self._key_numbers)))
        return tuple(numbers)


def _names(devices: Sequence[torch.device]) -> str:
    return ', '.join(map(str, devices))
