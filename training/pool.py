# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
A pool of rendered windows on the device, refreshed chunk by chunk while the training runs.

What the pool holds and what a step draws from it are functions of the seed and the step alone, so
a resumed training sees what an uninterrupted one would have seen.

Shapes: B windows, N views of a window, V = B*N views, M views that the depth head sees,
H W pixels.
"""

from concurrent.futures import Executor, Future
from dataclasses import dataclass

import torch
from torch import Tensor

from training.recipe import Recipe
from training.renderer import Renderer, upload
from training.windows import draw_windows, FIRST_TRAINING_SEED, WindowArrays

_GAMMA = 2.2
_PREFETCHED_CHUNKS = 6
_MAX_NOISE = 0.025
_REFERENCE_SHARE = 0.6


@dataclass(frozen=True, eq=False)
class Choice:
    """
    What a step looks at; the first view of a window is its reference.

    :param window: (B,) numbers of windows in the pool.
    :param views: (B, N) numbers of views along their paths.
    :param noise: (B,) standard deviation of the noise to add [of full range].
    :param partner: (B, N) another view of the window, as its number among all V.
    :param dense: (M,) views that the depth head sees.
    """

    window: Tensor
    views: Tensor
    noise: Tensor
    partner: Tensor
    dense: Tensor

    def pack(self) -> Tensor:
        """Return all fields in one row of float64, which holds the integers exactly."""
        parts = (self.window, self.views, self.noise, self.partner, self.dense)
        return torch.cat([part.flatten().double() for part in parts])

    @classmethod
    def unpack(cls, row: Tensor, num_views: int, recipe: Recipe) -> 'Choice':
        """
        Read a row, which may be longer.

        :param row: from ``pack``, on any device.
        :param num_views: N.
        :param recipe: sizes.
        """
        num_all = recipe.views_per_step
        sizes = (num_all // num_views, num_all, num_all // num_views, num_all, recipe.dense_views)
        window, views, noise, partner, dense = row[:sum(sizes)].split(sizes)
        return cls(
            window.long(), views.long().view(-1, num_views), noise,
            partner.long().view(-1, num_views), dense.long())


@dataclass(frozen=True, eq=False)
class Views:
    """
    The views of a step.

    :param images: (V, 3, H, W) in [0, 1].
    :param depth: (V, H, W) [m]; +inf in the sky.
    :param world_T_camera: (B, N, 4, 4).
    :param focal_px: (B,).
    """

    images: Tensor
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

    def choose(self, step: int, num_views: int) -> Choice:
        """
        Draw what a step looks at.

        :param step: the pool must have been advanced to it.
        :param num_views: N.
        """
        recipe = self._recipe
        random = torch.Generator().manual_seed(self.seed(step))
        num_windows = recipe.views_per_step // num_views
        filled = min(self._num_chunks, recipe.pool_chunks) * recipe.chunk_windows
        window = torch.randint(filled, (num_windows,), generator=random)
        longest = (recipe.window_views - 1) // (num_views - 1)
        shares = torch.tensor(recipe.stride_shares[:longest])
        stride = 1 + torch.multinomial(shares, num_windows, replacement=True, generator=random)
        slack = recipe.window_views - (num_views - 1) * stride
        start = (torch.rand(num_windows, generator=random) * slack).long()
        views = start[:, None] + stride[:, None] * torch.arange(num_views)
        reference = torch.randint(num_views, (num_windows,), generator=random)
        reference *= torch.rand(num_windows, generator=random) < _REFERENCE_SHARE
        views = views.gather(1, (torch.arange(num_views) + reference[:, None]) % num_views)
        shift = torch.randint(1, num_views, (num_windows, num_views), generator=random)
        partner = (torch.arange(num_views) + shift) % num_views
        partner += num_views * torch.arange(num_windows)[:, None]
        return Choice(
            window=window, views=views,
            noise=torch.rand(num_windows, generator=random) * _MAX_NOISE, partner=partner,
            dense=torch.randperm(recipe.views_per_step, generator=random)[:recipe.dense_views],
        )

    def gather(self, choice: Choice) -> Views:
        """
        Collect the views of a step and add their noise; may be captured in a CUDA graph.

        :param choice: on the pool's device.
        """
        window, views = choice.window[:, None], choice.views
        images = self._images[window, views].flatten(0, 1)
        noise = torch.randn(images.shape, device=images.device)
        strength = choice.noise.float()[:, None].expand(-1, views.shape[1]).flatten()
        images = images / 255.0 + noise * strength[:, None, None, None]
        return Views(
            images=images.clamp(0.0, 1.0),
            depth=self._depth[window, views].flatten(0, 1),
            world_T_camera=self._poses[window, views],
            focal_px=self._focal_px[choice.window],
        )

    def seed(self, step: int) -> int:
        """
        Return the seed of a step on this device.

        :param step: of the training.
        """
        return (self._recipe.seed * 1_000_003 + step) * self._world_size + self._rank

    def _render(self, chunk: int, arrays: WindowArrays) -> None:
        recipe = self._recipe
        random = torch.Generator().manual_seed(self._first_seed(chunk))
        exposure = draw_exposure(recipe.chunk_windows, recipe.window_views, random)
        slot = chunk % recipe.pool_chunks * recipe.chunk_windows
        place = slice(slot, slot + recipe.chunk_windows)
        rendering = self._renderer(arrays, recipe.image_size, samples=recipe.samples)
        self._images[place] = expose(rendering.radiance, upload(exposure, self._device))
        self._depth[place] = rendering.depth
        self._poses[place] = upload(
            torch.from_numpy(arrays.world_T_camera), self._device)
        focal_px = recipe.image_size[1] / (2.0 * torch.from_numpy(arrays.tangents))
        self._focal_px[place] = upload(focal_px, self._device)

    def _first_seed(self, chunk: int) -> int:
        number = (self._recipe.seed * 1_000_003 + chunk) * self._world_size + self._rank
        return FIRST_TRAINING_SEED + number * self._recipe.chunk_windows
