# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The engine that the parameters ask for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
import gc
import logging

from da3_ros.errors import MemoryBudgetError
from da3_ros.inference import ExecutorOptions, InferenceEngine
from da3_ros.inference.automatic_model import AUTOMATIC, Choice, choose_model
from da3_ros.inference.calibration import CalibrationCache
from da3_ros.inference.device import choose_devices
from da3_ros.inference.host_plan import usable_ram_bytes
from da3_ros.inference.memory_guard import MemoryLimits, usable_bytes
from da3_ros.inference.memory_model import WindowModel
from da3_ros.inference.memory_planner import Demand
from da3_ros.inference.plan import probe_model, probe_model_on_host
from da3_ros.inference.preprocessing import plan_processing
from da3_ros.mapping.keyframe import WindowEngine
from da3_ros.model import build_network, load_weights, Network
from da3_ros.model.hub import Report
from da3_ros.ros.parameters.settings import ModelSettings, NodeSettings
from da3_ros.ros.warm_up import warm_up
from da3_ros.ros.window_plan import plan_views
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
    :param num_views: of a window.
    :param num_shortages: counts the times that memory was short for a window.
    :param most_views: that it may become where windows take less time than was expected.
    """

    name: str
    weights: str
    licence: str
    device: str
    is_random: bool
    num_views: int
    num_shortages: Callable[[], int] = lambda: 0
    most_views: int = 0


@dataclass(frozen=True, eq=False)
class LoadedEngine:
    """
    An engine and what it is.

    :param engine: ready for windows.
    :param identity: for the diagnostics.
    """

    engine: WindowEngine
    identity: ModelIdentity


@dataclass(frozen=True, eq=False)
class _LoadedNetwork:
    """A network, where its weights come from, and their licence."""

    network: Network
    weights: str
    licence: str


def load_engine(settings: NodeSettings, *, report: Report | None = None) -> LoadedEngine:
    """
    Build the network, load its weights, and run it once.

    :param settings: model, preprocessing and memory.
    :param report: is told what goes on.
    :raises WeightsError: if the weights cannot be had.
    :raises MemoryBudgetError: if the network does not fit the device.
    :raises ValueError: if the device or another setting cannot be used.
    """
    devices = _devices(settings.model.device)
    names = ','.join(map(str, devices))
    reason = 'as asked for'
    loaded: dict[str, _LoadedNetwork] = {}

    def load(name: str) -> None:
        loaded[name] = _load_network(replace(settings.model, name=name), report)

    if settings.model.name == AUTOMATIC:
        choice = _choose(settings, devices, load)
        reason = choice.reason
        settings = replace(
            settings,
            model=replace(settings.model, name=choice.model),
            preprocess=replace(settings.preprocess, size=choice.size),
        )
    model = settings.model
    if model.name not in loaded:
        load(model.name)
    network = loaded.pop(model.name)
    _tell(report, f'{model.name}: bringing it to {names}')
    try:
        engine = InferenceEngine(
            network.network,
            device=names,
            dtype=_dtype(model),
            size=settings.preprocess.size,
            method=settings.preprocess.method,
            use_ray_pose=model.use_ray_pose,
            ref_view_strategy=model.ref_view_strategy,
            options=_options(settings),
            limits=_limits(settings),
            expects_poses=settings.expects_poses,
        )
        # A small window, so that the first real one is not late.
        engine.infer([np.zeros(_WARM_UP_SIZE, np.uint8)] * _WARM_UP_VIEWS)
    except torch.OutOfMemoryError as error:
        raise MemoryBudgetError(f'{model.name} does not fit the device: {error}') from error
    num_views, most_views = plan_views(engine, settings, _WARM_UP_SIZE[:2], reason)
    _warm_up(engine, settings, num_views, report)
    identity = ModelIdentity(
        model.name, network.weights, network.licence, names, model.is_random,
        num_views, lambda: engine.num_shortages, most_views,
    )
    return LoadedEngine(engine, identity)


def _warm_up(
    engine: InferenceEngine, settings: NodeSettings, num_views: int, report: Report | None
) -> None:
    """Run what a stream begins with, but on a processor: there the first window is no slower."""
    if engine.works_apart:
        _tell(report, f'{settings.model.name}: running windows of {num_views} views')
        warm_up(engine, settings.pipeline(num_views), _WARM_UP_SIZE[:2],
                most_views=_options(settings).small_window)


def release_memory() -> None:
    """Give the memory of engines that nobody holds any more back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _load_network(model: ModelSettings, report: Report | None) -> _LoadedNetwork:
    _tell(report, model.name)
    if model.is_random:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(model.seed)
            network = build_network(model.name)
        _logger.warning('RANDOM WEIGHTS (model.weights: random): the outputs mean nothing')
        return _LoadedNetwork(network, f'random, seed {model.seed}', 'none')
    network = build_network(model.name, device='meta')
    loaded = load_weights(
        network, model.weights or None, offline=model.offline,
        report=lambda text: _tell(report, f'{model.name}: {text}'))
    return _LoadedNetwork(network, f'{loaded.path}, sha256 {loaded.sha256}', loaded.licence)


