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
The exact executor: a network's own modules and weights over one window, in little memory.

Equal to the network's plain forward to rounding, however the work is divided. Shapes: N views,
H W pixels, T tokens of a view, F channels of a level's features.
"""

from dataclasses import dataclass, replace

from da3_ros.inference.backbone_pass import BackbonePass, build_tables, Chunks, Tables, view_slices
from da3_ros.inference.device import choose_attention, pinned_attention
from da3_ros.inference.levels import LevelStore, Placement
from da3_ros.model.build import Network
from da3_ros.model.camera_head import Cameras, encode_cameras
from da3_ros.model.config import PATCH_SIZE
from da3_ros.model.depth_head import DualDpt
from da3_ros.model.nested import NestedDepthAnything3, to_metres
from da3_ros.model.network import DepthAnything3, interpret, NetworkOutput, RawOutput
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

# Enough rows to fill the matrix units of the largest GPUs, and few enough to stay small beside
# the window's own tokens.
_TOKENS_PER_CHUNK = 16384
_PIXELS_PER_HEAD_CHUNK = 4 * 504 * 280


@dataclass(frozen=True)
class ExecutorOptions:
    """
    Choices of memory against time or precision.

    :param chunks: views at a time; None: as suits a large GPU.
    :param features: where levels wait for the head; 'host' is exact and slower.
    :param reduced: keep residual stream and levels in the backbone's dtype: less memory, inexact.
    """

    chunks: Chunks | None = None
    features: Placement = 'device'
    reduced: bool = False


def default_chunks(image_size: tuple[int, int]) -> Chunks:
    """
    Return chunks that fill a large GPU.

    :param image_size: height and width [px].
    """
    num_pixels = image_size[0] * image_size[1]
    views = max(1, round(_TOKENS_PER_CHUNK / (num_pixels / PATCH_SIZE**2 + 1)))
    return Chunks(views, views, max(1, round(_PIXELS_PER_HEAD_CHUNK / num_pixels)))


class WindowExecutor:
    """
    Runs a network over windows.

    :param network: on its device and in its compute dtype; stays as it is.
    :param options: see ``ExecutorOptions``.
    """

    def __init__(self, network: Network, options: ExecutorOptions = ExecutorOptions()) -> None:
        self._network = network
        self._options = options
        main = network.da3 if isinstance(network, NestedDepthAnything3) else network
        self._main = main
        self._device = main.backbone.pretrained.pos_embed.device
        self._attention = choose_attention(self._device, main.backbone.compute_dtype)
        self._tables: dict[tuple[str, tuple[int, int]], Tables] = {}

    @torch.inference_mode()
    def run(
        self,
        images: NDArray[np.uint8],
        cameras: Cameras | None = None,
        *,
        use_ray_pose: bool = False,
        ref_view_strategy: str = 'saddle_balanced',
    ) -> NetworkOutput:
        """
        Predict one window; meaning and errors as of ``DepthAnything3.forward``.

        :param images: (N, H, W, 3) uint8 RGB; H and W multiples of 14.
        :param cameras: (1, N, ...) given cameras, or None.
        :param use_ray_pose: take the cameras from the rays instead of the camera decoder.
        :param ref_view_strategy: see ``model.reference_view``.
        :returns: batch of one window.
        """
        pixels = torch.from_numpy(images)
        with pinned_attention(self._attention):
            if isinstance(self._network, NestedDepthAnything3):
                output = self._run_nested(
                    self._network, pixels, cameras, use_ray_pose, ref_view_strategy
                )
            elif self._main.config.has_cameras:
                output = interpret(
                    self._run_window(
                        self._main, pixels, cameras, use_ray_pose, ref_view_strategy
                    )
                )
            else:
                output = interpret(self._run_views(self._main, pixels))
            return self._to_host(output)

    def _run_nested(
        self,
        network: NestedDepthAnything3,
        pixels: Tensor,
        cameras: Cameras | None,
        use_ray_pose: bool,
        ref_view_strategy: str,
    ) -> NetworkOutput:
        raw = self._run_window(network.da3, pixels, cameras, use_ray_pose, ref_view_strategy)
        metric = self._run_views(network.da3_metric, pixels)
        return to_metres(interpret(raw), metric.depth, metric.sky, network.da3_metric.config)

    def _run_views(self, network: DepthAnything3, pixels: Tensor) -> RawOutput:
        """Run a network that has no block over all views: a few views from end to end."""
        chunks = self._chunks(pixels)
        parts = [
            self._run_window(network, pixels[views], None, False, 'first')
            for views in view_slices(len(pixels), chunks.views)
        ]
        depth = torch.cat([part.depth for part in parts], dim=1)
        skies = [part.sky for part in parts if part.sky is not None]
        return RawOutput(depth, sky=torch.cat(skies, dim=1) if skies else None)

    def _run_window(
        self,
        network: DepthAnything3,
        pixels: Tensor,
        cameras: Cameras | None,
        with_rays: bool,
        ref_view_strategy: str,
    ) -> RawOutput:
        """Run one network over views that all see each other."""
        size = (pixels.shape[1], pixels.shape[2])
        camera_tokens = None
        if cameras is not None and network.cam_enc is not None:
            encoding = encode_cameras(cameras, size).to(self._device)
            camera_tokens = network.cam_enc(encoding)
        compute_dtype = network.backbone.compute_dtype
        kept_dtype = compute_dtype if self._options.reduced else torch.float32
        store = LevelStore(
            len(pixels),
            network.config.head_channels,
            placement=self._options.features,
            dtype=kept_dtype,
        )
        backbone_pass = BackbonePass(
            network,
            self._tables_for(network, size),
            self._chunks(pixels),
            store,
            residual_dtype=kept_dtype,
        )
        feature = backbone_pass.run(pixels, camera_tokens, ref_view_strategy)
        raw = self._decode(network, store, pixels, with_rays)
        camera = None if network.cam_dec is None else network.cam_dec(feature[None])
        return replace(raw, camera=camera)

    def _decode(
        self, network: DepthAnything3, store: LevelStore, pixels: Tensor, with_rays: bool
    ) -> RawOutput:
        """Run the head over a few views at a time."""
        size = (pixels.shape[1], pixels.shape[2])
        # Maps with sky are interpreted together, on the device; others leave it at once.
        leaves = isinstance(network.head, DualDpt) and network is self._network
        maps_device = torch.device('cpu') if leaves else self._device
        kept: dict[str, Tensor] = {}

        def keep(name: str, views: slice, part: Tensor | None, device: torch.device) -> None:
            if part is None:
                return
            if name not in kept:
                kept[name] = torch.empty(
                    len(pixels),
                    *part.shape[1:],
                    device=device,
                    pin_memory=device.type == 'cpu' and part.is_cuda,
                )
            kept[name][views].copy_(part, non_blocking=True)

        for views in view_slices(len(pixels), self._chunks(pixels).head):
            laterals = network.head.laterals(store.get(views), size)
            maps = network.head.decode(laterals, size)
            keep('depth', views, maps.depth, maps_device)
            keep('confidence', views, maps.confidence, maps_device)
            keep('sky', views, maps.sky, maps_device)
            if with_rays and isinstance(network.head, DualDpt):
                rays = network.head.decode_rays(laterals, size)
                keep('rays', views, rays.rays, self._device)
                keep('ray_confidence', views, rays.confidence, self._device)
        return RawOutput(**{name: part[None] for name, part in kept.items()})

    def _to_host(self, output: NetworkOutput) -> NetworkOutput:
        """Bring a prediction to the host, once all of it is done."""
        def host(part: Tensor | None) -> Tensor | None:
            return None if part is None else part.to('cpu', non_blocking=True)

        moved = NetworkOutput(
            depth=output.depth.to('cpu', non_blocking=True),
            confidence=host(output.confidence),
            extrinsics=host(output.extrinsics),
            intrinsics=host(output.intrinsics),
            sky=host(output.sky),
        )
        if self._device.type == 'cuda':
            torch.cuda.current_stream(self._device).synchronize()
        return moved

    def _chunks(self, pixels: Tensor) -> Chunks:
        return self._options.chunks or default_chunks((pixels.shape[1], pixels.shape[2]))

    def _tables_for(self, network: DepthAnything3, size: tuple[int, int]) -> Tables:
        """Return the tables of one image size; those of the last size are kept."""
        key = (network.config.name, size)
        if key not in self._tables:
            self._tables = {k: v for k, v in self._tables.items() if k[1] == size}
            self._tables[key] = build_tables(network.backbone, size)
        return self._tables[key]
