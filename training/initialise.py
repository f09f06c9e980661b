# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
First weights of da3-tiny.

The network has no pretrained backbone, so positions start as sines of the patch grid, residual
branches small, attention sharp enough to match patches, and the camera decoder at the mean camera.
"""

from da3_ros.model.config import POSITION_GRID
from da3_ros.model.depth_head import DualDpt
from da3_ros.model.network import DepthAnything3
import torch
from torch import nn, Tensor

_POSITION_UNITS = 12.0
_POSITION_BASE = 30.0
_POSITION_SCALE = 0.3
_QK_SCALE = 1.4
_MEAN_FOV_RAD = (1.02, 1.25)


@torch.no_grad()
def initialise(network: DepthAnything3, seed: int) -> None:
    """
    Overwrite all weights.

    :param network: with DualDPT and cameras.
    :param seed: of the random ones.
    """
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.LayerNorm):
            module.reset_parameters()
    _initialise_backbone(network)
    assert isinstance(network.head, DualDpt)
    for module in network.head.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None:
            nn.init.zeros_(module.bias)
    depth = network.head.scratch.output_conv2[2]
    rays = network.head.scratch.output_conv2_aux[-1][-1]
    for layer in (depth, rays):
        layer.weight.mul_(0.3)
    depth.bias[1] = -1.0
    rays.bias[2] = 1.0
    rays.bias[6] = -1.0
    _initialise_cameras(network)


def _initialise_backbone(network: DepthAnything3) -> None:
    vit = network.backbone.pretrained
    vit.pos_embed.zero_()
    vit.pos_embed[0, 1:] = _sine_positions(vit.pos_embed.shape[-1])
    nn.init.normal_(vit.cls_token, std=0.2)
    nn.init.normal_(vit.camera_token, std=0.5)
    for block in vit.blocks:
        for layer, std in (
            (block.attn.qkv, 0.06), (block.mlp.fc1, 0.06),
            (block.attn.proj, 0.02), (block.mlp.fc2, 0.02),
        ):
            nn.init.trunc_normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)
        for norm in (block.attn.q_norm, block.attn.k_norm):
            if norm is not None:
                nn.init.constant_(norm.weight, _QK_SCALE)


def _initialise_cameras(network: DepthAnything3) -> None:
    decoder, encoder = network.cam_dec, network.cam_enc
    assert decoder is not None and encoder is not None
    for layer in (decoder.backbone[0], decoder.backbone[2]):
        nn.init.kaiming_normal_(layer.weight, nonlinearity='relu')
        nn.init.zeros_(layer.bias)
    for layer, bias in (
        (decoder.fc_t, (0.0, 0.0, 0.0)), (decoder.fc_qvec, (0.0, 0.0, 0.0, 1.0)),
        (decoder.fc_fov[0], _MEAN_FOV_RAD),
    ):
        layer.weight.mul_(0.1)
        layer.bias.copy_(torch.tensor(bias))
    nn.init.constant_(encoder.trunk_norm.weight, 0.5)


def _sine_positions(channels: int) -> Tensor:
    """Return (37 * 37, channels): sines and cosines of rows, then of columns."""
    places = (torch.arange(POSITION_GRID) + 0.5) / POSITION_GRID * _POSITION_UNITS
    quarter = channels // 4
    frequencies = 1.0 / _POSITION_BASE ** (torch.arange(quarter) / quarter)
    angles = places[:, None] * frequencies
    axis = torch.cat((angles.sin(), angles.cos()), dim=-1)
    grid = torch.cat((
        axis[:, None].expand(-1, POSITION_GRID, -1), axis[None].expand(POSITION_GRID, -1, -1)
    ), dim=-1)
    return grid.flatten(0, 1) * _POSITION_SCALE
