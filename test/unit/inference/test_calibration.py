# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What machines add to the memory model: one probe for each way to run, kept while it is true."""

from dataclasses import asdict, replace
import json

from da3_ros.inference import calibration as calibration_module
from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.calibration import CalibrationCache, CalibrationKey
from da3_ros.inference.fused_arithmetic import Arithmetic
from da3_ros.inference.memory_guard import frugal_options
from da3_ros.inference.memory_model import Calibration
import pytest
from simulated_gpu import SimulatedGpu
import torch

_MIB = 2**20
_SIZE = (280, 504)
_CALIBRATION = Calibration(780 * _MIB, 70 * _MIB, 130 * _MIB, 2.4e-3, 4.3e-5, 9e-3)


def key(name='da3-large'):
    return CalibrationKey(
        'some GPU', 'driver', name, _SIZE, 'torch.bfloat16', 'options', 'Arithmetic')


def test_a_calibration_is_probed_once(tmp_path):
    path = tmp_path / 'folder' / 'calibration.json'
    probes = []

    def probe():
        probes.append(None)
        return _CALIBRATION

    for _ in range(3):
        assert CalibrationCache(path).get(key(), probe) == _CALIBRATION
    CalibrationCache(path).get(key('da3-base'), probe)
    assert len(probes) == 2
    assert len(json.loads(path.read_text())) == 2


@pytest.mark.parametrize('content', ['', '{"half', '[]', '{"a": 1}'])
def test_a_broken_file_costs_a_probe_only(tmp_path, content):
    path = tmp_path / 'calibration.json'
    path.write_text(content)
    assert CalibrationCache(path).get(key(), lambda: _CALIBRATION) == _CALIBRATION
    assert CalibrationCache(path).get(key(), lambda: 1 / 0) == _CALIBRATION


def test_a_folder_that_cannot_be_written_costs_nothing(tmp_path):
    path = tmp_path / 'file'
    path.write_text('')
    cache = CalibrationCache(path / 'calibration.json')
    assert cache.get(key(), lambda: _CALIBRATION) == _CALIBRATION


@pytest.mark.parametrize('name', asdict(_CALIBRATION))
@pytest.mark.parametrize('value', [
    None, '1e-3', True, [1], -1, float('nan'), float('inf'), {}], ids=repr)
def test_a_value_that_is_none_costs_a_probe_only(tmp_path, name, value):
    path = tmp_path / 'calibration.json'
    path.write_text(json.dumps({str(key()): {**asdict(_CALIBRATION), name: value}}))
    assert CalibrationCache(path).get(key(), lambda: _CALIBRATION) == _CALIBRATION
    assert json.loads(path.read_text()) == {str(key()): asdict(_CALIBRATION)}


@pytest.mark.parametrize('changes', [
    {'fixed_bytes': 0}, {'fixed_bytes': 1.5}, {'head_bytes_per_view': 0}, {'head_bytes_of_one': 0},
    {'view_s': 0.0, 'pair_s': 0.0}, {'more': 1},
], ids=str)
def test_values_that_cannot_be_cost_a_probe_only(tmp_path, changes):
    path = tmp_path / 'calibration.json'
    path.write_text(json.dumps({str(key()): {**asdict(_CALIBRATION), **changes}}))
    assert CalibrationCache(path).get(key(), lambda: _CALIBRATION) == _CALIBRATION


def test_a_calibration_that_does_not_hold_is_made_anew(tmp_path):
    path = tmp_path / 'calibration.json'
    cache = CalibrationCache(path)
    cache.get(key(), lambda: _CALIBRATION)
    cache.get(key('da3-base'), lambda: _CALIBRATION)
    new = _CALIBRATION.slower(2.0)
    assert cache.get(key(), lambda: new, holds=lambda _: False) == new
    assert cache.get(key(), lambda: 1 / 0, holds=lambda found: found == new) == new
    cache.forget(key())
    assert json.loads(path.read_text()) == {str(key('da3-base')): asdict(_CALIBRATION)}
    assert cache.get(key(), lambda: _CALIBRATION) == _CALIBRATION


def test_what_another_process_found_meanwhile_stays(tmp_path):
    path = tmp_path / 'calibration.json'

    def probe():
        CalibrationCache(path).get(key('da3-base'), lambda: _CALIBRATION)
        return _CALIBRATION

    CalibrationCache(path).get(key(), probe)
    assert len(json.loads(path.read_text())) == 2


class OtherArithmetic(Arithmetic):
    """Stands for the fused one."""


def test_each_way_to_run_has_a_key_of_its_own(monkeypatch):
    SimulatedGpu(_MIB).install(monkeypatch)
    monkeypatch.setattr(calibration_module, 'driver_version', lambda: '570.1')

    def make(*, dtype=torch.bfloat16, options=None, size=_SIZE, model='da3-large', **others):
        options = ExecutorOptions() if options is None else options
        return str(CalibrationKey.of(
            torch.device('cpu'), model, size, dtype, options, **others))

    options = ExecutorOptions()
    keys = [
        make(), make(dtype=torch.float16), make(options=replace(options, features='host')),
        make(options=replace(options, reduced=True)), make(with_rays=True),
        make(options=frugal_options(options, _SIZE)), make(with_encoder=True),
        make(size=(378, 504)), make(model='da3-base'),
    ]
    with monkeypatch.context() as patch:
        patch.setattr(calibration_module, 'choose_arithmetic', lambda _: OtherArithmetic())
        keys.append(make())
    with monkeypatch.context() as patch:
        patch.setattr(calibration_module, 'driver_version', lambda: '580.2')
        keys.append(make())
    for name in ('get_device_name', 'get_device_properties'):
        with monkeypatch.context() as patch:
            patch.setattr(torch.cuda, name, lambda _: torch)
            keys.append(make())
    assert len(set(keys)) == len(keys)
    assert make() == keys[0]
    assert torch.__version__ in keys[0] and str(torch.version.cuda) in keys[0]
    assert str(torch.backends.cudnn.version()) in keys[0]
