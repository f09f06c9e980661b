# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The engine that the parameters ask for, on a machine without GPU and without network."""

from dataclasses import replace
import logging

from da3_ros.errors import MemoryBudgetError, WeightsError
from da3_ros.inference import ExecutorOptions
from da3_ros.inference.automatic_model import PlanConfig
from da3_ros.inference.memory_model import Calibration, WindowModel
from da3_ros.inference.plan import probe_model_on_host
from da3_ros.mapping.config import ScaleConfig
from da3_ros.model import build_network, MODELS
from da3_ros.ros import engine_loading
from da3_ros.ros.engine_loading import load_engine
from da3_ros.ros.parameters.settings import (
    CameraSettings,
    ModelSettings,
    NodeSettings,
    PreprocessSettings,
    TfSettings,
    WindowSettings,
)
import numpy as np
import pytest
from safetensors.torch import save_file
import torch


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """Make the cache of the hub an empty folder; give what puts weights of a variant there."""
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))

    def put(name):
        repository = tmp_path / f'models--{MODELS[name].hub_id.replace("/", "--")}'
        snapshot = repository / 'snapshots' / '0123'
        snapshot.mkdir(parents=True)
        (repository / 'refs').mkdir()
        (repository / 'refs' / 'main').write_text('0123')
        path = snapshot / 'model.safetensors'
        save_file(build_network(name).state_dict(), path)
        return path

    return put


def settings(**model):
    return NodeSettings(
        model=ModelSettings(device='cpu', offline=True, **model),
        preprocess=PreprocessSettings(size=56),
        window=WindowSettings(size=4),
    )


def test_several_devices_run_what_is_loaded():
    given = settings(name='da3-tiny')
    loaded = load_engine(replace(given, model=replace(given.model, device='cpu, cpu')))
    assert loaded.identity.device == 'cpu,cpu'
    assert len(loaded.engine.devices) == 2
    images = [np.zeros((42, 56, 3), np.uint8)] * 3
    assert loaded.engine.infer(images).num_views == 3


@pytest.mark.parametrize('device', ['cuda:0,cpu', 'cpu,gpu', 'gpu', ''])
def test_devices_that_are_not_here_are_named(device):
    given = settings(name='da3-tiny')
    with pytest.raises(ValueError, match=f'model.device: got {device!r}, expected a device'):
        load_engine(replace(given, model=replace(given.model, device=device)))


@pytest.mark.usefixtures('hub_cache')
def test_auto_without_network_and_cache_takes_what_is_in_the_package_and_says_so(caplog):
    with caplog.at_level(logging.INFO, 'da3_ros'):
        loaded = load_engine(settings(name='auto'))
    assert loaded.identity.name == 'da3-tiny' and not loaded.identity.is_random
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert any('NOTHING PUBLISHED RUNS HERE' in text and 'da3-tiny' in text for text in warnings)
    assert any('passed over' in text and 'DA3-BASE' in text for text in warnings)


def test_auto_takes_published_weights_of_the_cache(hub_cache, caplog):
    hub_cache('da3-small')
    with caplog.at_level(logging.INFO, 'da3_ros'):
        loaded = load_engine(settings(name='auto'))
    assert loaded.identity.name == 'da3-small' and loaded.identity.licence == 'Apache-2.0'
    assert not [r for r in caplog.records if r.levelno == logging.WARNING]


