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
from da3_ros.model.config import PATCH_SIZE
from da3_ros.model.nested import NestedDepthAnything3, to_metres
from da3_ros.model.network import check_inputs, interpret, NetworkOutput
from da3_ros.model.reference_view import check_strategy
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
    :raises ValueError: if an argument does not fit the variant.
    """

    def __init__(
        self,
        network: Network,
        options: ExecutorOptions | None = None,
        *,
        use_ray_pose: bool = False,
        ref_view_strategy: str = 'saddle_balanced',
    ) -> None:
        check_strategy(ref_view_strategy)
        if use_ray_pose and not network.config.has_cameras:
            raise ValueError(f'use_ray_pose: got True, but {network.config.name} predicts no rays')
        self._config = network.config
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
    def run(
        self, images: NDArray[np.uint8], cameras: Cameras | None = None,
        focal_px: NDArray[np.float64] | None = None,
    ) -> NetworkOutput:
        """
        Predict one window.

        :param images: (N, H, W, 3) uint8 RGB; H and W multiples of 14.
        :param cameras: (1, N, ...) given cameras on the host, or None.
        :param focal_px: (N,) true focal lengths, NaN where unknown, by which the metric branch of
            a nested network measures; None: by the estimated ones, as the network's forward.
        :returns: batch of one window, on the host.
        :raises ValueError: if an argument does not fit the others or the variant.
        :raises PredictionError: see ``model.network.interpret`` and ``model.nested.to_metres``.
        """
        self._check(images, cameras, focal_px)
        pixels = torch.from_numpy(images)
        with pinned_attention(self.attention):
            if cameras is not None:
                cameras = Cameras(
                    cameras.extrinsics.to(self._device), cameras.intrinsics.to(self._device)
                )
            raw = [branch.run(pixels, cameras, self._maps_device) for branch in self.branches]
            # Maps on the host are there only now.
            self._wait()
            output = interpret(raw[0])
            if self._metric_config is not None:
                output = to_metres(
                    output, raw[1].depth, raw[1].sky, self._metric_config,
                    focal_px=None if focal_px is None else torch.from_numpy(focal_px).to(
                        self._device, torch.float32)[None],
                )
            return self._to_host(output)

    def _check(
        self, images: NDArray[np.uint8], cameras: Cameras | None,
        focal_px: NDArray[np.float64] | None,
    ) -> None:
        """Refuse what would give an answer that looks like any other, or fail far from here."""
        shape = np.shape(images)
        is_rgb = len(shape) == 4 and shape[3] == 3 and min(shape) > 0
        if not is_rgb or shape[1] % PATCH_SIZE or shape[2] % PATCH_SIZE:
            raise ValueError(
                f'images: got shape {shape}, expected (N, H, W, 3), sides multiples of '
                f'{PATCH_SIZE}'
            )
        if images.dtype != np.uint8:
            raise ValueError(f'images: got {images.dtype}, expected uint8')
        if cameras is not None:
            network_images = torch.empty((1, shape[0], 3, *shape[1:3]), device='meta')
            check_inputs(network_images, cameras.extrinsics, cameras.intrinsics, self._config)
            for name, values in vars(cameras).items():
                if not bool(torch.isfinite(values).all()):
                    raise ValueError(f'{name}: got values that are not finite')
        if focal_px is None:
            return
        if self._metric_config is None:
            raise ValueError(f'focal_px: got some, but {self._config.name} measures no metres')
        if np.shape(focal_px) != shape[:1] or not (np.isnan(focal_px) | (focal_px > 0.0)).all():
            raise ValueError(f'focal_px: got {focal_px}, expected {shape[0]} > 0, or NaN')

    def _wait(self) -> None:
        """Wait for what is under way to the host."""
        if self._device.type == 'cuda':
            torch.cuda.current_stream(self._device).synchronize()

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
        self._wait()
        return host


def _to_host(part: Tensor | None) -> Tensor | None:
    return None if part is None else part.to('cpu', non_blocking=True)