def _tell(report: Report | None, text: str) -> None:
    if report is not None:
        report(text)


def _choose(
    settings: NodeSettings, devices: Sequence[torch.device], load: Callable[[str], None]
) -> Choice:
    """
    Choose variant and resolution, and say so loudly where it is not what anybody wants.

    :param load: loads a variant, which is passed over if it cannot be.
    """
    model, window = settings.model, settings.window
    if model.weights and not model.is_random:
        raise ValueError(f'model.weights: got {model.weights!r} with model.name auto, expected '
                         'the name of the variant that they are of')

    def cost(name: str, size: int) -> WindowModel:
        height, width, _ = _WARM_UP_SIZE
        process = plan_processing(height, width, size=size, method=settings.preprocess.method)
        if not has_gpu:
            return probe_model_on_host(name, process.size)
        alone = probe_model(
            name, process.size, devices[0], cache=CalibrationCache(), dtype=_dtype(model),
            options=_options(settings), with_rays=model.use_ray_pose,
            with_encoder=settings.expects_poses,
        )
        return replace(alone, num_devices=len(devices))

    has_gpu = devices[0].type == 'cuda'
    choice = choose_model(
        settings.plan,
        # What is too slow runs all the same, in the smallest windows.
        Demand(
            window.size, settings.plan.min_views, window.max_latency_s or None, floor_views=1),
        settings.preprocess.size,
        fetch=load,
        cost=cost,
        budget_bytes=(
            min(usable_bytes(device, _limits(settings)) for device in devices)
            if has_gpu else usable_ram_bytes()),
        takes_smallest=not has_gpu,
    )
    for obstacle in choice.obstacles:
        _logger.warning('model.name auto, passed over: %s', obstacle)
    if choice.is_fallback:
        _logger.warning(
            'NOTHING PUBLISHED RUNS HERE (model.name: auto): %s does instead, which is in the '
            'package and far less accurate', choice.model
        )
    return choice


def _dtype(model: ModelSettings) -> torch.dtype | None:
    """Return the number format that is asked for, or None where the device decides."""
    if model.dtype == 'auto':
        return None
    dtype: torch.dtype = getattr(torch, model.dtype)
    return dtype


def _options(settings: NodeSettings) -> ExecutorOptions:
    return ExecutorOptions(features=settings.memory.features, reduced=settings.memory.reduced)


def _limits(settings: NodeSettings) -> MemoryLimits:
    return MemoryLimits(settings.memory.reserve_mib, settings.window.max_latency_s or None)


def _devices(name: str) -> tuple[torch.device, ...]:
    try:
        devices = choose_devices(None if name == 'auto' else name)
        if len(devices) == 1:
            # Several are looked at by their own processes.
            torch.empty(0, device=devices[0])
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ValueError(f'model.device: got {name!r}, expected a device that torch has here: '
                         f'{error}') from error
    return devices
