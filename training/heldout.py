# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Held-out windows: seeds that no training draws, paths as the simulated robot drives them.

Shapes: S windows, N views, H W pixels.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from training.camera_response import draw_exposure, expose, Response
from training.handling import Handling, turned
from training.metrics import Truth
from training.renderer import Renderer
from training.windows import draw_window, stack_windows, Window

FIRST_SEED = 500_000
_PATH_VIEWS = 24
_MAX_NOISE = 0.025


@dataclass(frozen=True)
class Attitude:
    """
    How a camera is turned against the simulated robot's.

    :param down_deg: further down.
    :param roll_deg: to the right.
    """

    down_deg: float = 0.0
    roll_deg: float = 0.0


@dataclass(frozen=True, eq=False)
class HeldOut:
    """
    Windows to be judged on.

    :param images: (S, N, 3, H, W) uint8.
    :param truth: depth and poses.
    :param focal_px: (S,).
    """

    images: Tensor
    truth: Truth
    focal_px: Tensor


def draw_held_out(
    renderer: Renderer, num_windows: int, num_views: int, size: tuple[int, int], *,
    first_seed: int = FIRST_SEED, max_stride: int = 1, attitude: Attitude | None = None,
    handling: Handling | None = None,
    draw_all: Callable[..., Iterable[Window]] = map,
) -> HeldOut:
    """
    Render held-out windows.

    :param renderer: of any device; all give the same images up to rounding.
    :param num_windows: S.
    :param num_views: N.
    :param size: height and width [px].
    :param first_seed: of consecutive ones.
    :param max_stride: every window takes each view of its path, or each second ... up to this.
    :param attitude: how the cameras are turned against the robot's upright one.
    :param handling: how they are mounted, and how near they come, or None.
    :param draw_all: maps a function over seeds; may spread them over processes.
    """
    draw = partial(
        _held_out_window, num_views=num_views, max_stride=max_stride,
        attitude=Attitude() if attitude is None else attitude, handling=handling)
    arrays = stack_windows(list(draw_all(draw, range(first_seed, first_seed + num_windows))))
    rendering = renderer(arrays, size, samples=2)
    random = torch.Generator().manual_seed(first_seed + num_views)
    exposure = draw_exposure(num_windows, num_views, random)
    images = expose(rendering.radiance, exposure, Response.plain(num_windows)).cpu()
    strength = _MAX_NOISE * torch.rand(num_windows, 1, 1, 1, 1, generator=random)
    noise = 255.0 * strength * torch.randn(images.shape, generator=random)
    return HeldOut(
        images=(images + noise).round().clamp(0, 255).to(torch.uint8),
        truth=Truth(rendering.depth.cpu(), torch.from_numpy(arrays.world_T_camera)),
        focal_px=size[1] / (2.0 * torch.from_numpy(arrays.tangents)),
    )


def _held_out_window(
    seed: int, *, num_views: int, max_stride: int, attitude: Attitude,
    handling: Handling | None,
) -> Window:
    """Draw a path and keep the views of its start; all of it where something is in its middle."""
    stride = 1 + seed % min(max_stride, max(_PATH_VIEWS // num_views, 1))
    path_views = max(num_views, _PATH_VIEWS) if handling is None else num_views * stride
    window = draw_window(seed, path_views, handling=handling)
    kept = slice(0, num_views * stride, stride)
    return Window(
        scene=window.scene, world_T_camera=turned(
            window.world_T_camera[kept], down_deg=attitude.down_deg, roll_deg=attitude.roll_deg),
        fov_x_rad=window.fov_x_rad, motion=window.motion[kept],
    )
