# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
One network over one window, a part of the views at a time wherever that changes nothing.

Shapes: N views, H W pixels, F channels of a level's features.
"""

from dataclasses import dataclass, replace

from da3_ros.inference.backbone_pass import BackbonePass, build_tables, Tables
from da3_ros.inference.chunks import Chunks, view_slices
from da3_ros.inference.fused_arithmetic import choose_arithmetic
from da3_ros.inference.head_pass import HeadPass
from da3_ros.inference.levels import LevelStore, Placement
from da3_ros.model.camera_head import Cameras, encode_cameras
from da3_ros.model.config import PATCH_SIZE
from da3_ros.model.depth_head import DualDpt
from da3_ros.model.network import DepthAnything3, RawOutput
import torch
from torch import Tensor

# Enough rows to fill the matrix units of the largest GPUs, and few enough to stay small beside
# the window's own tokens.
_TOKENS_PER_CHUNK = 16384
_PIXELS_PER_HEAD_CHUNK = 4 * 504 * 280
# Of that, where maps are as large as the image: convolutions of one such image fill a large GPU.
_MAPS_SHARE = 4


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

    def chunks_for(self, image_size: tuple[int, int]) -> Chunks:
        """
        Return the given chunks, or such that fill a large GPU.

        :param image_size: height and width [px].
        """
        if self.chunks is not None:
            return self.chunks
        num_pixels = image_size[0] * image_size[1]
        views = max(1, round(_TOKENS_PER_CHUNK / (num_pixels / PATCH_SIZE**2 + 1)))
        head = max(1, round(_PIXELS_PER_HEAD_CHUNK / num_pixels))
        return Chunks(views, views, head, max(1, head // _MAPS_SHARE))


@dataclass(frozen=True, eq=False)
class WindowFeatures:
    """
    What the backbone leaves for the heads.

    :param num_views: N.
    :param image_size: height and width [px].
    :param levels: of all views.
    :param camera: (1, N, 9) encoding, or None where the variant has no camera decoder.
    :param appearance: (N, D), or None where no view sees another.
    """

    num_views: int
    image_size: tuple[int, int]
    levels: LevelStore
    camera: Tensor | None
    appearance: Tensor | None


class Maps:
    """
    Maps of all views, filled a few views at a time.

    :param num_views: N.
    :param device: where they are kept; copies to the host do not wait.
    """

    def __init__(self, num_views: int, device: torch.device) -> None:
        self._num_views = num_views
        self._device = device
        self._maps: dict[str, Tensor] = {}

    def put(self, name: str, views: slice, part: Tensor | None) -> None:
        """
        Keep a map of some views.

        :param name: as in ``RawOutput``.
        :param views: range over N.
        :param part: (views, ...), or None where the head has no such map.
        """
        if part is None:
            return
        if name not in self._maps:
            shape = (self._num_views, *part.shape[1:])
            is_copy_to_host = part.is_cuda and self._device.type == 'cpu'
            self._maps[name] = torch.empty(
                shape, device=self._device, pin_memory=is_copy_to_host
            )
        self._maps[name][views].copy_(part, non_blocking=True)

    def output(self) -> RawOutput:
        """Return all maps as one window."""
        return RawOutput(**{name: views[None] for name, views in self._maps.items()})


class Branch:
    """
    A network and how it is run.

    :param network: on its device and in its compute dtype; stays as it is.
    :param options: see ``ExecutorOptions``.
    :param with_rays: run the ray branch too.
    :param ref_view_strategy: see ``model.reference_view``.
    """

    def __init__(
        self,
        network: DepthAnything3,
        options: ExecutorOptions,
        *,
        with_rays: bool = False,
        ref_view_strategy: str = 'saddle_balanced',
    ) -> None:
        self._network = network
        self._options = options
        self._with_rays = with_rays
        self._ref_view_strategy = ref_view_strategy
        self._device = network.backbone.pretrained.pos_embed.device
        self._arithmetic = choose_arithmetic(self._device)
        self._tables_size: tuple[int, int] | None = None
        self._tables: Tables | None = None

    def run(
        self, pixels: Tensor, cameras: Cameras | None, maps_device: torch.device
    ) -> RawOutput:
        """
        Predict one window.

        :param pixels: (N, H, W, 3) uint8 RGB, on the host or the device.
        :param cameras: (1, N, ...) given cameras on the device, or None.
        :param maps_device: where depth, confidence and sky go as they are produced.
        :returns: batch of one window.
        """
        chunks = self._options.chunks_for(_size(pixels))
        # Without cameras no view sees another: a few views at a time run from end to end.
        at_a_time = len(pixels) if self._network.config.has_cameras else chunks.views
        maps = Maps(len(pixels), maps_device)
        camera = appearance = None
        for views in view_slices(len(pixels), at_a_time):
            features = self.features(pixels[views], cameras)
            camera, appearance = features.camera, features.appearance
            self.decode(features, maps, first_view=views.start)
            # Not to lie beside those of the next views.
            del features
        if appearance is not None:
            appearance = appearance[None]
        return replace(maps.output(), camera=camera, appearance=appearance)

    def features(self, pixels: Tensor, cameras: Cameras | None) -> WindowFeatures:
        """
        Run the backbone.

        :param pixels: (N, H, W, 3) uint8 RGB, on the host or the device.
        :param cameras: (1, N, ...) given cameras on the device, or None.
        """
        network, size = self._network, _size(pixels)
        kept_dtype = network.backbone.compute_dtype if self._options.reduced else torch.float32
        store = LevelStore(
            len(pixels),
            network.config.head_channels,
            placement=self._options.features,
            dtype=kept_dtype,
        )
        backbone_pass = BackbonePass(
            network,
            self._tables_for(size),
            self._options.chunks_for(size),
            store,
            arithmetic=self._arithmetic,
            residual_dtype=kept_dtype,
        )
        camera_tokens = None
        if cameras is not None and network.cam_enc is not None:
            network.cam_enc.to(self._device)
            camera_tokens = network.cam_enc(encode_cameras(cameras, size))
        feature = backbone_pass.run(pixels, camera_tokens, self._ref_view_strategy)
        camera = None if network.cam_dec is None else network.cam_dec(feature[None])
        return WindowFeatures(len(pixels), size, store, camera, backbone_pass.appearance)

    def decode(self, features: WindowFeatures, maps: Maps, *, first_view: int = 0) -> None:
        """
        Run the head over a few views at a time.

        :param features: of some views.
        :param maps: receives what the head predicts.
        :param first_view: index in ``maps`` of the first of these views.
        """
        head, size = self._network.head, features.image_size
        chunks = self._options.chunks_for(size)
        head_pass = HeadPass(head, size, chunks.maps, arithmetic=self._arithmetic)
        for views in view_slices(features.num_views, chunks.head):
            start = first_view + views.start
            laterals = head.laterals(features.levels.get(views), size)
            if self._with_rays and isinstance(head, DualDpt):
                rays = head.decode_rays(laterals, size)
                target = slice(start, first_view + views.stop)
                maps.put('rays', target, rays.rays)
                maps.put('ray_confidence', target, rays.confidence)
            for part, dense in head_pass.run(laterals):
                target = slice(start + part.start, start + part.stop)
                maps.put('depth', target, dense.depth)
                maps.put('confidence', target, dense.confidence)
                maps.put('sky', target, dense.sky)

    def _tables_for(self, size: tuple[int, int]) -> Tables:
        """Return the tables for an image size; those of the last one are kept."""
        if self._tables is None or self._tables_size != size:
            self._tables = build_tables(self._network.backbone, size)
            self._tables_size = size
        return self._tables


def _size(pixels: Tensor) -> tuple[int, int]:
    return (pixels.shape[1], pixels.shape[2])
