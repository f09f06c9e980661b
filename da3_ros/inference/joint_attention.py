# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Attention of a block over all views, a part of the queries or of the heads at a time.

Shapes: N views on this device, T tokens of a view, C channels, h heads, d channels of a head.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from da3_ros.inference.arithmetic import Arithmetic, project
from da3_ros.inference.chunks import view_slices
from da3_ros.inference.sharing import Share
from da3_ros.model.transformer import Block, Rotation
import torch
from torch import Tensor
import torch.nn.functional as F


@dataclass(frozen=True, eq=False)
class Projector:
    """
    The way from the residual stream to queries, keys and values.

    :param arithmetic: for norms and rotations.
    :param dtype: of what comes out.
    """

    arithmetic: Arithmetic
    dtype: torch.dtype

    def __call__(
        self, block: Block, x: Tensor, rotation: Rotation | None, *, first: int, last: int = 3,
        heads: slice | None = None,
    ) -> tuple[Tensor, ...]:
        """
        Project residual stream (V, T, C) to some of queries (0), keys (1) and values (2).

        :param block: whose attention it is.
        :param x: fp32 contiguous.
        :param rotation: of the T tokens.
        :param first: of the three.
        :param last: the first one left out.
        :param heads: of which heads; None: of all.
        :returns: (V, T, h, d) each.
        """
        normed = self.arithmetic.norm(block.norm1, x, self.dtype)
        parts = project(block.attn, normed, first=first, last=last, heads=heads)
        norms = (block.attn.q_norm, block.attn.k_norm)
        return tuple(
            part if which == 2 else self.arithmetic.finish(part, norms[which], rotation)
            for which, part in enumerate(parts, start=first)
        )


@dataclass(frozen=True)
class Piece:
    """
    Tokens that pass through a block over all views at once.

    :param first: of the views on this device.
    :param last: the first one left out.
    :param camera_alone: only the camera tokens, in a copy.
    """

    first: int
    last: int
    camera_alone: bool = False

    @property
    def views(self) -> slice:
        """Return the range over N."""
        return slice(self.first, self.last)

    @property
    def tokens(self) -> slice:
        """Return the range over T."""
        return slice(1) if self.camera_alone else slice(None)

    def of(self, x: Tensor) -> Tensor:
        """
        Return its tokens in fp32, contiguous.

        :param x: (N, T, C) residual stream.
        """
        if self.camera_alone:
            return x[self.views, :1].to(torch.float32, copy=True).contiguous()
        return x[self.views].float()


class JointAttention:
    """
    Attention to the tokens of all views of a window, on this device and on others.

    :param projector: to queries, keys and values.
    :param rotation: of one view's T tokens.
    :param num_at_a_time: views whose tokens are projected at a time.
    :param share: of the window; None where no view sees another.
    :param one_product: project views that run at once to queries, keys and values together.
    :param head_groups: in so many parts the heads have keys and values of all views.
    """

    def __init__(
        self, projector: Projector, rotation: Rotation, num_at_a_time: int, share: Share | None,
        *, one_product: bool = False, head_groups: int = 1,
    ) -> None:
        self._project = projector
        self._rotation = rotation
        self._num_at_a_time = num_at_a_time
        self._share = share
        self._one_product = one_product
        self._head_groups = head_groups

    def prepare(
        self, block: Block, x: Tensor, pieces: Sequence[Piece]
    ) -> Callable[[Piece, Tensor], Tensor]:
        """
        Take in the tokens of all views, which may change from here on.

        :param block: over all views.
        :param x: (N, T, C) residual stream.
        :param pieces: whose tokens will ask.
        :returns: gives, once for each piece with its tokens (V, ..., C) fp32, what these attend
            to, (1, h, tokens, d).
        """
        return (self._by_heads if self._head_groups > 1 else self._by_pieces)(block, x, pieces)

    def _by_pieces(
        self, block: Block, x: Tensor, pieces: Sequence[Piece]
    ) -> Callable[[Piece, Tensor], Tensor]:
        """Hold keys and values of all heads."""
        queries = None
        if self._one_product and len(pieces) == 1 and not pieces[0].camera_alone:
            heads = self._project(block, x.float(), self._rotation, first=0)
            queries = _join_views(heads[0])
            keys, values = map(_join_views, self._window_share.gather(*heads[1:]))
            del heads
        else:
            keys, values = self._keys_values(block, x)

        def attend(piece: Piece, part: Tensor) -> Tensor:
            # Without a name, lest the queries outlive their use.
            return attention(
                self._queries(block, part, piece) if queries is None else queries, keys, values)

        return attend

    def _by_heads(
        self, block: Block, x: Tensor, pieces: Sequence[Piece]
    ) -> Callable[[Piece, Tensor], Tensor]:
        """Hold what all pieces attend to, for which keys and values of a few heads suffice."""
        num_heads, dtype = block.attn.num_heads, self._project.dtype
        attended = {
            piece: torch.empty(
                (1, x[piece.views, piece.tokens, 0].numel(), num_heads, x.shape[2] // num_heads),
                dtype=dtype, device=x.device)
            for piece in pieces
        }
        for heads in view_slices(num_heads, -(-num_heads // self._head_groups)):
            keys, values = self._keys_values(block, x, heads)
            for piece, whole in attended.items():
                queries = self._queries(block, piece.of(x), piece, heads)
                whole[:, :, heads] = attention(queries, keys, values).transpose(1, 2)
            del keys, values
        return lambda piece, _: attended.pop(piece).transpose(1, 2)

    def _queries(
        self, block: Block, part: Tensor, piece: Piece, heads: slice | None = None
    ) -> Tensor:
        """Project tokens to queries: (1, tokens, h, d)."""
        rotation = self._rotation.of(piece.tokens)
        return _join_views(
            self._project(block, part, rotation, first=0, last=1, heads=heads)[0])

    def _keys_values(
        self, block: Block, x: Tensor, heads: slice | None = None
    ) -> tuple[Tensor, Tensor]:
        """Project the tokens of all views to keys and values: (1, tokens, h, d) each."""
        rotation, share = self._rotation, self._window_share
        if 0 < len(x) <= self._num_at_a_time:
            parts = self._project(block, x.float(), rotation, first=1, heads=heads)
            keys, values = map(_join_views, share.gather(*parts))
            return keys, values
        num_heads = block.attn.num_heads
        num_taken = num_heads if heads is None else heads.stop - heads.start
        shape = (2, share.num_views, x.shape[1], num_taken, x.shape[2] // num_heads)
        both = torch.empty(shape, dtype=self._project.dtype, device=x.device)
        own = both[:, share.own]
        for views in view_slices(len(x), self._num_at_a_time):
            parts = self._project(block, x[views].float(), rotation, first=1, heads=heads)
            for whole, projected in zip(own, parts, strict=True):
                whole[views].copy_(projected)
        share.exchange_(*both)
        keys, values = map(_join_views, both)
        return keys, values

    @property
    def _window_share(self) -> Share:
        assert self._share is not None, 'views see each other'
        return self._share


def attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """
    Attend to values.

    :param queries: (..., tokens, h, d).
    :param keys: (..., other tokens, h, d).
    :param values: likewise.
    :returns: (..., h, tokens, d).
    """
    attended: Tensor = F.scaled_dot_product_attention(
        queries.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2))
    return attended


def _join_views(heads: Tensor) -> Tensor:
    """Put the tokens of (V, T, h, d) into one row: (1, V*T, h, d)."""
    return heads.flatten(0, 1)[None]
