# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
From radiance to the images of cameras: exposure, colours, tone, vignette.

Shapes: S windows, N views of a window, H W pixels. All draws come from a generator on the host, so
that a resumed training sees the same images.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_GAMMA = 2.2
_GREY_SHARE = 0.15
_MAX_SATURATION = 1.4
_GAMMAS = (1.5, 2.9)
_MAX_VIGNETTE = 0.6
_MAX_SOFTNESS = 0.5


@dataclass(frozen=True, eq=False)
class Response:
    """
    How cameras turn light into numbers; of windows, or of one for all.

    :param saturation: (S,) 1 leaves colours as they are, 0 is grey.
    :param gamma: (S,) exponent of the tone curve.
    :param vignette: (S,) loss of light in the corners, as a share.
    :param softness: (S,) share of a 3 x 3 mean in a pixel.
    """

    saturation: Tensor
    gamma: Tensor
    vignette: Tensor
    softness: Tensor

    @classmethod
    def plain(cls, num_windows: int) -> 'Response':
        """
        Return the response of ``da3_ros.simulation.sensor``.

        :param num_windows: S.
        """
        zero = torch.zeros(num_windows)
        return cls(zero + 1.0, zero + _GAMMA, zero, zero)

    @classmethod
    def draw(cls, num_windows: int, random: torch.Generator) -> 'Response':
        """
        Draw responses of many kinds of cameras.

        :param num_windows: S.
        :param random: source of randomness.
        """
        grey, saturation, gamma, vignette, softness = torch.rand(
            5, num_windows, generator=random)
        return cls(
            saturation=_MAX_SATURATION * saturation * (grey > _GREY_SHARE),
            gamma=_GAMMAS[0] + (_GAMMAS[1] - _GAMMAS[0]) * gamma,
            vignette=_MAX_VIGNETTE * (2.0 * vignette - 1.0).clamp_min(0.0),
            softness=_MAX_SOFTNESS * (2.0 * softness - 1.0).clamp_min(0.0))


def draw_exposure(num_windows: int, num_views: int, random: torch.Generator) -> Tensor:
    """
    Draw exposures that change a little from view to view.

    :param num_windows: S.
    :param num_views: N.
    :param random: source of randomness.
    :returns: (S, N, 3).
    """
    window = (torch.rand(num_windows, 1, 1, generator=random) - 0.45).exp()
    balance = 0.85 + 0.3 * torch.rand(num_windows, 1, 3, generator=random)
    flicker = (0.06 * torch.randn(num_windows, num_views, 1, generator=random)).exp()
    return window * balance * flicker


def expose(radiance: Tensor, exposure: Tensor, response: Response) -> Tensor:
    """
    Turn radiance into images, without noise.

    :param radiance: (S, N, 3, H, W) linear RGB.
    :param exposure: (S, N, 3) factor of every view and colour.
    :param response: of every window.
    :returns: (S, N, 3, H, W) uint8.
    """
    device = radiance.device
    saturation, gamma, vignette, softness = (
        part.to(device)[:, None, None, None, None] for part in (
            response.saturation, response.gamma, response.vignette, response.softness))
    exposed = radiance * exposure.to(device)[..., None, None]
    exposed = exposed * (1.0 - vignette * _corner_distance(radiance))
    soft = torch.nn.functional.avg_pool2d(
        torch.nn.functional.pad(exposed.flatten(0, 1), (1, 1, 1, 1), mode='replicate'), 3, 1)
    exposed = exposed + softness * (soft.view_as(exposed) - exposed)
    grey = exposed.mean(dim=2, keepdim=True)
    exposed = (grey + saturation * (exposed - grey)).clamp(0.0, 1.0)
    return (exposed ** (1.0 / gamma) * 255.0).round().to(torch.uint8)


def _corner_distance(image: Tensor) -> Tensor:
    """Return (H, W): the square of the distance from the middle, 1 in the corners."""
    rows, columns = (torch.linspace(-1.0, 1.0, n, device=image.device) for n in image.shape[-2:])
    return (rows[:, None] ** 2 + columns[None, :] ** 2) / 2.0
