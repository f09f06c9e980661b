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

"""The engine that the parameters ask for."""

from dataclasses import dataclass
import gc
import logging

from da3_ros.errors import MemoryBudgetError
from da3_ros.inference import ExecutorOptions, InferenceEngine
from da3_ros.inference.memory_guard import MemoryLimits
from da3_ros.mapping.config import WindowConfig
from da3_ros.mapping.keyframe import WindowEngine
from da3_ros.model import build_network, load_weights, Network
from da3_ros.ros.settings import ModelSettings, NodeSettings, WindowSettings
import numpy as np
import torch

_logger = logging.getLogger(__name__)

# Any camera's: the network's kernels are chosen at the process resolution.
_WARM_UP_SIZE = (480, 640, 3)
_WARM_UP_VIEWS = 2


@dataclass(frozen=True)
class ModelIdentity:
    """
    The network that runs.

    :param name: its variant.
    :param weights: where they come from, with a checksum.
    :param licence: of the weights.
    :param device: that it runs on.
    :param is_random: whether the outputs mean nothing.
    :param num_views: most views in one inference.
    """

    name: str
    weights: str
    licence: str
    device: str
    is_random: bool
    num_views: int


@dataclass(frozen=True, eq=False)
class LoadedEngine:
    """
    An engine and what it is.

    :param engine: ready for windows.
    :param identity: for the diagnostics.
    """

    engine: WindowEngine
    identity: ModelIdentity


def load_engine(settings: NodeSettings) -> LoadedEngine:
    """
    Build the network, load its weights, and run it once.

    :param settings: model, preprocessing and memory.
    :raises WeightsError: if the weights cannot be had.
    :raises MemoryBudgetError: if the network does not fit the device.
    :raises ValueError: if the device or another setting cannot be used.
    """
    model = settings.model
    network, weights, licence = _load_network(model)
    try:
        engine = InferenceEngine(
            network,
            device=None if model.device == 'auto' else _device(model.device),
            dtype=None if model.dtype == 'auto' else getattr(torch, model.dtype),
            size=settings.preprocess.size,
            method=settings.preprocess.method,
            use_ray_pose=model.use_ray_pose,
            ref_view_strategy=model.ref_view_strategy,
            options=ExecutorOptions(
                features=settings.memory.features, reduced=settings.memory.reduced
            ),
            limits=MemoryLimits(
                settings.memory.reserve_mib, settings.window.max_latency_s or None
            ),
        )
        # A small window, so that the first real one is not late.
        engine.infer([np.zeros(_WARM_UP_SIZE, np.uint8)] * _WARM_UP_VIEWS)
    except torch.OutOfMemoryError as error:
        raise MemoryBudgetError(f'{model.name} does not fit the device: {error}') from error
    identity = ModelIdentity(
        model.name, weights, licence, str(engine.device), model.is_random,
        _num_views(engine, settings.window),
    )
    return LoadedEngine(engine, identity)


def release_memory() -> None:
    """Give the memory of engines that nobody holds any more back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _load_network(model: ModelSettings) -> tuple[Network, str, str]:
    """Return a network, where its weights come from, and their licence."""
    if model.is_random:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(model.seed)
            network = build_network(model.name)
        _logger.warning('RANDOM WEIGHTS (model.weights: random): the outputs mean nothing')
        return network, f'random, seed {model.seed}', 'none'
    network = build_network(model.name, device='meta')
    loaded = load_weights(network, model.weights or None, offline=model.offline)
    return network, f'{loaded.path}, sha256 {loaded.sha256}', loaded.licence


def _num_views(engine: InferenceEngine, window: WindowSettings) -> int:
    """
    Return the size of the window, as asked for or as planned.

    A window that was asked for stays what is wanted, even if fewer views fit now: the pipeline
    makes windows smaller when it must, and larger again when it can.
    """
    height, width, _ = _WARM_UP_SIZE
    plan = engine.plan(height, width, num_views=window.size)
    if not window.is_automatic:
        return window.size
    if plan is None:
        _logger.warning('window.size 0: without a GPU to plan for, %d is taken', WindowConfig.size)
        return WindowConfig.size
    return plan.num_views


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f'model.device: got {name!r}, expected a device that torch has here: '
                         f'{error}') from error
    return device
