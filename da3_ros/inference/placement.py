# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
What of a network lies on the device.

Half of what a checkpoint holds is not needed in most windows: the camera encoder waits on the
host until poses are given, the ray branch stays there unless cameras come from rays.
"""

from collections.abc import Iterator

from da3_ros.model.build import Network
from da3_ros.model.nested import NestedDepthAnything3
from da3_ros.model.network import DepthAnything3
import torch
from torch import nn

_RAY_BRANCH = '_aux'


def place(
    network: Network, device: torch.device, *, with_rays: bool, with_encoder: bool = False
) -> None:
    """
    Move what every window needs to the device, and the rest to the host.

    :param network: changed in place.
    :param device: where it will run.
    :param with_rays: whether the ray branch is needed.
    :param with_encoder: whether windows come with poses, which need the camera encoder.
    """
    host = torch.device('cpu')
    for branch in branches(network):
        _move(branch, device)
        if branch.cam_enc is not None and not with_encoder:
            _move(branch.cam_enc, host)
        for name, part in branch.head.scratch.named_children():
            if _RAY_BRANCH in name and not with_rays:
                _move(part, host)


def weight_bytes(network: Network, device: torch.device) -> int:
    """
    Return what weights and tables of a network take on a device.

    :param network: plain or nested.
    :param device: any.
    """
    return sum(part.nbytes for part in _tensors(network) if part.device == device)


def has_encoder(network: Network, device: torch.device) -> bool:
    """
    Return whether a camera encoder lies on a device.

    :param network: plain or nested.
    :param device: any.
    """
    encoder = main_branch(network).cam_enc
    return encoder is not None and any(part.device == device for part in _tensors(encoder))


def missing_bytes(network: Network, device: torch.device) -> int:
    """
    Return what windows with given poses bring to a device besides themselves.

    :param network: plain or nested.
    :param device: where it runs.
    """
    encoder = main_branch(network).cam_enc
    if encoder is None:
        return 0
    return sum(part.nbytes for part in _tensors(encoder) if part.device != device)


def branches(network: Network) -> Iterator[DepthAnything3]:
    """
    Return the networks that a network is made of.

    :param network: plain or nested.
    """
    if isinstance(network, NestedDepthAnything3):
        yield from (network.da3, network.da3_metric)
    else:
        yield network


def main_branch(network: Network) -> DepthAnything3:
    """
    Return the network that sees all views together.

    :param network: plain or nested.
    """
    return next(branches(network))


def _tensors(module: nn.Module) -> Iterator[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _move(part: nn.Module, device: torch.device) -> None:
    # Convolutions read and write pixels with all their channels together.
    part.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
