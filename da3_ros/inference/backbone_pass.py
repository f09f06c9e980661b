# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
The backbone over one window in little memory, and nothing but the backbone's own arithmetic.

One residual stream (N, T, C) is updated in place. What knows one view only (embedding, blocks
within views, feed-forward layers, norms) runs on a few views at a time. A block over all views
takes keys and values of all tokens first; they do not change while the block runs, so a few
views' queries can pass through the rest of the block and be written back before the next ones.
Each level of features is narrowed to what the head keeps of it as it appears.

Shapes: N views, T = 1 + P tokens of a view (camera token, then patches), C channels, h heads,
d channels of a head, F channels of a level's features.
"""

from dataclasses import dataclass
from typing import cast

from da3_ros.inference.appearance import describe
from da3_ros.inference.arithmetic import Arithmetic, project
from da3_ros.inference.chunks import Chunks, view_slices
from da3_ros.inference.levels import LevelStore, NUM_LEVELS
from da3_ros.inference.preprocessing import normalize
from da3_ros.model.backbone import Backbone
from da3_ros.model.config import PATCH_SIZE
from da3_ros.model.network import DepthAnything3
from da3_ros.model.transformer import Block, Rotation
import torch
from torch import Tensor
import torch.nn.functional as F


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


class BackbonePass:
    """
    One window on its way through the backbone.

    :param network: whose backbone runs and whose head narrows the levels.
    :param tables: for the images' size.
    :param chunks: views at a time.
    :param store: receives the levels.
    :param arithmetic: for norms and rotations.
    :param residual_dtype: of the residual stream between blocks; float32 is exact.
    """

    def __init__(
        self,
        network: DepthAnything3,
        tables: Tables,
        chunks: Chunks,
        store: LevelStore,
        *,
        arithmetic: Arithmetic,
        residual_dtype: torch.dtype = torch.float32,
    ) -> None:
        self._config = network.config
        self._backbone = network.backbone
        self._head = network.head
        self._tables = tables
        self._chunks = chunks
        self._store = store
        self._arithmetic = arithmetic
        self._residual_dtype = residual_dtype
        self._camera: list[Tensor] = []
        # (N, D) what the views look like, once they have passed the blocks of their own.
        self.appearance: Tensor | None = None

    def run(self, images: Tensor, camera_tokens: Tensor | None, ref_view_strategy: str) -> Tensor:
        """
        Run every block.

        :param images: (N, H, W, 3) uint8 RGB, on the host or the device.
        :param camera_tokens: (1, N, C) from the camera encoder; None: the learnt ones.
        :param ref_view_strategy: how the reference view is chosen where no cameras are given.
        :returns: (N, F) fp32, the camera feature of every view.
        """
        start = self._config.alternate_from
        x = self._embed(images)
        for i in range(self._config.out_layers[-1] + 1):
            if start is not None and i == start - 1 and camera_tokens is None:
                class_tokens = x[None, :, 0].float()
                camera_tokens = self._backbone.learnt_camera_tokens(
                    class_tokens, ref_view_strategy
                )
            if i == start:
                self.appearance = torch.cat([
                    describe(x[views, 1:]) for views in view_slices(len(x), self._chunks.views)
                ])
            if i == start and camera_tokens is not None:
                x[:, 0] = camera_tokens[0]
            if self._config.is_global(i):
                self._across_views(i, x)
            else:
                self._within_views(i, x)
        return torch.cat(self._camera)

    def _embed(self, images: Tensor) -> Tensor:
        """Embed images: (N, T, C) residual stream."""
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
            x[views] = weights.embed(
                normalize(images[views].to(x.device, non_blocking=True)), position_embedding
            )
        return x

    def _within_views(self, i: int, x: Tensor) -> None:
        """Run a block whose tokens see those of their own view."""
        block = self._block(i)
        start = self._config.alternate_from
        has_rotation = start is not None and i >= start
        rotation = self._tables.within_view if has_rotation else None
        for views in view_slices(len(x), self._chunks.views):
            part = x[views].float()
            heads = self._project(block, part, rotation, first=0)
            normed = self._attend_(block, part, *heads)
            del heads
            self._feed_forward_(block, part, normed)
            del normed
            self._write(i, x, views, local=part, result=part)

    def _across_views(self, i: int, x: Tensor) -> None:
        """Run a block whose tokens see those of all views."""
        block = self._block(i)
        rotation = self._tables.across_views
        keys, values = map(_join_views, self._keys_values(block, x))
        for views in view_slices(len(x), self._chunks.queries):
            part = x[views].float()
            local = part.clone() if i in self._config.out_layers else part
            (queries,) = self._project(block, part, rotation, first=0, last=1)
            normed = self._attend_(block, part, _join_views(queries), keys, values)
            del queries
            self._feed_forward_(block, part, normed)
            del normed
            self._write(i, x, views, local=local, result=part)

    def _keys_values(self, block: Block, x: Tensor) -> tuple[Tensor, Tensor]:
        """Project all tokens to keys and values: (N, T, h, d) each."""
        if len(x) <= self._chunks.queries:
            rotation = self._tables.across_views
            keys, values = self._project(block, x.float(), rotation, first=1)
            return keys, values
        num_heads = block.attn.num_heads
        shape = (2, *x.shape[:2], num_heads, x.shape[2] // num_heads)
        both = torch.empty(shape, dtype=self._backbone.compute_dtype, device=x.device)
        for views in view_slices(len(x), self._chunks.queries):
            part = x[views].float()
            parts = self._project(block, part, self._tables.across_views, first=1)
            for whole, projected in zip(both, parts, strict=True):
                whole[views].copy_(projected)
        keys, values = both
        return keys, values

    def _project(
        self, block: Block, x: Tensor, rotation: Rotation | None, *, first: int, last: int = 3
    ) -> tuple[Tensor, ...]:
        """Project residual stream (V, T, C) to queries, keys, values: (V, T, h, d) each."""
        normed = self._arithmetic.norm(block.norm1, x, self._backbone.compute_dtype)
        parts = project(block.attn, normed, first=first, last=last)
        norms = (block.attn.q_norm, block.attn.k_norm)
        return tuple(
            part if which == 2 else self._arithmetic.finish(part, norms[which], rotation)
            for which, part in enumerate(parts, start=first)
        )

    def _attend_(
        self, block: Block, x: Tensor, queries: Tensor, keys: Tensor, values: Tensor
    ) -> Tensor:
        """
        Run the first half of a block in place on (V, T, C), from (..., T, h, d) each.

        :returns: what the second half reads, (V, T, C).
        """
        attended = F.scaled_dot_product_attention(
            queries.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2)
        )
        branch = block.attn.merge(attended).view(x.shape)
        return self._arithmetic.add_and_norm_(x, branch, block.ls1, block.norm2)

    def _feed_forward_(self, block: Block, x: Tensor, normed: Tensor) -> None:
        """Run the second half of a block in place on (V, T, C)."""
        branch = self._arithmetic.feed_forward(block.mlp, normed)
        self._arithmetic.add_(x, branch, block.ls2)

    def _write(
        self, i: int, x: Tensor, views: slice, *, local: Tensor, result: Tensor
    ) -> None:
        """
        Write some views back to the residual stream, and keep their features at an out layer.

        :param local: (views, T, C) fp32 output of the last block within views.
        :param result: (views, T, C) fp32 output of this block.
        """
        if i in self._config.out_layers:
            features = self._backbone.level(local[:, 1:], result[:, 1:])
            level = self._config.out_layers.index(i)
            # Nothing reads the residual stream behind the last out layer.
            is_last = level == NUM_LEVELS - 1
            projected = self._head.project(level, features, self._tables.grid)
            if is_last:
                self._camera.append(self._backbone.camera_feature(local[:, 0], result[:, 0]))
            self._store.put(level, views, projected, memory=x if is_last else None)
            if is_last:
                return
        if result.data_ptr() != x[views].data_ptr():
            x[views] = result

    def _block(self, i: int) -> Block:
        return cast(Block, self._backbone.pretrained.blocks[i])


def _join_views(heads: Tensor) -> Tensor:
    """Put the tokens of (V, T, h, d) into one row: (1, V*T, h, d)."""
    return heads.flatten(0, 1)[None]
