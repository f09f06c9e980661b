# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
The exact executor: a network's own modules and weights over one window, in little memory.

Equal to the network's plain forward to rounding, however the work is divided. Shapes: N views,
H W pixels.
"""

from da3_ros.inference.branch import Branch, ExecutorOptions
from da3_ros.inference.device import choose_attention, pinned_attention
from da3_ros.inference.placement import main_branch
from da3_ros.model.build import Network
from da3_ros.model.camera_head import Cameras
from da3_ros.model.nested import NestedDepthAnything3, to_metres
from da3_ros.model.network import interpret, NetworkOutput
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor


class WindowExecutor:
    """
    Runs a network over windows; results and errors are those of ``DepthAnything3.forward``.

    :param network: on its device and in its compute dtype; stays as it is.
    :param options: see ``ExecutorOptions``.
    :param use_ray_pose: take the cameras from the rays instead of the camera decoder.
    :param ref_view_strategy: see ``model.reference_view``.
    """

    def __init__(
        self,
        network: Network,
        options: ExecutorOptions | None = None,
        *,
        use_ray_pose: bool = False,
        ref_view_strategy: str = 'saddle_balanced',
    ) -> None:
        self.options = ExecutorOptions() if options is None else options
        self.with_rays = use_ray_pose
        main = main_branch(network)
        self.branches = [
            Branch(
                main,
                self.options,
                with_rays=use_ray_pose,
                ref_view_strategy=ref_view_strategy,
            )
        ]
        self._metric_config = None
        if isinstance(network, NestedDepthAnything3):
            self.branches.append(Branch(network.da3_metric, self.options))
            self._metric_config = network.da3_metric.config
        self._device = main.backbone.pretrained.pos_embed.device
        self.attention = choose_attention(self._device, main.backbone.compute_dtype)
        # Maps that are interpreted over the whole window stay on the device until then.
        stays = use_ray_pose or main.config.head == 'dpt' or self._metric_config is not None
        self._maps_device = self._device if stays else torch.device('cpu')

    @torch.inference_mode()
    def run(self, images: NDArray[np.uint8], cameras: Cameras | None = None) -> NetworkOutput:
        """
        Predict one window.

        :param images: (N, H, W, 3) uint8 RGB; H and W multiples of 14.
        :param cameras: (1, N, ...) given cameras on the host, or None.
        :returns: batch of one window, on the host.
        """
        pixels = torch.from_numpy(images)
        with pinned_attention(self.attention):
            if cameras is not None:
                cameras = Cameras(
                    cameras.extrinsics.to(self._device), cameras.intrinsics.to(self._device)
                )
            raw = [branch.run(pixels, cameras, self._maps_device) for branch in self.branches]
            output = interpret(raw[0])
            if self._metric_config is not None:
                output = to_metres(output, raw[1].depth, raw[1].sky, self._metric_config)
            return self._to_host(output)

    def _to_host(self, output: NetworkOutput) -> NetworkOutput:
        """Bring a prediction to the host, and wait until it is there."""
        host = NetworkOutput(
            depth=output.depth.to('cpu', non_blocking=True),
            confidence=_to_host(output.confidence),
            extrinsics=_to_host(output.extrinsics),
            intrinsics=_to_host(output.intrinsics),
            sky=_to_host(output.sky),
            appearance=_to_host(output.appearance),
        )
        if self._device.type == 'cuda':
            torch.cuda.current_stream(self._device).synchronize()
        return host


def _to_host(part: Tensor | None) -> Tensor | None:
    return None if part is None else part.to('cpu', non_blocking=True)
