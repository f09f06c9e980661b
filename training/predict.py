# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Predictions of held-out windows through the network's own public forward."""

from dataclasses import dataclass

from da3_ros.inference.conditioning import condition_on
from da3_ros.model.camera_head import build_intrinsics, invert_rigid
from da3_ros.model.network import DepthAnything3
import numpy as np
import torch
from torch import Tensor

from training.heldout import HeldOut
from training.metrics import score, Scores
from training.step import normalise


@dataclass(frozen=True)
class Mode:
    """
    How the network is asked.

    :param ref_view_strategy: see ``da3_ros.model.reference_view``.
    :param posed: give the true cameras.
    :param use_ray_pose: take the cameras from the rays.
    """

    ref_view_strategy: str = 'saddle_balanced'
    posed: bool = False
    use_ray_pose: bool = False


@torch.no_grad()
def evaluate(
    network: DepthAnything3, held_out: HeldOut, mode: Mode, *, batch_views: int = 32
) -> Scores:
    """
    Score a network on held-out windows.

    :param network: on any device.
    :param held_out: the windows.
    :param mode: how the network is asked.
    :param batch_views: views of one call, at least one window.
    """
    device = network.backbone.pretrained.cls_token.device
    num_views = held_out.images.shape[1]
    batch = max(1, batch_views // num_views)
    depths: list[Tensor] = []
    poses: list[Tensor] = []
    for start in range(0, len(held_out.images), batch):
        part = slice(start, start + batch)
        images = normalise(held_out.images[part].to(device).float() / 255.0)
        extrinsics, intrinsics = _cameras(held_out, part, device) if mode.posed else (None, None)
        output = network(
            images, extrinsics, intrinsics, use_ray_pose=mode.use_ray_pose,
            ref_view_strategy=mode.ref_view_strategy,
        )
        assert output.extrinsics is not None
        depths.append(output.depth.cpu())
        poses.append(invert_rigid(output.extrinsics).cpu())
    top = torch.cat(poses)
    bottom = torch.tensor((0.0, 0.0, 0.0, 1.0)).expand(*top.shape[:2], 1, 4)
    return score(torch.cat(depths), torch.cat((top, bottom), dim=-2), held_out.truth)


def _cameras(held_out: HeldOut, part: slice, device: torch.device) -> tuple[Tensor, Tensor]:
    poses = held_out.truth.world_T_camera[part].numpy().astype(np.float64)
    height, width = held_out.images.shape[-2:]
    focal = held_out.focal_px[part].to(device)[:, None, None].expand(-1, poses.shape[1], 2)
    middle = focal.new_tensor((width / 2, height / 2)).expand_as(focal)
    intrinsics = build_intrinsics(focal, middle)
    extrinsics = np.stack([
        condition_on(p, k).extrinsics for p, k in zip(poses, intrinsics.cpu().numpy(), strict=True)
    ])
    return torch.from_numpy(extrinsics).float().to(device), intrinsics
