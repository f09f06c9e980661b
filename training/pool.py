# Copyright 2026 The da3_ros authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""
A pool of rendered windows on the device, refreshed chunk by chunk while the training runs.

What the pool holds and what a step draws from it are functions of the seed and the step alone, so
a resumed training sees what an uninterrupted one would have seen.

Shapes: B windows, N views of a window, V = B*N views, H W pixels.
"""

from concurrent.futures import Executor, Future
from dataclasses import dataclass

import torch
from torch import Tensor

from training.recipe import Recipe
from training.renderer import Renderer
from training.windows import draw_windows, FIRST_TRAINING_SEED, WindowArrays

_GAMMA = 2.2
_PREFETCHED_CHUNKS = 6
_MAX_NOISE = 0.025


@dataclass(frozen=True, eq=False)
class Views:
    """
    Windows as they are drawn for a step; the first view of each is its reference.

    :param images: (V, 3, H, W) uint8.
    :param noise: (B,) standard deviation of the noise to add [of full range].
    :param depth: (V, H, W) [m]; +inf in the sky.
    :param world_T_camera: (B, N, 4, 4).
    :param focal_px: (B,).
    """

    images: Tensor
    noise: Tensor
    depth: Tensor
    world_T_camera: Tensor
    focal_px: Tensor


def expose(radiance: Tensor, exposure: Tensor) -> Tensor:
    """
    Turn radiance into images as ``da3_ros.simulation.sensor`` does, without noise.

    :param radiance: (S, N, 3, H, W) linear RGB.
    :param exposure: (S, N, 3) factor of every view and colour.
    :returns: (S, N, 3, H, W) uint8.
    """
    exposed = (radiance * exposure[..., None, None]).clamp(0.0, 1.0)
    return (exposed ** (1.0 / _GAMMA) * 255.0).round().to(torch.uint8)


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


class WindowPool:
    """
    Rendered windows.

    :param recipe: sizes and seed.
    :param renderer: of the device.
    :param executor: draws scenes and paths in other processes.
    :param device: where the pool lives.
    :param rank: number of this device.
    :param world_size: number of devices.
    """

    def __init__(
        self, recipe: Recipe, renderer: Renderer, executor: Executor, device: torch.device,
        *, rank: int = 0, world_size: int = 1,
    ) -> None:
        self._recipe = recipe
        self._renderer = renderer
        self._executor = executor
        self._device = device
        self._rank = rank
        self._world_size = world_size
        shape = (recipe.pool_chunks * recipe.chunk_windows, recipe.window_views)
        size = recipe.image_size
        self._images = torch.empty(*shape, 3, *size, dtype=torch.uint8, device=device)
        self._depth = torch.empty(*shape, *size, device=device)
        self._poses = torch.empty(*shape, 4, 4, device=device)
        self._focal_px = torch.empty(shape[0], device=device)
        self._num_chunks = 0
        self._pending: dict[int, Future[WindowArrays]] = {}

    def advance(self, step: int) -> None:
        """
        Bring the pool to what it holds at a step; waits for scenes where they are late.

        :param step: not before the step of the last call.
        """
        recipe = self._recipe
        wanted = recipe.first_chunks + step // recipe.refresh_steps
        first = max(self._num_chunks, wanted - recipe.pool_chunks)
        for chunk in range(first, wanted + _PREFETCHED_CHUNKS):
            if chunk not in self._pending:
                self._pending[chunk] = self._executor.submit(
                    draw_windows, self._first_seed(chunk), recipe.chunk_windows,
                    recipe.window_views, augment=True,
                )
        for chunk in range(first, wanted):
            self._render(chunk, self._pending.pop(chunk).result())
        self._num_chunks = wanted

    def draw(self, step: int, num_views: int) -> Views:
        """
        Draw the windows of a step.

        :param step: the pool must have been advanced to it.
        :param num_views: N.
        """
        recipe = self._recipe
        random = torch.Generator().manual_seed(self._seed(step))
        num_windows = recipe.views_per_step // num_views
        filled = min(self._num_chunks, recipe.pool_chunks) * recipe.chunk_windows
        window = torch.randint(filled, (num_windows,), generator=random)
        longest = (recipe.window_views - 1) // (num_views - 1)
        stride = torch.randint(1, min(longest, 4) + 1, (num_windows,), generator=random)
        slack = recipe.window_views - (num_views - 1) * stride
        start = (torch.rand(num_windows, generator=random) * slack).long()
        views = start[:, None] + stride[:, None] * torch.arange(num_views)
        reference = torch.randint(num_views, (num_windows,), generator=random)
        reference *= torch.rand(num_windows, generator=random) < 0.6
        order = (torch.arange(num_views) + reference[:, None]) % num_views
        views = views.gather(1, order)
        noise = torch.rand(num_windows, generator=random) * _MAX_NOISE
        window, views = window.to(self._device), views.to(self._device)
        return Views(
            images=self._images[window[:, None], views].flatten(0, 1),
            noise=noise.to(self._device, non_blocking=True),
            depth=self._depth[window[:, None], views].flatten(0, 1),
            world_T_camera=self._poses[window[:, None], views],
            focal_px=self._focal_px[window],
        )

    def _render(self, chunk: int, arrays: WindowArrays) -> None:
        recipe = self._recipe
        random = torch.Generator().manual_seed(self._first_seed(chunk))
        exposure = draw_exposure(recipe.chunk_windows, recipe.window_views, random)
        slot = chunk % recipe.pool_chunks * recipe.chunk_windows
        place = slice(slot, slot + recipe.chunk_windows)
        rendering = self._renderer(arrays, recipe.image_size, samples=recipe.samples)
        self._images[place] = expose(rendering.radiance, exposure.to(self._device))
        self._depth[place] = rendering.depth
        self._poses[place] = torch.from_numpy(arrays.world_T_camera).to(self._device)
        half_width = recipe.image_size[1] / 2
        self._focal_px[place] = half_width / torch.from_numpy(arrays.tangents).to(self._device)

    def _first_seed(self, chunk: int) -> int:
        number = (self._recipe.seed * 1_000_003 + chunk) * self._world_size + self._rank
        return FIRST_TRAINING_SEED + number * self._recipe.chunk_windows

    def _seed(self, step: int) -> int:
        return (self._recipe.seed * 1_000_003 + step) * self._world_size + self._rank
