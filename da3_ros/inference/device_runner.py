# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What runs the windows of a network on one device, alone or as one of several."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

from da3_ros.errors import MemoryBudgetError
from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.device import is_out_of_memory, reduce_fragmentation
from da3_ros.inference.executor import PendingWindow, WindowExecutor
from da3_ros.inference.host_plan import calibrate_on_host, usable_ram_bytes
from da3_ros.inference.memory_guard import MemoryGuard, MemoryLimits
from da3_ros.inference.memory_planner import Demand, Plan, plan_window
from da3_ros.inference.placement import place
from da3_ros.inference.sharing import Peers
from da3_ros.model.build import Network
from da3_ros.model.camera_head import Cameras
import numpy as np
from numpy.typing import NDArray
import torch


@dataclass(frozen=True)
class RunnerSettings:
    """
    How windows are run, wherever that is.

    :param dtype: of the backbone's matrices.
    :param use_ray_pose: take the cameras from the rays instead of the camera decoder.
    :param ref_view_strategy: see ``model.reference_view``.
    :param options: memory against time or precision.
    :param limits: what windows may take of a GPU.
    :param expects_poses: whether windows come with poses: room is made for the camera encoder.
    """

    dtype: torch.dtype
    use_ray_pose: bool = False
    ref_view_strategy: str = 'saddle_balanced'
    options: ExecutorOptions = field(default_factory=ExecutorOptions)
    limits: MemoryLimits = field(default_factory=MemoryLimits)
    expects_poses: bool = False


class DeviceRunner:
    """
    Runs windows on one device; on several, each has one, and all are asked the same.

    :param network: taken over: moved to the device and its matrices rounded, in place.
    :param device: where it runs.
    :param settings: how.
    :param peers: the other devices; None: there are none.
    :raises MemoryBudgetError: if the weights do not fit the GPU.
    """

    def __init__(
        self, network: Network, device: torch.device, settings: RunnerSettings,
        peers: Peers | None = None,
    ) -> None:
        self.network = network
        self._device = device
        self._settings = settings
        self._peers = Peers() if peers is None else peers
        self._probed = None if peers is None else self._alone
        network.set_compute_dtype(settings.dtype)
        _place(network, device, settings)
        self.executor = self._make_executor()

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """Return the device."""
        return (self._device,)

    @property
    def num_shortages(self) -> int:
        """Return how often memory was short for a window; such windows are not lost."""
        return self.executor.num_shortages if isinstance(self.executor, MemoryGuard) else 0

    def submit(
        self,
        images: NDArray[np.uint8],
        cameras: Cameras | None = None,
        focal_px: NDArray[np.float64] | None = None,
        *,
        keys: Sequence[Hashable] | None = None,
        wanted: Sequence[int] | None = None,
    ) -> PendingWindow:
        """Begin to predict one window, see ``WindowExecutor.submit``."""
        return self.executor.submit(images, cameras, focal_px, keys=keys, wanted=wanted)

    def plan(self, size: tuple[int, int], demand: Demand) -> Plan:
        """
        Say how many views a window may have at the moment, and why.

        :param size: height and width of what the network sees [px].
        :param demand: what is wanted.
        :raises MemoryBudgetError: if not even one view fits, or none is done in time.
        """
        if isinstance(self.executor, MemoryGuard):
            return self.executor.plan(size, demand)
        cost = calibrate_on_host(self.network, self._alone(self._settings.options), size)
        # They are processes of one machine.
        budget = self._peers.smallest(usable_ram_bytes() / self._peers.num_devices)
        cost = replace(cost, num_devices=self._peers.num_devices)
        return plan_window(cost, demand, budget + cost.calibration.fixed_bytes)

    def widen(self) -> None:
        """
        Go over to float32, or stay as it is where there is no memory for that.

        :raises MemoryBudgetError: if there is none.
        """
        try:
            with self._peers.together():
                self.network.set_compute_dtype(torch.float32)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            self.network.set_compute_dtype(self._settings.dtype)
            raise MemoryBudgetError(
                f'float16 is too narrow for the weights, and float32 does not fit: {error}'
            ) from error
        self.executor = self._make_executor()

    def _make_executor(self) -> MemoryGuard | WindowExecutor:
        """Make what runs windows, in the number format that the network has now."""
        options = self._settings.options
        if self._device.type != 'cuda':
            return self._shared(options)
        return MemoryGuard(
            self.network, self._shared, options, self._settings.limits, probed=self._probed,
            peers=self._peers)

    def _shared(self, options: ExecutorOptions) -> WindowExecutor:
        """Make an executor of windows that all devices share."""
        return self._executor(options, self._peers)

    def _alone(self, options: ExecutorOptions) -> WindowExecutor:
        """Make an executor of windows on this device alone."""
        return self._executor(options, Peers())

    def _executor(self, options: ExecutorOptions, peers: Peers) -> WindowExecutor:
        return WindowExecutor(
            self.network, options, use_ray_pose=self._settings.use_ray_pose,
            ref_view_strategy=self._settings.ref_view_strategy, peers=peers)


def _place(network: Network, device: torch.device, settings: RunnerSettings) -> None:
    """Move the weights to the device."""
    if device.type == 'cuda':
        reduce_fragmentation()
    try:
        place(
            network, device, with_rays=settings.use_ray_pose, with_encoder=settings.expects_poses)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        network.to('cpu')
        raise MemoryBudgetError(f'the weights do not fit the GPU: {error}') from error
