# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
One step: losses, gradients over all devices, update. On a GPU replayed from CUDA graphs.

Shapes: B windows, N views, V = B*N, M views that the depth head sees.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from da3_ros.model.network import DepthAnything3
import torch
from torch import distributed, Tensor

from training.dense_head import DenseHead
from training.forward import TrainingForward
from training.losses import camera_loss, dense_loss, LossWeights, matching_loss
from training.optimizer import Optimizer
from training.pool import Choice, WindowPool
from training.recipe import Recipe
from training.schedule import Draw
from training.targets import find_matches, make_targets, ray_targets

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

LOG_NAMES = (
    'total', 'depth', 'gradient', 'rays', 'points', 'translation', 'rotation', 'fov', 'relative',
    'matching', 'activity', 'norm', 'camera norm',
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
    :param pools: of windows, on the same device, for each format.
    :param compiled: compile the forward.
    :param graphs: replay steps from CUDA graphs.
    """

    def __init__(
        self, network: DepthAnything3, recipe: Recipe, optimizer: Optimizer,
        pools: Sequence[WindowPool], *, compiled: bool, graphs: bool,
    ) -> None:
        device = optimizer.weights.device
        dtype = torch.bfloat16 if device.type == 'cuda' else torch.float32
        self.forwards = [
            TrainingForward(network, pool.form.image_size, dtype=dtype, compiled=compiled)
            for pool in pools]
        self.optimizer = optimizer
        self.matching_weight = torch.zeros((), device=device)
        self._pools = pools
        self._weights = LossWeights()
        self._mean, self._std = (
            torch.tensor(x, device=device)[:, None, None] for x in (MEAN, STD))
        self._choice = torch.zeros(choice_length(recipe), dtype=torch.float64, device=device)
        self._graphs = graphs
        self._captured: dict[Draw, _Captured] = {}
        self._updates: dict[bool, _Captured] = {}
        self._memory = torch.cuda.graph_pool_handle() if graphs else None
        self._dense = [
            torch.compile(dense, dynamic=False) if compiled else dense
            for dense in (partial(_dense_loss, forward.head, self._weights)
                          for forward in self.forwards)]

    def __call__(self, choice: Tensor, draw: Draw, *, seed: int) -> Tensor:
        """
        Train one step.

        :param choice: row of a packed ``Choice``, on the device.
        :param draw: kind of the step.
        :param seed: of the images' noise.
        :returns: (13,) numbers to be watched, see ``LOG_NAMES``.
        """
        self._choice[:len(choice)].copy_(choice)
        if not self._graphs:
            torch.manual_seed(seed)
            losses = self._differentiate(draw)
        else:
            if draw not in self._captured:
                self._captured[draw] = self._capture(lambda: self._differentiate(draw))
            torch.cuda.manual_seed(seed)
            losses = self._captured[draw].replay()
        if distributed.is_initialized():
            gradient = self.optimizer.gradient.to(self.forwards[0].dtype)
            distributed.all_reduce(gradient, op=distributed.ReduceOp.AVG)
            self.optimizer.gradient.copy_(gradient)
        return torch.cat((losses, self._update(with_encoder=draw.posed)))

    def losses(self, draw: Draw) -> Tensor:
        """
        Compute the losses of the current choice.

        :param draw: kind of the step.
        :returns: (11,) the sum and its parts, see ``LOG_NAMES``.
        """
        pool, forward = self._pools[draw.number], self.forwards[draw.number]
        choice = Choice.unpack(self._choice, draw.num_views, pool.form)
        views = pool.gather(choice)
        targets = make_targets(views.depth, views.world_T_camera, views.focal_px)
        images = ((views.images - self._mean) / self._std).to(forward.dtype)
        tokens = forward.tokens(
            images, draw.num_views, targets.given_encoding if draw.posed else None)
        decoded = forward.cameras(tokens, draw.num_views)
        camera = camera_loss(decoded.encoding, targets.encoding, self._weights)
        some = choice.dense
        dense = self._dense[draw.number](
            tuple(x[some, 1:] for x in tokens.local), tuple(x[some, 1:] for x in tokens.mixed),
            targets.depth[some], targets.valid[some], targets.unknown[some],
            ray_targets(targets, some, forward.size, forward.head.ray_grid),
        )
        matches = find_matches(targets, choice.partner.flatten())
        matching = torch.stack([
            matching_loss(q, k, matches)
            for q, k in zip(tokens.queries, tokens.keys, strict=True)
        ]).mean()
        total = (
            dense[:1] + camera[:1] + self.matching_weight * matching
            + self._weights.activity * decoded.activity
        )
        watched = torch.stack((matching, decoded.activity)).detach()
        return torch.cat((total, dense[1:], camera[1:], watched))

    def _differentiate(self, draw: Draw) -> Tensor:
        losses = self.losses(draw)
        parameters = self.optimizer.parameters
        trained = len(parameters) if draw.posed else (
            len(parameters) - self.optimizer.num_encoder_parameters)
        # Given cameras replace the learnt camera tokens: those get no gradient.
        self.optimizer.set_gradients(torch.autograd.grad(
            losses[0], parameters[:trained], materialize_grads=draw.posed))
        return losses.detach()

    def _update(self, *, with_encoder: bool) -> Tensor:
        if not self._graphs:
            return self.optimizer.update(with_encoder=with_encoder)
        if with_encoder not in self._updates:
            # A first update runs as it is and warms up; the capture itself runs nothing.
            norms = self.optimizer.update(with_encoder=with_encoder)
            self._updates[with_encoder] = self._capture(
                lambda: self.optimizer.update(with_encoder=with_encoder), warm=False)
            return norms
        return self._updates[with_encoder].replay()

    def _capture(self, run: Callable[[], Tensor], *, warm: bool = True) -> '_Captured':
        if warm:
            run()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._memory, capture_error_mode='thread_local'):
            result = run()
        return _Captured(graph, result)


def choice_length(recipe: Recipe) -> int:
    """
    Return the length of the longest packed ``Choice``.

    :param recipe: sizes.
    """
    fewest = min(recipe.window_sizes)
    return max(
        2 * (form.views // fewest) + 2 * form.views + form.dense_views for form in recipe.formats)


def _dense_loss(
    head: DenseHead, weights: LossWeights, local: tuple[Tensor, ...], mixed: tuple[Tensor, ...],
    depth: Tensor, valid: Tensor, unknown: Tensor, rays: Tensor,
) -> Tensor:
    return dense_loss(head(local, mixed), depth, valid, unknown, rays, weights)


@dataclass(frozen=True, eq=False)
class _Captured:
    graph: torch.cuda.CUDAGraph
    result: Tensor

    def replay(self) -> Tensor:
        """Run the graph; its result is overwritten by the next replay."""
        self.graph.replay()
        return self.result
