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
One step: losses, gradients over all devices, update. On a GPU replayed from CUDA graphs.

Shapes: B windows, N views, V = B*N, M views that the depth head sees, P patches, H W pixels, h w
points of the ray grid.
"""

from dataclasses import dataclass, fields

import torch
from torch import distributed, Tensor

from da3_ros.model.network import DepthAnything3
from training.forward import MATCHING_BLOCKS, TrainingForward
from training.losses import camera_loss, dense_loss, LossWeights, matching_loss
from training.optimizer import Optimizer
from training.pool import Views
from training.recipe import Recipe
from training.targets import find_matches, make_targets, Matches, ray_targets

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
_WARMUP_RUNS = 2

LOG_NAMES = (
    'total', 'depth', 'gradient', 'rays', 'points', 'translation', 'rotation', 'fov', 'relative',
    'matching', 'norm', 'camera norm',
)


@dataclass(frozen=True, eq=False)
class StepInputs:
    """
    What a step works on; fields of ``Targets`` and ``Matches`` by their names there.

    :param images: (V, 3, H, W) normalised, in the dtype of the matrix products.
    :param encoding: (B, N, 9).
    :param given_encoding: (B, N, 9).
    :param dense: (M,) views that the depth head sees.
    :param depth: (M, H, W) of these.
    :param valid: (M, H, W).
    :param rays: (M, h, w, 6).
    :param partner: (V,).
    :param patches: (V, P, 4).
    :param weights: (V, P, 4).
    """

    images: Tensor
    encoding: Tensor
    given_encoding: Tensor
    dense: Tensor
    depth: Tensor
    valid: Tensor
    rays: Tensor
    partner: Tensor
    patches: Tensor
    weights: Tensor


def prepare(
    views: Views, recipe: Recipe, ray_grid: tuple[int, int], *, seed: int, dtype: torch.dtype
) -> StepInputs:
    """
    Add noise, draw which views the losses look at, and express truth as the network should.

    :param views: of the step.
    :param recipe: sizes.
    :param ray_grid: h, w.
    :param seed: of the step.
    :param dtype: of the images.
    """
    num_windows, num_views = views.world_T_camera.shape[:2]
    device = views.images.device
    random = torch.Generator().manual_seed(seed)
    shift = torch.randint(1, num_views, (num_windows, num_views), generator=random)
    partner = (torch.arange(num_views) + shift) % num_views
    partner += num_views * torch.arange(num_windows)[:, None]
    dense = torch.randperm(num_windows * num_views, generator=random)[:recipe.dense_views]
    dense = dense.to(device)
    device_random = torch.Generator(device).manual_seed(seed)
    noise = torch.randn(views.images.shape, generator=device_random, device=device, dtype=dtype)
    strength = views.noise.repeat_interleave(num_views)[:, None, None, None].to(dtype)
    images = (views.images.to(dtype) / 255.0 + noise * strength).clamp(0.0, 1.0)
    targets = make_targets(views.depth, views.world_T_camera, views.focal_px)
    matches = find_matches(targets, partner.flatten().to(device))
    return StepInputs(
        images=normalise(images), encoding=targets.encoding,
        given_encoding=targets.given_encoding, dense=dense, depth=targets.depth[dense],
        valid=targets.valid[dense],
        rays=ray_targets(targets, dense, recipe.image_size, ray_grid),
        partner=matches.partner, patches=matches.patches, weights=matches.weights,
    )


def normalise(images: Tensor) -> Tensor:
    """
    Normalise colours as the network expects.

    :param images: (..., 3, H, W) in [0, 1].
    """
    mean, std = (images.new_tensor(x)[:, None, None] for x in (MEAN, STD))
    return (images - mean) / std


class TrainStep:
    """
    Steps of one training.

    :param network: what is trained.
    :param recipe: sizes.
    :param optimizer: of the network.
    :param compiled: compile the forward.
    :param graphs: replay steps from CUDA graphs.
    """

    def __init__(
        self, network: DepthAnything3, recipe: Recipe, optimizer: Optimizer, *,
        compiled: bool, graphs: bool,
    ) -> None:
        device = optimizer.weights.device
        self.dtype = torch.bfloat16 if device.type == 'cuda' else torch.float32
        self.forward = TrainingForward(
            network, recipe.image_size, dtype=self.dtype, compiled=compiled)
        self.matching_weight = torch.zeros((), device=device)
        self.optimizer = optimizer
        self._weights = LossWeights()
        self._graphs = graphs
        self._captured: dict[tuple[int, bool], _Captured] = {}
        self._updates: dict[bool, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self._memory = torch.cuda.graph_pool_handle() if graphs else None
        self._dense = torch.compile(self._dense_loss, dynamic=False) if compiled else (
            self._dense_loss)

    def __call__(self, inputs: StepInputs, *, posed: bool) -> Tensor:
        """
        Train one step.

        :param inputs: what it works on.
        :param posed: give the cameras to the camera encoder.
        :returns: (12,) numbers to be watched, see ``LOG_NAMES``.
        """
        if self._graphs:
            losses = self._replay(inputs, posed=posed)
        else:
            losses = self._differentiate(inputs, posed=posed)
        gradient = self.optimizer.gradient
        if distributed.is_initialized():
            distributed.all_reduce(gradient, op=distributed.ReduceOp.AVG)
        norms = self._update(posed=posed)
        return torch.cat((losses, norms))

    def losses(self, inputs: StepInputs, *, posed: bool) -> Tensor:
        """
        Compute the losses.

        :param inputs: what they are of.
        :param posed: give the cameras to the camera encoder.
        :returns: (10,) the sum and its parts, see ``LOG_NAMES``.
        """
        num_views = inputs.encoding.shape[1]
        tokens = self.forward.tokens(
            inputs.images, num_views, inputs.given_encoding if posed else None)
        camera = camera_loss(
            self.forward.encoding(tokens, num_views), inputs.encoding, self._weights)
        some = inputs.dense
        dense = self._dense(
            tuple(x[some, 1:] for x in tokens.local), tuple(x[some, 1:] for x in tokens.mixed),
            inputs.depth, inputs.valid, inputs.rays,
        )
        matches = Matches(inputs.partner, inputs.patches, inputs.weights)
        matching = sum(
            (matching_loss(q, k, matches)
             for q, k in zip(tokens.queries, tokens.keys, strict=True)),
            start=inputs.images.new_zeros((), dtype=torch.float32),
        ) / len(MATCHING_BLOCKS)
        total = dense[:1] + camera[:1] + self.matching_weight * matching
        return torch.cat((total, dense[1:], camera[1:], matching.detach()[None]))

    def _dense_loss(
        self, local: tuple[Tensor, ...], mixed: tuple[Tensor, ...], depth: Tensor, valid: Tensor,
        rays: Tensor,
    ) -> Tensor:
        return dense_loss(self.forward.head(local, mixed), depth, valid, rays, self._weights)

    def _differentiate(self, inputs: StepInputs, *, posed: bool) -> Tensor:
        losses = self.losses(inputs, posed=posed)
        parameters = self.optimizer.parameters
        trained = len(parameters) if posed else (
            len(parameters) - self.optimizer.num_encoder_parameters)
        # Given cameras replace the learnt camera tokens: those get no gradient.
        self.optimizer.set_gradients(torch.autograd.grad(
            losses[0], parameters[:trained], materialize_grads=posed))
        return losses.detach()

    def _replay(self, inputs: StepInputs, *, posed: bool) -> Tensor:
        key = (inputs.encoding.shape[1], posed)
        if key not in self._captured:
            self._captured[key] = self._capture(inputs, posed=posed)
        captured = self._captured[key]
        for field in fields(inputs):
            getattr(captured.inputs, field.name).copy_(getattr(inputs, field.name))
        captured.graph.replay()
        return captured.losses

    def _capture(self, inputs: StepInputs, *, posed: bool) -> '_Captured':
        static = StepInputs(*(x.clone() for x in _tensors(inputs)))
        for _ in range(_WARMUP_RUNS):
            self._differentiate(static, posed=posed)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(
            graph, pool=self._memory, capture_error_mode='thread_local'
        ):
            losses = self._differentiate(static, posed=posed)
        return _Captured(graph, static, losses)

    def _update(self, *, posed: bool) -> Tensor:
        if not self._graphs:
            return self.optimizer.update(with_encoder=posed)
        if posed not in self._updates:
            # The first update runs as it is; the capture itself runs nothing.
            norms = self.optimizer.update(with_encoder=posed)
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(
                graph, pool=self._memory, capture_error_mode='thread_local'
            ):
                captured = self.optimizer.update(with_encoder=posed)
            self._updates[posed] = (graph, captured)
            return norms
        graph, norms = self._updates[posed]
        graph.replay()
        return norms


@dataclass(frozen=True, eq=False)
class _Captured:
    graph: torch.cuda.CUDAGraph
    inputs: StepInputs
    losses: Tensor


def _tensors(inputs: StepInputs) -> tuple[Tensor, ...]:
    """Return the fields without copying them."""
    return tuple(getattr(inputs, field.name) for field in fields(inputs))
