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

from training.camera_response import draw_exposure, expose, Response
from training.handling import Handling
from training.jpeg import through_jpeg
from training.panoramas import draw_turn, look, PanoramaBank
from training.recipe import Format, Recipe
from training.renderer import Renderer, Rendering, upload
from training.windows import draw_windows, FIRST_TRAINING_SEED, Looks, WindowArrays

_PREFETCHED_CHUNKS = 6
_MAX_NOISE = 0.025
_REFERENCE_SHARE = 0.6
_JPEG_QUALITY = (30, 96)


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
    def unpack(cls, row: Tensor, num_views: int, form: Format) -> 'Choice':
        """
        Read a row, which may be longer.

        :param row: from ``pack``, on any device.
        :param num_views: N.
        :param form: that the step is of.
        """
        num_all = form.views
        sizes = (num_all // num_views, num_all, num_all // num_views, num_all, form.dense_views)
        window, views, noise, partner, dense = row[:sum(sizes)].split(sizes)
        return cls(
            window.long(), views.long().view(-1, num_views), noise,
            partner.long().view(-1, num_views), dense.long())


@dataclass(frozen=True, eq=False)
class Views:
    """
    The views of a step.

    :param images: (V, 3, H, W) in [0, 1].
    :param depth: (V, H, W) [m]; +inf in the sky, NaN where it is not known.
    :param world_T_camera: (B, N, 4, 4).
    :param focal_px: (B,).
    """

    images: Tensor
    depth: Tensor
    world_T_camera: Tensor
    focal_px: Tensor


class WindowPool:
    """
    Rendered windows of one format.

    :param recipe: sizes and seed.
    :param number: of the format.
    :param renderer: of the device.
    :param executor: draws scenes and paths in other processes.
    :param device: where the pool lives.
    :param looks: photos, meshes and light, or None.
    :param panoramas: in which cameras turn, or None.
    :param first_step: from which on the pool fills, with few windows at first. A training that is
        resumed sees what it would have seen if this is its own first step, and begins sooner but
        with other windows if it is the step that it goes on from.
    :param rank: number of this device.
    :param world_size: number of devices.
    """

    def __init__(
        self, recipe: Recipe, number: int, renderer: Renderer, executor: Executor,
        device: torch.device, *, looks: Looks | None = None,
        panoramas: PanoramaBank | None = None, first_step: int = 0, rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.form = recipe.formats[number]
        self._recipe = recipe
        self._number = number
        self._looks = looks
        self._handling = Handling(
            rig_share=recipe.rig_share, rig_cameras=recipe.rig_cameras,
            near_share=recipe.near_share, distorted_share=recipe.distorted_share)
        bank = PanoramaBank.empty() if panoramas is None else panoramas
        self._panoramas = torch.from_numpy(bank.images).to(device)
        share = self.form.share / sum(form.share for form in recipe.formats)
        self._refresh_steps = round(recipe.refresh_steps / share)
        self._first_chunks = max(1, round(recipe.first_chunks * share))
        self._renderer = renderer
        self._executor = executor
        self._device = device
        self._rank = rank
        self._world_size = world_size
        shape = (recipe.pool_chunks * recipe.chunk_windows, recipe.window_views)
        size = self.form.image_size
        self._images = torch.empty(*shape, 3, *size, dtype=torch.uint8, device=device)
        self._depth = torch.empty(*shape, *size, device=device)
        self._poses = torch.empty(*shape, 4, 4, device=device)
        self._focal_px = torch.empty(shape[0], device=device)
        self._num_cameras = torch.ones(shape[0], dtype=torch.long)
        self._first_chunk = first_step // self._refresh_steps
        self._num_chunks = self._first_chunk
        self._pending: dict[int, Future[WindowArrays]] = {}

    def advance(self, step: int) -> None:
        """
        Bring the pool to what it holds at a step; waits for scenes where they are late.

        :param step: not before the step of the last call.
        """
        recipe = self._recipe
        wanted = self._first_chunks + step // self._refresh_steps
        first = max(self._num_chunks, wanted - recipe.pool_chunks)
        for chunk in range(first, wanted + _PREFETCHED_CHUNKS):
            if chunk not in self._pending:
                self._pending[chunk] = self._executor.submit(
                    draw_windows, self._first_seed(chunk), recipe.chunk_windows,
                    recipe.window_views, handling=self._handling, looks=self._looks,
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
        num_windows = self.form.views // num_views
        num_chunks = self._num_chunks - self._first_chunk
        filled = min(num_chunks, recipe.pool_chunks) * recipe.chunk_windows
        window = torch.randint(filled, (num_windows,), generator=random)
        longest = (recipe.window_views - 1) // (num_views - 1)
        shares = torch.tensor(recipe.stride_shares[:longest])
        stride = 1 + torch.multinomial(shares, num_windows, replacement=True, generator=random)
        start = torch.rand(num_windows, generator=random)
        views = instants(
            self._num_cameras[window], stride, start, num_views, recipe.window_views)
        reference = torch.randint(num_views, (num_windows,), generator=random)
        reference *= torch.rand(num_windows, generator=random) < _REFERENCE_SHARE
        views = views.gather(1, (torch.arange(num_views) + reference[:, None]) % num_views)
        shift = torch.randint(1, num_views, (num_windows, num_views), generator=random)
        partner = (torch.arange(num_views) + shift) % num_views
        partner += num_views * torch.arange(num_windows)[:, None]
        return Choice(
            window=window, views=views,
            noise=torch.rand(num_windows, generator=random) * _MAX_NOISE, partner=partner,
            dense=torch.randperm(self.form.views, generator=random)[:self.form.dense_views],
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
        slot = (chunk - self._first_chunk) % recipe.pool_chunks * recipe.chunk_windows
        place = slice(slot, slot + recipe.chunk_windows)
        rendering = self._renderer(arrays, self.form.image_size, samples=recipe.samples)
        response = Response.draw(recipe.chunk_windows, random)
        focal_px = self.form.image_size[1] / (2.0 * torch.from_numpy(arrays.tangents))
        self._poses[place] = upload(torch.from_numpy(arrays.world_T_camera), self._device)
        self._num_cameras[place] = torch.from_numpy(arrays.num_cameras)
        turning, coded = (torch.rand(2, recipe.chunk_windows, generator=random) < torch.tensor(
            (recipe.turn_share, recipe.jpeg_share))[:, None])
        if len(self._panoramas):
            for window in turning.nonzero().flatten().tolist():
                focal_px[window] = self._turn(chunk, window, slot, rendering)
        self._focal_px[place] = upload(focal_px, self._device)
        images = expose(rendering.radiance, exposure, response)
        quality = torch.randint(*_JPEG_QUALITY, (recipe.chunk_windows,), generator=random)
        for window in coded.nonzero().flatten().tolist():
            images[window] = through_jpeg(images[window], int(quality[window]))
        self._images[place] = images
        self._depth[place] = rendering.depth

    def _turn(self, chunk: int, window: int, slot: int, rendering: Rendering) -> float:
        """Put a camera that turns in a panorama in place of a window; return its focal length."""
        turn = draw_turn(
            (self._first_seed(chunk), window), len(self._panoramas), self._recipe.window_views)
        rendering.radiance[window] = look(
            self._panoramas[turn.panorama], turn, self.form.image_size)
        rendering.depth[window] = torch.nan
        self._poses[slot + window] = torch.from_numpy(turn.world_T_camera).to(self._poses)
        self._num_cameras[slot + window] = 1
        return turn.focal_px(self.form.image_size[1])

    def _first_seed(self, chunk: int) -> int:
        recipe = self._recipe
        number = (recipe.seed * 1_000_003 + chunk) * self._world_size + self._rank
        number = number * len(recipe.formats) + self._number
        return FIRST_TRAINING_SEED + number * recipe.chunk_windows


def instants(
    num_cameras: Tensor, stride: Tensor, start: Tensor, num_views: int, path_views: int
) -> Tensor:
    """
    Choose views along paths: all cameras of a body at each instant, as long as views last.

    :param num_cameras: (B,) of the bodies.
    :param stride: (B,) of instants; smaller where the path is too short for it.
    :param start: (B,) in [0, 1), where along what is possible to begin.
    :param num_views: N.
    :param path_views: of a path, instants times cameras.
    :returns: (B, N) numbers of views.
    """
    view = torch.arange(num_views)
    instant, camera = view // num_cameras[:, None], view % num_cameras[:, None]
    last = instant[:, -1]
    num_instants = path_views // num_cameras
    stride = torch.minimum(stride, ((num_instants - 1) // last.clamp_min(1)).clamp_min(1))
    first = (start * (num_instants - last * stride).clamp_min(1)).long()
    chosen = (first[:, None] + stride[:, None] * instant) * num_cameras[:, None] + camera
    return chosen.clamp_max(path_views - 1)
