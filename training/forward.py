# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
The network's forward in the form that trains fast: the same function of the same parameters.

Differences to ``da3_ros.model``: matrix products in bf16 from fp32 parameters, views of all
windows in one batch so that only attention knows the windows, pieces compiled where asked for.

Shapes: B windows, N views of a window, V = B*N views, T = 1 + P tokens, C channels, h heads,
d channels of a head.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from da3_ros.model.backbone import resample_positions
from da3_ros.model.config import PATCH_SIZE
from da3_ros.model.depth_head import DualDpt
from da3_ros.model.network import DepthAnything3
from da3_ros.model.transformer import Block, Rotation
import torch
from torch import Tensor
from torch.nn.attention import sdpa_kernel, SDPBackend
import torch.nn.functional as F

from training.dense_head import DenseHead

MATCHING_BLOCKS = (5, 7, 9)
"""Global blocks whose first head's queries and keys are trained to match patches."""


@dataclass(frozen=True, eq=False)
class Tokens:
    """
    What the backbone gives.

    :param local: four (V, T, C), output of the last block within a view, one for every level.
    :param mixed: four (V, T, C), output of the level's own block.
    :param queries: of the first head of ``MATCHING_BLOCKS``, (V, P, d) each.
    :param keys: likewise.
    """

    local: tuple[Tensor, ...]
    mixed: tuple[Tensor, ...]
    queries: tuple[Tensor, ...]
    keys: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class DecodedCameras:
    """
    What the camera decoder gives.

    :param encoding: (B, N, 9), see ``da3_ros.model.camera_head``.
    :param activity: mean square before the decoder's ReLUs. Kept small, no unit can stay dead.
    """

    encoding: Tensor
    activity: Tensor


