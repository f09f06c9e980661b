# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
One network over one window, a part of the views at a time wherever that changes nothing.

Shapes: N views, M of them on this device, H W pixels, F channels of a level's features.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from da3_ros.inference.backbone_pass import BackbonePass, build_tables, Tables
from da3_ros.inference.chunks import Chunks, view_slices
from da3_ros.inference.fused_arithmetic import choose_arithmetic
from da3_ros.inference.head_pass import HeadPass
from da3_ros.inference.levels import LevelStore, Placement
from da3_ros.inference.maps import Maps
from da3_ros.inference.sharing import Peers, Share
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
# Of the heads that these numbers are for.
_HEAD_FEATURES = 256


@dataclass(frozen=True)
class ExecutorOptions:
    """
    Choices of memory against time or precision.

    :param chunks: views at a time; None: as suits a large GPU.
    :param features: where levels wait for the head; 'host' is exact and slower.
    :param reduced: keep residual stream and levels in the backbone's dtype: less memory, inexact.
    :param small_window: windows of up to so many views take memory for speed: what comes again is
        kept, and they are launched at once on a GPU; 0: none. Exact.
    :param head_groups: where all views see each other, their keys and values are there of one of
        so many groups of heads at a time. Exact; more are slower.
    """

    chunks: Chunks | None = None
    features: Placement = 'device'
    reduced: bool = False
    small_window: int = 32
    head_groups: int = 1

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

    def for_few_views(
        self, image_size: tuple[int, int], head_features: int
    ) -> 'ExecutorOptions':
        """
        Return options for windows that take memory for speed: more views of narrow heads at once.

        :param image_size: height and width [px].
        :param head_features: of the head's pyramid.
        """
        if self.chunks is not None:
            return self
        chunks, factor = self.chunks_for(image_size), max(1, _HEAD_FEATURES // head_features)
        return replace(self, chunks=replace(
            chunks, head=factor * chunks.head, maps=factor * chunks.maps))


@dataclass(frozen=True, eq=False)
class WindowFeatures:
    """
    What the backbone leaves for the heads, of the views on this device.

    :param image_size: height and width [px].
    :param levels: of the views whose maps are wanted.
    :param camera: (M, 9) encoding, or None where the variant has no camera decoder.
    :param appearance: (M, D), or None where no view sees another.
    """

    image_size: tuple[int, int]
    levels: LevelStore
    camera: Tensor | None
    appearance: Tensor | None


class Branch:
    """
    A network and how it is run.

    :param network: on its device and in its compute dtype; stays as it is.
    :param options: see ``ExecutorOptions``.
    :param with_rays: run the ray branch too.
    :param ref_view_strategy: see ``model.reference_view``.
    :param peers: devices that share windows, each with this network; None: this one alone.
    """

    def __init__(
        self,
        network: DepthAnything3,
        options: ExecutorOptions,
        *,
        with_rays: bool = False,
        ref_view_strategy: str = 'saddle_balanced',
        peers: Peers | None = None,
    ) -> None:
        self.network = network
        self._options = options
        self._with_rays = with_rays
        self._ref_view_strategy = ref_view_strategy
        self.peers = Peers() if peers is None else peers
        self._device = network.backbone.pretrained.pos_embed.device
        self._arithmetic = choose_arithmetic(self._device)
        self._one_product = False
        self._tables_size: tuple[int, int] | None = None
        self._tables: Tables | None = None

    def for_few_views(self, size: tuple[int, int]) -> 'Branch':
        """
        Return the same for windows that fit at once: in the largest pieces that a GPU wants.

        :param size: height and width of the images [px].
        """
        options = self._options.for_few_views(size, self.network.config.head_features)
        branch = Branch(
            self.network, options, with_rays=self._with_rays,
            ref_view_strategy=self._ref_view_strategy, peers=self.peers)
        branch._one_product = True
        return branch

    def run(
        self,
        pixels: Tensor,
        given_tokens: Tensor | None,
        wanted: Sequence[int] | None = None,
        *,
        on_host: bool = False,
    ) -> RawOutput:
        """
        Predict one window.

        :param pixels: (N, H, W, 3) uint8 RGB, on the host or the device.
        :param given_tokens: (N, C) of ``given_tokens``, or None.
        :param wanted: views whose maps are wanted; None: all.
        :param on_host: whether maps go to the host as they are produced; they are complete there
            when all devices have done what they were given.
        :returns: batch of one window, with the maps of the wanted views.
        """
        share, size = Share.of(len(pixels), wanted, self.peers), _size(pixels)
        maps = self._maps(share, size, on_host=on_host)
        if self.network.config.has_cameras:
            pixels = share.take(pixels)
            share = share.to(self._device)
            features = self.features(pixels, given_tokens, share)
            assert features.camera is not None and features.appearance is not None
            known = {
                'camera': share.gather_in_order(features.camera)[None],
                'appearance': share.gather_in_order(features.appearance)[None],
            }
            self.decode(features, maps, first_view=share.own_maps.start)
            del features
        else:
            pixels, first_view, known = share.take_mapped(pixels), share.own_maps.start, {}
            # No view sees another: a few at a time run from end to end.
            for views in view_slices(len(pixels), self._options.chunks_for(size).views):
                features = self.features(pixels[views], None)
                self.decode(features, maps, first_view=first_view + views.start)
                # Not to lie beside those of the next views.
                del features
        if not on_host:
            share.exchange_maps_(maps.fill(self.map_shapes(size)))
        return replace(maps.output(), **known)

    def features(
        self, pixels: Tensor, given_tokens: Tensor | None, share: Share | None = None
    ) -> WindowFeatures:
        """
        Run the backbone.

        :param pixels: (M, H, W, 3) uint8 RGB, on the host or the device, as they run.
        :param given_tokens: (N, C) of ``given_tokens``, in the window's order, or None.
        :param share: on the device; None: these are all views, and all maps are wanted.
        """
        size = _size(pixels)
        if not self.network.config.has_cameras:
            backbone_pass = self.begin(size)
            return self.finish(backbone_pass, size, backbone_pass.embed(pixels), 0, len(pixels))
        share = Share.of(len(pixels)).to(self._device) if share is None else share
        backbone_pass = self.begin(size, share)
        own, views = backbone_pass.before_exchange(pixels), share.views[share.own]
        if given_tokens is None:
            reference = self.reference(share.gather_in_order(own.class_tokens))
            tokens = self.learnt_tokens(reference, views)
        else:
            tokens = given_tokens[views]
        x, appearance = own.tokens, own.appearance
        first = backbone_pass.begin_exchange_(x, tokens)
        # The residual stream makes room for the last level.
        del own
        features = self.finish(backbone_pass, size, x, first, share.num_own_maps)
        return replace(features, appearance=appearance)

    def begin(self, size: tuple[int, int], share: Share | None = None) -> BackbonePass:
        """
        Begin a window.

        :param size: height and width of its images [px].
        :param share: of it; None where no view sees another.
        """
        return BackbonePass(
            self.network,
            self._tables_for(size),
            self._options.chunks_for(size),
            share,
            arithmetic=self._arithmetic,
            residual_dtype=self._kept_dtype,
            one_product=self._one_product,
            head_groups=self._options.head_groups,
        )

    def map_shapes(self, size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
        """
        Return the shapes of a view's maps by their names, as in ``RawOutput``.

        :param size: height and width of the image [px].
        """
        is_dual = isinstance(self.network.head, DualDpt)
        shapes: dict[str, tuple[int, ...]] = {
            'depth': size, 'confidence' if is_dual else 'sky': size}
        if self._with_rays and is_dual:
            grid = (8 * size[0] // PATCH_SIZE, 8 * size[1] // PATCH_SIZE)
            shapes.update(rays=(*grid, 6), ray_confidence=grid)
        return shapes

    def _maps(self, share: Share, size: tuple[int, int], *, on_host: bool) -> Maps:
        """Return room for the maps of a window."""
        if not on_host:
            return Maps(share.num_maps, self._device)
        shapes = self.map_shapes(size)
        shared = self.peers.host_maps({
            name: (share.num_maps, *shape) for name, shape in shapes.items()})
        return Maps(share.num_maps, torch.device('cpu'), shared)

    def reference(self, class_tokens: Tensor) -> Tensor:
        """
        Choose the reference view.

        :param class_tokens: (N, C) fp32, in the window's order.
        :returns: (1,) int64.
        """
        return self.network.backbone.select_reference(class_tokens[None], self._ref_view_strategy)

    def learnt_tokens(self, reference: Tensor, views: Tensor) -> Tensor:
        """
        Return the learnt camera tokens of views: (V, C).

        :param reference: (1,) int64, the reference view.
        :param views: (V,) int64.
        """
        return self.network.backbone.pretrained.camera_token[0, (views != reference).long()]

    def learnt_token(self, *, is_reference: bool) -> Tensor:
        """
        Return the learnt camera token of a view: (1, C).

        :param is_reference: whether it is the reference view.
        """
        start = 0 if is_reference else 1
        return self.network.backbone.pretrained.camera_token[0, start:start + 1]

    def given_tokens(self, cameras: Cameras, size: tuple[int, int]) -> Tensor:
        """
        Encode given cameras: (N, C).

        In full precision, which the attention kernel that is pinned for the backbone may not have.

        :param cameras: (1, N, ...) on the device.
        :param size: height and width of their images [px].
        """
        encoder = self.network.cam_enc
        assert encoder is not None
        tokens: Tensor = encoder.to(self._device)(encode_cameras(cameras, size))
        return tokens[0]

    def finish(
        self,
        backbone_pass: BackbonePass,
        size: tuple[int, int],
        x: Tensor,
        first: int,
        num_wanted: int,
    ) -> WindowFeatures:
        """
        Run the blocks from the first one over all views on.

        :param backbone_pass: of this window.
        :param size: height and width of the images [px].
        :param x: (M, T, C) residual stream, used up.
        :param first: index of the block.
        :param num_wanted: how many views at the end have maps.
        """
        network = self.network
        store = LevelStore(
            num_wanted,
            network.config.head_channels,
            placement=self._options.features,
            dtype=self._kept_dtype,
        )
        feature = backbone_pass.to_levels(x, first, store)
        camera = None if network.cam_dec is None else network.cam_dec(feature[None])[0]
        return WindowFeatures(size, store, camera, None)

    def decode(self, features: WindowFeatures, maps: Maps, *, first_view: int = 0) -> None:
        """
        Run the head over a few views at a time.

        :param features: of some views.
        :param maps: receives what the head predicts.
        :param first_view: index in ``maps`` of the first of these views.
        """
        head, size = self.network.head, features.image_size
        chunks = self._options.chunks_for(size)
        head_pass = HeadPass(head, size, chunks.maps, arithmetic=self._arithmetic)
        for views in view_slices(features.levels.num_views, chunks.head):
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

    @property
    def tables(self) -> object:
        """Return what the work reads besides weights and input; it depends on the image size."""
        return self._tables, self.network.head.embeddings

    @property
    def _kept_dtype(self) -> torch.dtype:
        """Return the dtype of the residual stream and the levels."""
        reduced = self.network.backbone.compute_dtype
        return reduced if self._options.reduced else torch.float32

    def _tables_for(self, size: tuple[int, int]) -> Tables:
        """Return the tables for an image size; those of the last one are kept."""
        if self._tables is None or self._tables_size != size:
            self._tables = build_tables(self.network.backbone, size)
            self._tables_size = size
        return self._tables


def _size(pixels: Tensor) -> tuple[int, int]:
    return (pixels.shape[1], pixels.shape[2])
