# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The training computes the network's own function, learns, and resumes exactly."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from da3_ros.model import build_network, load_weights, MODELS
from da3_ros.model.network import DepthAnything3
import numpy as np
import pytest
import torch
from torch import nn

from training.checkpoint import load_checkpoint, Progress, save_checkpoint
from training.export import export_weights
from training.forward import TrainingForward
from training.initialise import initialise
from training.optimizer import Optimizer, orthogonalise
from training.pool import WindowPool
from training.recipe import Format, Recipe
from training.renderer import HostRenderer, Rendering
from training.schedule import Draw
from training.step import TrainStep
from training.windows import WindowArrays

_RECIPE = replace(
    Recipe(), formats=(Format((56, 70), 6, 4, 0.5), Format((70, 42), 3, 2, 0.5)),
    window_sizes=(3,),
    window_shares=(1.0,), posed_sizes=(3,), pool_chunks=2, first_chunks=1, chunk_windows=2,
    window_views=4, refresh_steps=2, samples=1, warmup_steps=1)


_SMALL = replace(
    MODELS['da3-tiny'], embed_dim=64, num_heads=1, head_features=16, head_channels=(8, 8, 16, 16))


class _Training:
    """A training small enough for a test."""

    def __init__(self, renderer: HostRenderer, seed: int = 1) -> None:
        network = DepthAnything3(_SMALL)
        initialise(network, seed)
        self.optimizer = Optimizer(network, _RECIPE)
        self.optimizer.rate.fill_(1.0)
        self._executor = ThreadPoolExecutor(1)
        self._pools = [
            WindowPool(_RECIPE, number, renderer, self._executor, torch.device('cpu'))
            for number in range(len(_RECIPE.formats))]
        self._step = TrainStep(
            network, _RECIPE, self.optimizer, self._pools, compiled=False, graphs=False)
        self._step.matching_weight.fill_(0.1)

    def train(self, numbers: Iterable[int], *, posed: bool = False) -> list[float]:
        """Train steps and return their losses."""
        losses = []
        for number in numbers:
            pool = self._pools[number % 2]
            pool.advance(number)
            row = pool.choose(number, 3).pack()
            watched = self._step(row, Draw(3, posed, number % 2), seed=pool.seed(number))
            losses.append(float(watched[0]))
        return losses


def _scramble(network: nn.Module) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))


@pytest.mark.parametrize('posed', [False, True])
def test_forward_is_the_networks(posed: bool) -> None:
    """Depth, rays and cameras are those of ``da3_ros.model``, with learnt and given cameras."""
    network = DepthAnything3(_SMALL)
    _scramble(network)
    images = torch.randn(2, 3, 3, 56, 70)
    extrinsics = torch.eye(4).repeat(2, 3, 1, 1)
    extrinsics[:, 1:, :3, 3] = torch.randn(2, 2, 3)
    intrinsics = torch.tensor([[60.0, 0, 35], [0, 60, 28], [0, 0, 1]]).repeat(2, 3, 1, 1)
    forward = TrainingForward(network, (56, 70), dtype=torch.float32, compiled=False)
    fov = 2 * torch.atan(torch.tensor((28.0, 35.0)) / 60)
    encoding = torch.cat((
        -extrinsics[..., :3, 3], torch.tensor((0.0, 0, 0, 1)).expand(2, 3, 4),
        fov.expand(2, 3, 2)), dim=-1)
    with torch.no_grad():
        raw = network.raw(
            images, *((extrinsics, intrinsics) if posed else ()), ref_view_strategy='first')
        tokens = forward.tokens(images.flatten(0, 1), 3, encoding if posed else None)
        maps = forward.head(
            tuple(x[:, 1:] for x in tokens.local), tuple(x[:, 1:] for x in tokens.mixed))
        cameras = forward.cameras(tokens, 3)
    assert raw.rays is not None and raw.confidence is not None
    torch.testing.assert_close(cameras.encoding, raw.camera, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(maps.log_depth.exp(), raw.depth.flatten(0, 1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        maps.log_confidence.exp() + 1, raw.confidence.flatten(0, 1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(maps.rays, raw.rays.flatten(0, 1), rtol=1e-4, atol=1e-5)


def test_loss_falls(renderer: HostRenderer) -> None:
    """Few steps bring the loss down, and everything that is used learns."""
    training = _Training(renderer)
    before = [parameter.detach().clone() for parameter in training.optimizer.parameters]
    losses = training.train([0] * 10)
    training.train([0, 0], posed=True)
    assert losses[-1] < 0.7 * losses[0]
    for parameter, old in zip(training.optimizer.parameters, before, strict=True):
        assert not torch.equal(parameter, old)


def test_resumed_training_is_the_same(renderer: HostRenderer, tmp_path: Path) -> None:
    """A resumed training computes bit for bit what goes on in the one that was saved."""
    training = _Training(renderer)
    training.train(range(3))
    save_checkpoint(tmp_path, training.optimizer, Progress(3, 1.5))
    resumed = _Training(renderer, seed=2)
    assert load_checkpoint(tmp_path, resumed.optimizer) == Progress(3, 1.5)
    assert training.train(range(3, 6)) == resumed.train(range(3, 6))
    assert torch.equal(training.optimizer.weights, resumed.optimizer.weights)
    assert torch.equal(training.optimizer.average, resumed.optimizer.average)
    assert all(path.stat().st_size < 16 << 20 for path in tmp_path.iterdir())


def test_a_new_pool_begins_with_few_windows(renderer: HostRenderer) -> None:
    """It renders what the step adds to the old one, and draws from nothing else."""
    calls = []

    def rendered(windows: WindowArrays, size: tuple[int, int], *, samples: int) -> Rendering:
        calls.append(windows.world_T_camera)
        return renderer(windows, size, samples=samples)

    recipe = replace(_RECIPE, formats=_RECIPE.formats[:1], pool_chunks=3)
    poses = []
    for first_step in (0, 9):
        with ThreadPoolExecutor(1) as executor:
            pool = WindowPool(recipe, 0, rendered, executor, torch.device('cpu'),
                              first_step=first_step)
            pool.advance(9)
        poses.append(np.stack(calls))
        calls.clear()
        choices = [pool.choose(step, 3) for step in range(9, 40)]
        assert {int(w) for choice in choices for w in choice.window} == set(
            range(2 * len(poses[-1])))
        assert all(bool((pool.gather(choice).focal_px > 20.0).all()) for choice in choices[:3])
    old, new = poses
    assert len(old) == 3 and len(new) == 1
    np.testing.assert_array_equal(new[0], old[-1])


def test_muon_orthogonalises() -> None:
    """All singular values come near to one."""
    matrices = torch.randn(3, 16, 40, generator=torch.Generator().manual_seed(0))
    singular = torch.linalg.svdvals(orthogonalise(matrices))
    assert singular.min() > 0.6 and singular.max() < 1.3


def test_exported_weights_load(tmp_path: Path) -> None:
    """The exported file is small and holds the network up to rounding."""
    network = build_network('da3-tiny')
    assert isinstance(network, DepthAnything3)
    initialise(network, 1)
    path = tmp_path / 'tiny.safetensors'
    export_weights(network, path)
    loaded = build_network('da3-tiny')
    load_weights(loaded, path)
    assert path.stat().st_size < 16_000_000
    for (name, value), other in zip(
        network.state_dict().items(), loaded.state_dict().values(), strict=True
    ):
        tolerance = 0.07 if name.startswith('cam_enc.trunk') else 1e-3
        torch.testing.assert_close(other, value, rtol=tolerance, atol=2e-3)
