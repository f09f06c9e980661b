# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Muon for the blocks' matrices and AdamW for the rest, over flat buffers.

All parameters live in one buffer, ordered by how they are updated, so that an update is a few
operations on slices, the gradients of several devices are summed in one call and a checkpoint is a
few arrays. Muon: momentum, orthogonalised by a Newton-Schulz iteration (Jordan et al. 2024).
"""

from collections.abc import Iterable

from da3_ros.model.network import DepthAnything3
import torch
from torch import nn, Tensor

from training.recipe import Recipe

_MOMENTUM = 0.95
_BETAS = (0.9, 0.98)
_EPSILON = 1e-8
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
_NEWTON_SCHULZ_STEPS = 5


class Optimizer:
    """
    Weights, their average and the state of their updates.

    :param network: its trained parameters become views of ``weights``.
    :param recipe: rates.
    """

    def __init__(self, network: DepthAnything3, recipe: Recipe) -> None:
        self._recipe = recipe
        squares, wide, tall, matrices, vectors, decoder, encoder = _groups(network)
        self.parameters = [*squares, *wide, *tall, *matrices, *vectors, *decoder, *encoder]
        sizes = [sum(p.numel() for p in group) for group in (
            squares, wide, tall, matrices, vectors, decoder, encoder)]
        ends = torch.tensor(sizes).cumsum(0).tolist()
        self._muon_end, self._decoder_start = ends[2], ends[4]
        self.encoder_start = ends[5]
        self.num_encoder_parameters = len(encoder)
        self._dim = squares[0].shape[1]
        self._num_wide = len(wide)
        self._square_end = ends[0]
        self.weights = torch.cat([p.detach().flatten() for p in self.parameters])
        _view_parameters(self.parameters, self.weights)
        device = self.weights.device
        self.gradient = torch.zeros_like(self.weights)
        self.average = self.weights.clone()
        self.momentum = torch.zeros_like(self.weights[:self._muon_end])
        self.first = torch.zeros_like(self.weights[self._muon_end:])
        self.second = torch.zeros_like(self.first)
        self.num_updates = torch.zeros((), device=device)
        self.num_averaged = torch.zeros((), device=device)
        self.rate = torch.zeros((), device=device)
        factors = (1.0, 1.0, recipe.decoder_factor, recipe.encoder_factor)
        decays = (recipe.weight_decay, 0.0, 0.0, 0.0)
        repeats = torch.tensor(sizes[3:], device=device)
        self._factors = torch.tensor(factors, device=device).repeat_interleave(repeats)
        self._decays = torch.tensor(decays, device=device).repeat_interleave(repeats)

    @property
    def state(self) -> tuple[Tensor, ...]:
        """Everything that a step changes."""
        return (
            self.weights, self.average, self.momentum, self.first, self.second,
            self.num_updates, self.num_averaged,
        )

    def set_gradients(self, gradients: Iterable[Tensor]) -> None:
        """
        Collect gradients, in the order of ``parameters``; the encoder's may be left out.

        :param gradients: one for every parameter.
        """
        flat = torch.cat([g.flatten() for g in gradients])
        self.gradient[:len(flat)].copy_(flat)

    @torch.no_grad()
    def update(self, *, with_encoder: bool) -> Tensor:
        """
        Update the weights and their average.

        :param with_encoder: whether the camera encoder took part in the step.
        :returns: norms of the gradients: all but the camera decoder's, the camera decoder's.
        """
        end = len(self.weights) if with_encoder else self.encoder_start
        gradient = self.gradient[:end]
        torch.nan_to_num_(gradient, nan=0.0, posinf=0.0, neginf=0.0)
        slices = (slice(0, self._decoder_start), slice(self._decoder_start, self.encoder_start),
                  slice(self.encoder_start, end))
        norms = []
        for part in slices[:3 if with_encoder else 2]:
            norm = gradient[part].norm()
            gradient[part].mul_((self._recipe.clip_norm / (norm + 1e-6)).clamp(max=1.0))
            norms.append(norm)
        self.num_updates += 1
        self._update_muon()
        self._update_adam(end)
        self.num_averaged += 1
        decay = ((1 + self.num_averaged) / (10 + self.num_averaged)).clamp(
            max=self._recipe.average_decay)
        self.average.lerp_(self.weights, 1 - decay)
        return torch.stack(norms[:2])

    @torch.no_grad()
    def swap_average(self) -> None:
        """Exchange the weights and their average."""
        weights = self.weights.clone()
        self.weights.copy_(self.average)
        self.average.copy_(weights)

    @torch.no_grad()
    def restart_average(self) -> None:
        """Let the average begin anew at the weights."""
        self.average.copy_(self.weights)
        self.num_averaged.zero_()

    def _update_muon(self) -> None:
        gradient = self.gradient[:self._muon_end]
        self.momentum.lerp_(gradient, 1 - _MOMENTUM)
        direction = gradient.lerp(self.momentum, _MOMENTUM)
        dim, middle = self._dim, (self._square_end + self._muon_end) // 2
        squares = direction[:self._square_end].view(-1, dim, dim)
        wide = direction[self._square_end:middle].view(self._num_wide, -1, dim)
        tall = direction[middle:].view(self._num_wide, dim, -1)
        flat = orthogonalise(torch.cat((wide.mT, tall)))
        # A map to more channels moves its output as far as a square one, in root mean square.
        gain = (wide.shape[1] / dim) ** 0.5
        step = torch.cat((
            orthogonalise(squares).flatten(), gain * flat[:self._num_wide].mT.flatten(),
            flat[self._num_wide:].flatten(),
        ))
        rate = self.rate * self._recipe.muon_rate
        weights = self.weights[:self._muon_end]
        weights.sub_(rate * (step + self._recipe.muon_decay * weights))

    def _update_adam(self, end: int) -> None:
        part = slice(0, end - self._muon_end)
        gradient = self.gradient[self._muon_end:end]
        weights = self.weights[self._muon_end:end]
        first, second = self.first[part], self.second[part]
        first.lerp_(gradient, 1 - _BETAS[0])
        second.lerp_(gradient * gradient, 1 - _BETAS[1])
        corrections = [1 - beta ** self.num_updates for beta in _BETAS]
        rates = self._factors[part] * (self.rate * self._recipe.learning_rate)
        weights.mul_(1 - rates * self._decays[part])
        denominator = (second / corrections[1]).sqrt() + _EPSILON
        weights.sub_(rates * (first / corrections[0]) / denominator)


def orthogonalise(matrices: Tensor) -> Tensor:
    """
    Bring all singular values of matrices near to one.

    :param matrices: (n, rows, columns) with rows <= columns.
    :returns: the same shape, fp32.
    """
    a, b, c = _NEWTON_SCHULZ
    dtype = torch.bfloat16 if matrices.is_cuda else torch.float32
    x = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    x = x.to(dtype)
    for _ in range(_NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x.float()


def _groups(network: DepthAnything3) -> tuple[list[nn.Parameter], ...]:
    """Sort the trained parameters by how they are updated."""
    blocks = list(network.backbone.pretrained.blocks)
    squares = [b.attn.qkv.weight for b in blocks] + [b.attn.proj.weight for b in blocks]
    wide = [b.mlp.fc1.weight for b in blocks]
    tall = [b.mlp.fc2.weight for b in blocks]
    assert network.cam_dec is not None and network.cam_enc is not None
    decoder = list(network.cam_dec.parameters())
    encoder = list(network.cam_enc.parameters())
    taken = {id(p) for group in (squares, wide, tall, decoder, encoder) for p in group}
    rest = [
        p for name, p in network.named_parameters() if id(p) not in taken and _is_used(name)
    ]
    matrices = [p for p in rest if p.ndim >= 2 and p.shape[0] > 1]
    vectors = [p for p in rest if not (p.ndim >= 2 and p.shape[0] > 1)]
    return squares, wide, tall, matrices, vectors, decoder, encoder


def _is_used(name: str) -> bool:
    """Return whether a parameter has a gradient: only the finest level of rays is read."""
    unused = tuple(
        f'head.scratch.output_conv{number}_aux.{level}.' for number in (1, 2) for level in range(3)
    )
    return not name.startswith((*unused, 'head.scratch.refinenet4.resConfUnit1'))


def _view_parameters(parameters: list[nn.Parameter], flat: Tensor) -> None:
    start = 0
    for parameter in parameters:
        end = start + parameter.numel()
        parameter.data = flat[start:end].view_as(parameter)
        start = end
