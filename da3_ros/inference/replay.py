# Copyright 2026 The da3_ros authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""
Replay of small windows as one CUDA graph.

A small window is done sooner than its thousand kernels are launched one by one. Recorded once and
replayed, they run back to back.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
import logging

from da3_ros.model.camera_head import Cameras
from da3_ros.model.network import RawOutput
import torch
from torch import Tensor

_logger = logging.getLogger(__name__)

# Windows of a stream grow to their size first, and each size passes only once.
_RUNS_BEFORE_RECORDING = 2

@dataclass(frozen=True, eq=False)
class RawOutputs:
    """
    What the branches of a network predict.

    :param main: of the branch over all views.
    :param metric: of the branch that gives metres, or None where there is none.
    """

    main: RawOutput
    metric: RawOutput | None = None


Forward = Callable[[Tensor, Cameras | None, torch.device], RawOutputs]


@dataclass(frozen=True, eq=False)
class _Recording:
    graph: torch.cuda.CUDAGraph
    pixels: Tensor
    cameras: Cameras | None
    output: RawOutputs


class GraphReplay:
    """
    Records the device's work for one kind of window at a time.

    :param forward: maps pixels and cameras on the device to outputs on the device given last,
        without waiting for the device.
    :param device: a CUDA device.
    """

    def __init__(self, forward: Forward, device: torch.device) -> None:
        self._forward = forward
        self._device = device
        self._key: Hashable = None
        self._num_runs = 0
        self._recording: _Recording | None = None
        self._is_broken = False

    def run(
        self, key: Hashable, pixels: Tensor, cameras: Cameras | None
    ) -> RawOutputs:
        """
        Run the forward, from its recording where there is one.

        :param key: everything that changes which kernels run.
        :param pixels: (N, H, W, 3) uint8 on the host.
        :param cameras: on the host, or None.
        :returns: valid until the next run.
        """
        if key != self._key:
            self.clear()
            self._key = key
        self._num_runs += 1
        is_due = self._num_runs > _RUNS_BEFORE_RECORDING and not self._is_broken
        if self._recording is None and is_due:
            self._record(pixels, cameras)
        if self._recording is None:
            moved = cameras_to(cameras, self._device)
            return self._forward(pixels.to(self._device), moved, self._device)
        self._recording.pixels.copy_(pixels)
        if cameras is not None and self._recording.cameras is not None:
            self._recording.cameras.extrinsics.copy_(cameras.extrinsics)
            self._recording.cameras.intrinsics.copy_(cameras.intrinsics)
        self._recording.graph.replay()
        return self._recording.output

    def clear(self) -> None:
        """Free the recording and its memory."""
        self._key = None
        self._num_runs = 0
        self._recording = None

    def _record(self, pixels: Tensor, cameras: Cameras | None) -> None:
        static_pixels = pixels.to(self._device)
        static_cameras = cameras_to(cameras, self._device)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                output = self._forward(static_pixels, static_cameras, self._device)
        except RuntimeError as error:
            # Out of memory, or a kernel that cannot be recorded: nothing is lost but speed.
            _logger.warning('small windows are not recorded: %s', error)
            self._is_broken = True
            return
        self._recording = _Recording(graph, static_pixels, static_cameras, output)


def cameras_to(cameras: Cameras | None, device: torch.device) -> Cameras | None:
    """
    Move cameras to a device.

    :param cameras: to move, or None.
    :param device: where to.
    """
    if cameras is None:
        return None
    return Cameras(cameras.extrinsics.to(device), cameras.intrinsics.to(device))
