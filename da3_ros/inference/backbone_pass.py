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

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from da3_ros.inference.arithmetic import Arithmetic, project
from da3_ros.inference.chunks import Chunks, view_slices
from da3_ros.inference.levels import LevelStore, NUM_LEVELS
from da3_ros.inference.sharing import Share
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
        self._share = share
        self._arithmetic = arithmetic
        self._residual_dtype = residual_dtype
        self._one_product = one_product
        self._head_groups = head_groups
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
            attended = _attention(*heads)
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
            _Piece(slice(first + views.start, first + views.stop))
            for views in view_slices(len(x) - first, self._chunks.queries)
        ]
        if first > 0:
            pieces.insert(0, _Piece(slice(first), camera_alone=True))
        attend = self._by_heads if self._head_groups > 1 else self._by_pieces
        for piece, part, attended in attend(block, x, pieces):
            local = part.clone() if is_out else part
            normed = self._add_attended_(block, part, attended)
            del attended
            self._feed_forward_(block, part, normed)
            del normed
            if piece.camera_alone:
                self._camera.append(self._backbone.camera_feature(local[:, 0], part[:, 0]))
            else:
                self._write(i, x, piece.views, store, local=local, result=part)

    def _by_pieces(
        self, block: Block, x: Tensor, pieces: list['_Piece']
    ) -> Iterator[tuple['_Piece', Tensor, Tensor]]:
        """
        Attend to the tokens of all views, piece by piece.

        :returns: pieces, their tokens and the values that these attended to, (1, h, tokens, d).
        """
        queries = None
        is_whole = len(pieces) == 1 and not pieces[0].camera_alone
        if self._one_product and is_whole:
            heads = self._project(block, x.float(), self._tables.across_views, first=0)
            queries = _join_views(heads[0])
            keys, values = map(_join_views, self._window_share.gather(*heads[1:]))
            del heads
        else:
            keys, values = self._keys_values(block, x)
        for piece in pieces:
            part = piece.of(x)
            # Without a name, lest the queries outlive their use.
            yield piece, part, _attention(
                self._queries(block, part, piece) if queries is None else queries, keys, values)

    def _by_heads(
        self, block: Block, x: Tensor, pieces: list['_Piece']
    ) -> Iterator[tuple['_Piece', Tensor, Tensor]]:
        """Attend likewise, with keys and values of a few heads at a time."""
        num_heads, dtype = block.attn.num_heads, self._backbone.compute_dtype
        attended = [
            torch.empty(
                (1, x[piece.views, piece.tokens, 0].numel(), num_heads, x.shape[2] // num_heads),
                dtype=dtype, device=x.device)
            for piece in pieces
        ]
        for heads in view_slices(num_heads, -(-num_heads // self._head_groups)):
            keys, values = self._keys_values(block, x, heads)
            for piece, whole in zip(pieces, attended, strict=True):
                queries = self._queries(block, piece.of(x), piece, heads)
                whole[:, :, heads] = _attention(queries, keys, values).transpose(1, 2)
            del keys, values
        for piece in pieces:
            yield piece, piece.of(x), attended.pop(0).transpose(1, 2)

    def _queries(
        self, block: Block, part: Tensor, piece: '_Piece', heads: slice | None = None
    ) -> Tensor:
        """Project tokens to queries: (1, tokens, h, d)."""
        rotation = self._tables.across_views.of(piece.tokens)
        return _join_views(
            self._project(block, part, rotation, first=0, last=1, heads=heads)[0])

    def _keys_values(
        self, block: Block, x: Tensor, heads: slice | None = None
    ) -> tuple[Tensor, Tensor]:
        """Project the tokens of all views to keys and values: (1, tokens, h, d) each."""
        rotation, share = self._tables.across_views, self._window_share
        if 0 < len(x) <= self._chunks.queries:
            parts = self._project(block, x.float(), rotation, first=1, heads=heads)
            keys, values = map(_join_views, share.gather(*parts))
            return keys, values
        num_heads = block.attn.num_heads
        num_taken = num_heads if heads is None else heads.stop - heads.start
        shape = (2, share.num_views, x.shape[1], num_taken, x.shape[2] // num_heads)
        both = torch.empty(shape, dtype=self._backbone.compute_dtype, device=x.device)
        own = both[:, share.own]
        for views in view_slices(len(x), self._chunks.queries):
            parts = self._project(block, x[views].float(), rotation, first=1, heads=heads)
            for whole, projected in zip(own, parts, strict=True):
                whole[views].copy_(projected)
        share.exchange_(*both)
        keys, values = map(_join_views, both)
        return keys, values

    def _project(
        self, block: Block, x: Tensor, rotation: Rotation | None, *, first: int, last: int = 3,
        heads: slice | None = None,
    ) -> tuple[Tensor, ...]:
        """Project residual stream (V, T, C) to queries, keys, values: (V, T, h, d) each."""
        normed = self._arithmetic.norm(block.norm1, x, self._backbone.compute_dtype)
        parts = project(block.attn, normed, first=first, last=last, heads=heads)
        norms = (block.attn.q_norm, block.attn.k_norm)
        return tuple(
            part if which == 2 else self._arithmetic.finish(part, norms[which], rotation)
            for which, part in enumerate(parts, start=first)
        )

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

    @property
    def _window_share(self) -> Share:
        assert self._share is not None, 'views see each other'
        return self._share

    def _block(self, i: int) -> Block:
        return cast(Block, self._backbone.pretrained.blocks[i])


@dataclass(frozen=True)
class _Piece:
    """
    Tokens that pass through a block over all views at once.

    :param views: range over N.
    :param camera_alone: only the camera tokens, in a copy.
    """

    views: slice
    camera_alone: bool = False

    @property
    def tokens(self) -> slice:
        """Return the range over T."""
        return slice(1) if self.camera_alone else slice(None)

    def of(self, x: Tensor) -> Tensor:
        """Return its tokens of the residual stream (N, T, C) in fp32, contiguous."""
        if self.camera_alone:
            return x[self.views, :1].to(torch.float32, copy=True).contiguous()
        return x[self.views].float()


def _attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attend: (..., tokens, h, d) each to (..., h, tokens, d)."""
    return F.scaled_dot_product_attention(
        queries.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2))


def _join_views(heads: Tensor) -> Tensor:
    """Put the tokens of (V, T, h, d) into one row: (1, V*T, h, d)."""
    return heads.flatten(0, 1)[None]
