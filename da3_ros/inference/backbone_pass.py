# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
The backbone over one window in little memory, and nothing but the backbone's own arithmetic.

One residual stream (N, T, C) is updated in place. What knows one view only (embedding, blocks
within views, feed-forward layers, norms) runs on a few views at a time. A block over all views
takes keys and values of all tokens first; they do not change while the block runs, so a few
views' queries can pass through the rest of the block and be written back before the next ones.
Where keys and values take too much memory, those of a few heads come after those of others: what
all queries attended to waits until the last heads are done. Each level of features is narrowed
to what the head keeps of it as it appears.

Of devices that share a window, each runs this on its own views. Keys and values are all that they
exchange here.

Shapes: N views on this device, T = 1 + P tokens of a view (camera token, then patches), C
channels, h heads, d channels of a head, F channels of a level's features.
"""

from dataclasses import dataclass
from typing import cast

from da3_ros.inference.arithmetic import Arithmetic
from da3_ros.inference.chunks import Chunks, view_slices
from da3_ros.inference.joint_attention import attention, JointAttention, Piece, Projector
from da3_ros.inference.levels import LevelStore, NUM_LEVELS
from da3_ros.inference.sharing import Share
from da3_ros.model.backbone import Backbone
from da3_ros.model.config import PATCH_SIZE
from da3_ros.model.network import DepthAnything3
from da3_ros.model.transformer import Block, Rotation
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Tables:
    """
    What depends on the image size alone.

    :param grid: rows and columns of patches.
    :param position_embedding: (1, T, C) fp32.
    :param within_view: rotation of one view's T tokens.
    :param across_views: rotation of one view's T tokens in a block over all views.
    """

    grid: tuple[int, int]
    position_embedding: Tensor
    within_view: Rotation
    across_views: Rotation


def build_tables(backbone: Backbone, image_size: tuple[int, int]) -> Tables:
    """
    Compute the tables for one image size.

    :param backbone: already on its device.
    :param image_size: height and width [px].
    """
    grid = (image_size[0] // PATCH_SIZE, image_size[1] // PATCH_SIZE)
    device = backbone.pretrained.pos_embed.device
    return Tables(
        grid,
        backbone.pretrained.position_embedding(*grid),
        backbone.local_rotation(*grid, device=device),
        backbone.global_rotation(1, *grid, device=device),
    )


@dataclass(frozen=True, eq=False)
class OwnTokens:
    """
    What views are before they see each other; the same in every window.

    :param tokens: (V, T, C) residual stream, without camera tokens.
    :param class_tokens: (V, C) fp32, which the reference view is chosen by.
    :param appearance: (V, D) what they look like.
    """

    tokens: Tensor
    class_tokens: Tensor
    appearance: Tensor


class BackbonePass:
    """
    One window on its way through the backbone.

    Views whose maps are not wanted come first: they have a camera, and others see them, but no
    level is taken of them.

    :param network: whose backbone runs and whose head narrows the levels.
    :param tables: for the images' size.
    :param chunks: views at a time.
    :param share: of the window; None where no view sees another.
    :param arithmetic: for norms and rotations.
    :param residual_dtype: of the residual stream between blocks; float32 is exact.
    :param one_product: project views that run at once to queries, keys and values together, also
        where all see each other: faster, in more memory.
    :param head_groups: in so many parts the heads have keys and values of all views.
    """

    def __init__(
        self,
        network: DepthAnything3,
        tables: Tables,
        chunks: Chunks,
        share: Share | None,
        *,
        arithmetic: Arithmetic,
        residual_dtype: torch.dtype = torch.float32,
        one_product: bool = False,
        head_groups: int = 1,
    ) -> None:
        self._config = network.config
        self._backbone = network.backbone
        self._head = network.head
        self._tables = tables
        self._chunks = chunks
        self._arithmetic = arithmetic
        self._residual_dtype = residual_dtype
        self._project = Projector(arithmetic, self._backbone.compute_dtype)
        self._joint_attention = JointAttention(
            self._project, tables.across_views, chunks.queries, share, one_product=one_product,
            head_groups=head_groups)
        self._camera: list[Tensor] = []

    def embed(self, images: Tensor) -> Tensor:
        """
        Embed views.

        :param images: (V, H, W, 3) uint8 RGB, on the host or the device.
        :returns: (V, T, C) residual stream.
        """
        weights = self._backbone.pretrained
        position_embedding = self._tables.position_embedding
        x = torch.empty(
            len(images),
            *position_embedding.shape[1:],
            dtype=self._residual_dtype,
            device=position_embedding.device,
        )
        for views in view_slices(len(x), self._chunks.views):
            # Without names, so that neither form of the pixels outlives its use.
            x[views] = self._arithmetic.embed(
                weights, images[views].to(x.device, non_blocking=True), position_embedding
            )
        return x

    def before_exchange(self, images: Tensor) -> OwnTokens:
        """
        Embed views and run the blocks before any view sees another.

        :param images: (V, H, W, 3) uint8 RGB, on the host or the device.
        """
        start = self._config.alternate_from
        assert start is not None, 'in a network whose views never see each other, all blocks are'
        x = self.embed(images)
        for i in range(start - 1):
            self._within_views(i, x, None)
        class_tokens = x[:, 0].to(torch.float32, copy=True)
        self._within_views(start - 1, x, None)
        chunks = view_slices(len(x), self._chunks.views)
        none = class_tokens.new_empty(0, 2 * x.shape[-1])
        appearance = torch.cat([none, *(self._arithmetic.describe(x[views]) for views in chunks)])
        return OwnTokens(x, class_tokens, appearance)

    def begin_exchange_(self, x: Tensor, camera_tokens: Tensor) -> int:
        """
        Give views their camera tokens, and run the blocks within views that follow, in place.

        :param x: (V, T, C) residual stream of ``before_exchange``.
        :param camera_tokens: (V, C).
        :returns: index of the first block over all views.
        """
        x[:, 0] = camera_tokens
        i = self._config.alternate_from
        assert i is not None
        while not self._config.is_global(i):
            self._within_views(i, x, None)
            i += 1
        return i

    def to_levels(self, x: Tensor, first: int, store: LevelStore) -> Tensor:
        """
        Run the remaining blocks; the residual stream is used up.

        :param x: (N, T, C) residual stream.
        :param first: index of the first block to run.
        :param store: receives the levels of the last views, as many as it has room for.
        :returns: (N, F) fp32, the camera feature of every view.
        """
        for i in range(first, self._config.out_layers[-1] + 1):
            if self._config.is_global(i):
                self._across_views(i, x, store)
            else:
                self._within_views(i, x, store)
        none = torch.empty(0, self._config.feature_dim, device=x.device)
        return torch.cat([none, *self._camera])

    def _within_views(self, i: int, x: Tensor, store: LevelStore | None) -> None:
        """Run a block whose tokens see those of their own view."""
        block = self._block(i)
        start = self._config.alternate_from
        has_rotation = start is not None and i >= start
        rotation = self._tables.within_view if has_rotation else None
        for views in view_slices(len(x), self._chunks.views):
            part = x[views].float()
            heads = self._project(block, part, rotation, first=0)
            attended = attention(*heads)
            del heads
            normed = self._add_attended_(block, part, attended)
            del attended
            self._feed_forward_(block, part, normed)
            del normed
            self._write(i, x, views, store, local=part, result=part)

    def _across_views(self, i: int, x: Tensor, store: LevelStore) -> None:
        """Run a block whose tokens see those of all views."""
        block, is_out = self._block(i), i in self._config.out_layers
        # Of views whose maps are not wanted, nothing is read any more in the end but the camera.
        first = len(x) - store.num_views if i == self._config.out_layers[-1] else 0
        pieces = [
            Piece(first + views.start, first + views.stop)
            for views in view_slices(len(x) - first, self._chunks.queries)
        ]
        if first > 0:
            pieces.insert(0, Piece(0, first, camera_alone=True))
        attend = self._joint_attention.prepare(block, x, pieces)
        for piece in pieces:
            part = piece.of(x)
            local = part.clone() if is_out else part
            normed = self._add_attended_(block, part, attend(piece, part))
            self._feed_forward_(block, part, normed)
            del normed
            if piece.camera_alone:
                self._camera.append(self._backbone.camera_feature(local[:, 0], part[:, 0]))
            else:
                self._write(i, x, piece.views, store, local=local, result=part)

    def _add_attended_(self, block: Block, x: Tensor, attended: Tensor) -> Tensor:
        """
        Add attended values (..., h, tokens, d) to (V, T, C) in place.

        :returns: what the second half of the block reads, (V, T, C).
        """
        branch = block.attn.merge(attended).view(x.shape)
        return self._arithmetic.add_and_norm_(x, branch, block.ls1, block.norm2)

    def _feed_forward_(self, block: Block, x: Tensor, normed: Tensor) -> None:
        """Run the second half of a block in place on (V, T, C)."""
        branch = self._arithmetic.feed_forward(block.mlp, normed)
        self._arithmetic.add_(x, branch, block.ls2)

    def _write(
        self, i: int, x: Tensor, views: slice, store: LevelStore | None, *, local: Tensor,
        result: Tensor,
    ) -> None:
        """
        Write some views back to the residual stream, and keep their features at an out layer.

        :param local: (views, T, C) fp32 output of the last block within views.
        :param result: (views, T, C) fp32 output of this block.
        """
        if store is not None and i in self._config.out_layers:
            level = self._config.out_layers.index(i)
            # Nothing reads the residual stream behind the last out layer.
            is_last = level == NUM_LEVELS - 1
            if is_last:
                # Before the level, which takes the memory of the residual stream.
                self._camera.append(self._backbone.camera_feature(local[:, 0], result[:, 0]))
            self._keep_level(level, x, views, store, local=local, result=result)
            if is_last:
                return
        if result.data_ptr() != x[views].data_ptr():
            x[views] = result

    def _keep_level(
        self, level: int, x: Tensor, views: slice, store: LevelStore, *, local: Tensor,
        result: Tensor,
    ) -> None:
        """Keep a level of those of some views that it is wanted of."""
        first = len(x) - store.num_views
        left_out = max(first - views.start, 0)
        if left_out >= len(result):
            return
        features = self._arithmetic.level(
            self._backbone, self._head, local[left_out:], result[left_out:])
        projected = self._head.narrow(level, features, self._tables.grid)
        target = slice(max(views.start, first) - first, views.stop - first)
        store.put(
            level, target, projected, memory=x[first:] if level == NUM_LEVELS - 1 else None)

    def _block(self, i: int) -> Block:
        return cast(Block, self._backbone.pretrained.blocks[i])