def test_auto_passes_over_what_cannot_be_loaded(hub_cache, caplog):
    """And takes the next one, which is better than what is in the package."""
    path = hub_cache('da3-small')
    with path.open('r+b') as file:
        file.truncate(path.stat().st_size // 2)
    hub_cache('da3-base')
    with caplog.at_level(logging.INFO, 'da3_ros'):
        loaded = load_engine(settings(name='auto'))
    assert loaded.identity.name == 'da3-base'
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert 'passed over' in warnings[0] and str(path) in warnings[0]


def test_auto_without_a_gpu_plans_the_resolution(caplog, monkeypatch):
    """What takes too long at any is inferred at the fastest one."""

    def cost(name, image_size):
        calibration = Calibration(1, 1, 1, view_s=1e-3 * image_size[0], pair_s=0.0)
        return WindowModel(
            MODELS[name], image_size, torch.float32, ExecutorOptions(), calibration)

    monkeypatch.setattr('da3_ros.ros.engine_loading.probe_model_on_host', cost)
    chosen = replace(
        settings(name='auto', weights='random'), preprocess=PreprocessSettings(size=112),
        plan=PlanConfig(min_size=56), window=WindowSettings(max_latency_s=1e-4))
    with caplog.at_level(logging.INFO, 'da3_ros'):
        loaded = load_engine(chosen)
    assert loaded.identity.name == 'da3-small' and loaded.identity.num_views == 3
    assert 'da3-small at 56x42' in caplog.text


@pytest.mark.usefixtures('hub_cache')
def test_where_nothing_is_left_configure_fails(monkeypatch, tmp_path):
    monkeypatch.setattr('da3_ros.model.weights._PACKAGED', tmp_path / 'empty')
    with pytest.raises(WeightsError, match='da3-tiny: no weights are published'):
        load_engine(settings(name='auto'))


@pytest.mark.parametrize(('name', 'window', 'expected', 'reasons'), [
    ('auto', WindowSettings(size=9), 9, ('da3-small', 'without a GPU', 'as asked for', '56 px')),
    ('da3-tiny', WindowSettings(max_latency_s=600.0), 12,
     ('da3-tiny', 'as asked for', 'limited by accuracy', '56x42')),
])
def test_one_line_says_what_runs_and_why(caplog, name, window, expected, reasons):
    chosen = replace(settings(name=name, weights='random'), window=window)
    with caplog.at_level(logging.INFO, 'da3_ros'):
        loaded = load_engine(chosen)
    assert loaded.identity.num_views == expected
    lines = [r.getMessage() for r in caplog.records if 'windows of' in r.getMessage()]
    assert len(lines) == 1
    assert all(reason in lines[0] for reason in reasons)


def test_auto_does_not_guess_whose_weights_a_file_holds():
    with pytest.raises(ValueError, match=r'model\.weights'):
        load_engine(settings(name='auto', weights='some.safetensors'))


def plan_with(caplog, **changes):
    """Load da3-tiny with some settings; give the size of its windows and the warnings."""
    chosen = replace(settings(name='da3-tiny'), **changes)
    with caplog.at_level(logging.INFO, 'da3_ros'):
        num_views = load_engine(chosen).identity.num_views
    chosen.pipeline(num_views)
    return num_views, [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


@pytest.mark.parametrize(('names', 'expected'), [(('',), 3), (('a', 'b'), 4)])
def test_a_machine_that_is_too_slow_gets_the_least_window_that_joins_and_is_told(
    caplog, names, expected
):
    num_views, warnings = plan_with(
        caplog, window=WindowSettings(max_latency_s=1e-4), camera=CameraSettings(names=names))
    assert num_views == expected
    assert any('longer than window.max_latency_s' in text for text in warnings)


def test_a_plan_of_a_busy_machine_is_a_beginning():
    """What fits is known at once, and what is done in time only by and by."""
    chosen = replace(settings(name='da3-tiny'), window=WindowSettings(max_latency_s=1e-4))
    identity = load_engine(chosen).identity
    assert (identity.num_views, identity.most_views) == (3, 12)
    window = chosen.pipeline(identity.num_views, most_views=identity.most_views).window
    assert (window.first_views, window.size, window.max_latency_s) == (3, 12, 1e-4)
    asked_for = replace(chosen, window=WindowSettings(size=5))
    identity = load_engine(asked_for).identity
    window = asked_for.pipeline(identity.num_views, most_views=identity.most_views).window
    assert (window.planned_views, window.size) == (5, 5)


def test_a_machine_without_memory_starts_all_the_same(caplog, monkeypatch):
    """Room for less than two instants: the mode of tf needs windows that overlap."""
    cost = probe_model_on_host('da3-tiny', (42, 56))
    room = cost.peak_bytes(2) - cost.calibration.fixed_bytes
    monkeypatch.setattr('da3_ros.inference.device_runner.usable_ram_bytes', lambda: room)
    num_views, warnings = plan_with(
        caplog, window=WindowSettings(), tf=TfSettings(mode='odom_to_base'))
    assert num_views == 3
    assert any('do not fit the memory now' in text for text in warnings)


@pytest.mark.parametrize(('name', 'source', 'expected'), [
    ('da3-small', 'none', False), ('da3-small', 'pose', True), ('da3-tiny', 'tf', False),
])
def test_the_camera_encoder_is_there_from_the_start_where_poses_are_given(
    monkeypatch, name, source, expected
):
    placed = []
    monkeypatch.setattr(
        'da3_ros.inference.device_runner.place',
        lambda *_, with_encoder, **__: placed.append(with_encoder))
    load_engine(replace(
        settings(name=name, weights='random'), scale=ScaleConfig(source=source),
        tf=TfSettings(mode='none'), window=WindowSettings(size=4)))
    assert placed == [expected]


def test_auto_asks_for_the_cost_of_the_way_that_will_run(monkeypatch):
    asked = []

    def cost(name, *_, **options):
        asked.append((name, options['with_rays'], options['with_encoder']))
        raise MemoryBudgetError('enough')

    monkeypatch.setattr('da3_ros.ros.engine_loading.probe_model', cost)
    monkeypatch.setattr('da3_ros.ros.engine_loading.usable_bytes', lambda *_: 0.0)
    chosen = replace(
        settings(name='auto', weights='random', use_ray_pose=True),
        scale=ScaleConfig(source='pose'), tf=TfSettings(mode='none'))
    assert engine_loading._choose(chosen, [torch.device('cuda')], print).is_fallback
    assert ('da3-small', True, True) in asked and len(set(asked)) == 2
