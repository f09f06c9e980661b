# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
The backbone: a vision transformer whose late blocks alternate between one view and all views.

Shapes: B windows, N views of a window, V = B*N views, T = 1 + P tokens of a view (class or camera
token, then P patches row by row), C channels, H W pixels.
"""

from dataclasses import dataclass

from da3_ros.model.config import ModelConfig, PATCH_SIZE, POSITION_GRID
from da3_ros.model.reference_view import (
    reference_first,
    select_reference_view,
    take_views,
)
from da3_ros.model.transformer import Block, Rotation
import torch
from torch import nn, Tensor
import torch.nn.functional as F

# The published position embeddings were trained with this offset in the interpolation's scale.
_INTERPOLATION_OFFSET = 0.1


@dataclass(frozen=True, eq=False)
class Features:
    """
    What the heads read.

    :param levels: four (B, N, P, F) fp32, with F = 2C, or C where there are no global blocks.
    :param camera: (B, N, F) fp32, camera token of the last level, not normed.
    """

    levels: tuple[Tensor, ...]
    camera: Tensor


class PatchEmbed(nn.Module):
    """One token for every patch."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, kernel_size=PATCH_SIZE, stride=PATCH_SIZE)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (V, 3, H, W) to tokens (V, P, C)."""
        patches: Tensor = self.proj(images.to(self.proj.weight.dtype))
        return patches.flatten(2).transpose(1, 2)