class TrainingForward:
    """
    The forward of one image size.

    :param network: da3-tiny, or any variant with DualDPT and cameras.
    :param size: height and width [px], multiples of 14.
    :param dtype: dtype of the matrix products.
    :param compiled: whether to compile the pieces.
    """

    def __init__(
        self,
        network: DepthAnything3,
        size: tuple[int, int],
        *,
        dtype: torch.dtype,
        compiled: bool,
    ) -> None:
        if not isinstance(network.head, DualDpt):
            raise ValueError(f'network: got {network.config.name}, expected one with DualDPT')
        self.network = network
        self.size = size
        self.dtype = dtype
        self.grid = (size[0] // PATCH_SIZE, size[1] // PATCH_SIZE)
        device = network.backbone.pretrained.cls_token.device
        self._local = network.backbone.local_rotation(*self.grid, device=device)
        # As a matrix: resampling and its gradient are slow kernels.
        self._resampling = resample_positions(
            torch.eye(network.backbone.pretrained.pos_embed.shape[1], device=device)[None],
            *self.grid)[0]
        self._global = network.backbone.global_rotation(1, *self.grid, device=device)
        wrap: Callable[[Any], Any] = (
            (lambda f: torch.compile(f, dynamic=False)) if compiled else (lambda f: f)
        )
        self._embed = wrap(_embed)
        self._project = wrap(_project)
        self._finish = wrap(_finish)
        self.head = DenseHead(network.head, network.backbone.pretrained.norm, size, dtype)

    def tokens(
        self, images: Tensor, num_views: int, camera_encoding: Tensor | None = None
    ) -> Tokens:
        """
        Run the backbone; the first view of every window is its reference.

        :param images: (V, 3, H, W) normalised.
        :param num_views: N.
        :param camera_encoding: (B, N, 9) of given cameras, or None.
        """
        vit = self.network.backbone.pretrained
        config = self.network.config
        patch = vit.patch_embed.proj
        x = self._embed(
            images, patch.weight, patch.bias, vit.cls_token,
            self._resampling @ vit.pos_embed, self.dtype,
        )
        camera = self._camera_tokens(len(images), num_views, camera_encoding)
        local, levels, pairs = x, [], []
        for i, block in enumerate(vit.blocks):
            late = config.alternate_from is not None and i >= config.alternate_from
            if i == config.alternate_from:
                x = torch.cat((camera, x[:, 1:]), dim=1)
            across = config.is_global(i)
            rotation = (self._global if across else self._local) if late else None
            queries, keys, values = self._project(
                x, *_attention_weights(block), rotation, config.num_heads, self.dtype
            )
            heads = _attend(queries, keys, values, num_views if across else 1)
            x = self._finish(x, heads, *_block_weights(block), self.dtype)
            local = local if across else x
            if i in MATCHING_BLOCKS:
                pairs.append((queries[:, 1:, 0], keys[:, 1:, 0]))
            if i in config.out_layers:
                levels.append((local, x))
        return Tokens(*zip(*levels, strict=True), *zip(*pairs, strict=True))

    def cameras(self, tokens: Tokens, num_views: int) -> DecodedCameras:
        """
        Decode the camera tokens.

        :param tokens: of V views.
        :param num_views: N.
        """
        decoder = self.network.cam_dec
        assert decoder is not None
        feature = torch.cat((tokens.local[-1][:, 0], tokens.mixed[-1][:, 0]), dim=-1).float()
        first = decoder.backbone[0](feature)
        second = decoder.backbone[2](first.relu())
        hidden = second.relu()
        encoding = torch.cat(
            (decoder.fc_t(hidden), decoder.fc_qvec(hidden), decoder.fc_fov(hidden)), dim=-1)
        activity = first.square().mean() + second.square().mean()
        return DecodedCameras(encoding.unflatten(0, (-1, num_views)), activity)

    def _camera_tokens(self, views: int, num_views: int, encoding: Tensor | None) -> Tensor:
        if encoding is not None and self.network.cam_enc is not None:
            given: Tensor = self.network.cam_enc(encoding)
            return given.reshape(views, 1, -1)
        learnt = self.network.backbone.pretrained.camera_token[0]
        window = torch.cat((learnt[:1], learnt[1:].expand(num_views - 1, -1)))
        return window.repeat(views // num_views, 1)[:, None]


def _embed(
    images: Tensor, weight: Tensor, bias: Tensor, class_token: Tensor, position: Tensor,
    dtype: torch.dtype,
) -> Tensor:
    side = PATCH_SIZE
    patches = images.unflatten(3, (-1, side)).unflatten(2, (-1, side))
    patches = patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
    tokens = F.linear(patches.to(dtype), weight.flatten(1).to(dtype), bias.to(dtype)).float()
    return torch.cat((class_token.expand(len(tokens), -1, -1), tokens), dim=1) + position


def _attention_weights(block: Block) -> tuple[Tensor | None, ...]:
    attention = block.attn
    norms = (attention.q_norm, attention.k_norm)
    placed = (parameter for n in norms if n is not None for parameter in (n.weight, n.bias))
    return (
        block.norm1.weight, block.norm1.bias, attention.qkv.weight, attention.qkv.bias,
        *(tuple(placed) or (None,) * 4),
    )


def _project(
    x: Tensor, norm: Tensor, norm_bias: Tensor, weight: Tensor, bias: Tensor,
    query_norm: Tensor | None, query_bias: Tensor | None,
    key_norm: Tensor | None, key_bias: Tensor | None,
    rotation: Rotation | None, num_heads: int, dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values, (V, T, h, d) each."""
    normed = F.layer_norm(x, norm.shape, norm, norm_bias, 1e-6).to(dtype)
    heads = F.linear(normed, weight.to(dtype), bias.to(dtype)).unflatten(-1, (3, num_heads, -1))
    queries, keys, values = heads.unbind(2)
    if query_norm is not None and key_norm is not None:
        queries = F.layer_norm(queries.float(), query_norm.shape, query_norm, query_bias)
        keys = F.layer_norm(keys.float(), key_norm.shape, key_norm, key_bias)
    if rotation is not None:
        queries, keys = (
            rotation(a.transpose(1, 2)).transpose(1, 2).to(dtype) for a in (queries, keys)
        )
    return queries.contiguous(), keys.contiguous(), values.contiguous()


def _attend(queries: Tensor, keys: Tensor, values: Tensor, num_views: int) -> Tensor:
    """Attend over the tokens of every ``num_views`` views together."""
    shape = queries.shape
    windows = [
        a.reshape(shape[0] // num_views, num_views * shape[1], *shape[2:]).transpose(1, 2)
        for a in (queries, keys, values)
    ]
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]):
        heads = F.scaled_dot_product_attention(*windows)
    return heads.transpose(1, 2).reshape(shape[0], shape[1], -1)


def _block_weights(block: Block) -> tuple[Tensor, ...]:
    mlp = block.mlp
    return (
        block.attn.proj.weight, block.attn.proj.bias, block.ls1.gamma,
        block.norm2.weight, block.norm2.bias, mlp.fc1.weight, mlp.fc1.bias,
        mlp.fc2.weight, mlp.fc2.bias, block.ls2.gamma,
    )


def _finish(
    x: Tensor, heads: Tensor, weight: Tensor, bias: Tensor, scale: Tensor,
    norm: Tensor, norm_bias: Tensor, weight1: Tensor, bias1: Tensor,
    weight2: Tensor, bias2: Tensor, scale2: Tensor, dtype: torch.dtype,
) -> Tensor:
    """Run a block after its attention."""
    x = x + F.linear(heads, weight.to(dtype), bias.to(dtype)) * scale
    normed = F.layer_norm(x, norm.shape, norm, norm_bias, 1e-6).to(dtype)
    hidden = F.gelu(F.linear(normed, weight1.to(dtype), bias1.to(dtype)))
    return x + F.linear(hidden, weight2.to(dtype), bias2.to(dtype)) * scale2