class VisionTransformer(nn.Module):
    """The parts that know one view only: embeddings, blocks and the final norm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        start = config.alternate_from
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        if start is not None:
            # Row 0 marks the reference view, row 1 all others.
            self.camera_token = nn.Parameter(torch.randn(1, 2, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, POSITION_GRID**2 + 1, dim))
        self.patch_embed = PatchEmbed(dim)
        self.blocks = nn.ModuleList(
            Block(
                dim,
                config.num_heads,
                feed_forward=config.feed_forward,
                qk_norm=start is not None and i >= start,
                eps=1e-6,
            )
            for i in range(config.depth)
        )
        self.norm = nn.LayerNorm(dim)

    def position_embedding(self, rows: int, columns: int) -> Tensor:
        """
        Resample the learnt position embedding to a grid of patches.

        :returns: (1, T, C) fp32.
        """
        return resample_positions(self.pos_embed, rows, columns)

    def embed(self, images: Tensor, position_embedding: Tensor) -> Tensor:
        """
        Turn images into the residual stream before the first block.

        :param images: (V, 3, H, W) normalised.
        :param position_embedding: (1, T, C) for this image size.
        :returns: (V, T, C) fp32.
        """
        patches = self.patch_embed(images)
        class_token = self.cls_token.expand(len(patches), -1, -1)
        return torch.cat((class_token, patches), dim=1) + position_embedding


def resample_positions(embedding: Tensor, rows: int, columns: int) -> Tensor:
    """
    Resample a position embedding of the learnt grid to another one.

    :param embedding: (1, 1 + 37 * 37, C); the class token's comes first and stays.
    :param rows: of patches.
    :param columns: of patches.
    :returns: (1, T, C), linear in the embedding.
    """
    if rows == columns == POSITION_GRID:
        return embedding
    grid = embedding[:, 1:].unflatten(1, (POSITION_GRID, POSITION_GRID))
    scale = tuple((side + _INTERPOLATION_OFFSET) / POSITION_GRID for side in (rows, columns))
    resampled = F.interpolate(grid.permute(0, 3, 1, 2), scale_factor=scale, mode='bicubic')
    return torch.cat((embedding[:, :1], resampled.flatten(2).transpose(1, 2)), dim=1)


class Backbone(nn.Module):
    """The transformer over windows of views."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.pretrained = VisionTransformer(config)

    @property
    def compute_dtype(self) -> torch.dtype:
        """Return the dtype of matrix products and attention."""
        return self.pretrained.patch_embed.proj.weight.dtype

    def forward(
        self,
        images: Tensor,
        camera_tokens: Tensor | None = None,
        *,
        ref_view_strategy: str = 'saddle_balanced',
    ) -> Features:
        """
        Run every block over windows of views.

        :param images: (B, N, 3, H, W) normalised.
        :param camera_tokens: (B, N, C) from the camera encoder; None: the learnt ones.
        :param ref_view_strategy: how the reference view is chosen where no cameras are given.
        """
        start = self.config.alternate_from
        num_windows, num_views, _, height, width = images.shape
        grid = (height // PATCH_SIZE, width // PATCH_SIZE)
        x = self.pretrained.embed(images.flatten(0, 1), self.pretrained.position_embedding(*grid))
        x = x.unflatten(0, (num_windows, num_views))
        local_rotation = self.local_rotation(*grid, device=x.device)
        global_rotation = self.global_rotation(num_views, *grid, device=x.device)

        levels: list[Tensor] = []
        camera = local = x
        order = None
        for i, block in enumerate(self.pretrained.blocks):
            if start is not None and i == start - 1 and camera_tokens is None:
                # Only last bits depend on the order of views; upstream has the reference first.
                reference = self.select_reference(x[:, :, 0], ref_view_strategy)
                order = reference_first(reference, num_views)
                x = take_views(x, order)
                camera_tokens = self.learnt_camera_tokens(x[:, :, 0], 'first')
            if camera_tokens is not None and i == start:
                x = torch.cat((camera_tokens[:, :, None], x[:, :, 1:]), dim=2)
            if self.config.is_global(i):
                x = block(x.flatten(1, 2), global_rotation).unflatten(1, (num_views, -1))
            else:
                rotation = local_rotation if start is not None and i >= start else None
                x = block(x.flatten(0, 1), rotation).unflatten(0, (num_windows, num_views))
                local = x
            if i in self.config.out_layers:
                levels.append(self.level(local[:, :, 1:], x[:, :, 1:]))
                camera = self.camera_feature(local[:, :, 0], x[:, :, 0])
        if order is None:
            return Features(tuple(levels), camera)
        back = order.argsort(dim=1)
        return Features(tuple(take_views(x, back) for x in levels), take_views(camera, back))

    def select_reference(self, class_tokens: Tensor, strategy: str) -> Tensor:
        """
        Choose the reference view of every window.

        :param class_tokens: (B, N, C) fp32, at the entry of block ``alternate_from - 1``.
        :returns: (B,) int64.
        """
        return select_reference_view(class_tokens, strategy, similarity_dtype=self.compute_dtype)

    def learnt_camera_tokens(self, class_tokens: Tensor, strategy: str) -> Tensor:
        """
        Choose the reference view and give every view its learnt camera token.

        :param class_tokens: as in ``select_reference``.
        :returns: (B, N, C) fp32.
        """
        reference = self.select_reference(class_tokens, strategy)
        views = torch.arange(class_tokens.shape[1], device=reference.device)
        is_other = (views != reference[:, None]).long()
        return self.pretrained.camera_token[0, is_other]

    def level(self, local: Tensor, x: Tensor) -> Tensor:
        """
        Form what a depth head reads of some tokens.

        :param local: (..., C) output of the last block within a view, taken as it is.
        :param x: (..., C) output of this block.
        :returns: (..., F) fp32.
        """
        normed: Tensor = self.pretrained.norm(x)
        return torch.cat((local, normed), dim=-1) if self.config.has_cameras else normed

    def camera_feature(self, local: Tensor, x: Tensor) -> Tensor:
        """Form what the camera decoder reads: as ``level``, but not normed."""
        return torch.cat((local, x), dim=-1) if self.config.has_cameras else x

    def local_rotation(self, rows: int, columns: int, *, device: torch.device) -> Rotation:
        """
        Place the tokens of one view: camera at (0, 0), patches from (1, 1).

        :returns: rotation of T tokens.
        """
        y = torch.arange(1, rows + 1, device=device)
        x = torch.arange(1, columns + 1, device=device)
        patches = torch.cartesian_prod(y, x)
        return self._rotation(torch.cat((patches.new_zeros(1, 2), patches)))

    def global_rotation(
        self, num_views: int, rows: int, columns: int, *, device: torch.device
    ) -> Rotation:
        """
        Place the tokens of all views: cameras at (0, 0), every patch at (1, 1).

        :returns: rotation of N*T tokens.
        """
        positions = torch.ones(rows * columns + 1, 2, device=device)
        positions[0] = 0.0
        return self._rotation(positions.repeat(num_views, 1))

    def _rotation(self, positions: Tensor) -> Rotation:
        return Rotation.at(positions, self.config.embed_dim // self.config.num_heads)
