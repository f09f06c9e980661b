# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What a device can do, by what it says of itself; and half precision where it is too narrow."""

import logging
from types import SimpleNamespace

from da3_ros.errors import Da3Error, PredictionError
from da3_ros.inference import device as device_module
from da3_ros.inference import InferenceEngine
from da3_ros.inference.device import (
    choose_attention,
    choose_dtype,
    driver_version,
    gpu_name,
)
import numpy as np
import pytest
from reduced_networks import build_reduced, random_window
import torch
from torch.nn.attention import SDPBackend

CUDA = torch.device('cuda', 0)
WIDE_BLOCK = 7
# The weights themselves are within float16's 65504.
SCALE = 3e4


@pytest.fixture
def card(monkeypatch):
    """Let torch tell of a card that is not there."""
    def describe(capability, backends=tuple(SDPBackend.__members__.values())):
        monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda _: capability)
        monkeypatch.setattr(torch.cuda, 'get_device_name', lambda _: 'a card')
        monkeypatch.setattr(
            device_module, '_runs', lambda backend, _device, _dtype: backend in backends)

    return describe


def too_wide_for_half():
    """Build a network with larger numbers inside a block than float16 has."""
    network = build_reduced('da3-small')
    block = network.backbone.pretrained.blocks[WIDE_BLOCK]
    with torch.no_grad():
        block.mlp.fc1.weight.mul_(SCALE)
        block.ls2.gamma.div_(SCALE)
    return network


@pytest.mark.parametrize(('capability', 'dtype'), [
    ((6, 1), torch.float16), ((7, 0), torch.float16), ((7, 5), torch.float16),
    ((8, 0), torch.bfloat16), ((8, 7), torch.bfloat16), ((9, 0), torch.bfloat16),
    ((12, 0), torch.bfloat16),
])
def test_number_format_by_compute_capability(card, capability, dtype):
    card(capability)
    assert choose_dtype(CUDA) is dtype
    assert choose_dtype(torch.device('cpu')) is torch.float32


def test_fastest_kernel_that_runs(card):
    card((9, 0))
    assert choose_attention(CUDA, torch.bfloat16) is SDPBackend.CUDNN_ATTENTION
    card((8, 6))
    assert choose_attention(CUDA, torch.bfloat16) is SDPBackend.FLASH_ATTENTION
    card((7, 5), [SDPBackend.EFFICIENT_ATTENTION])
    assert choose_attention(CUDA, torch.float16) is SDPBackend.EFFICIENT_ATTENTION


def test_the_quadratic_kernel_is_refused_with_a_remedy(card):
    card((7, 0), [SDPBackend.MATH])
    with pytest.raises(Da3Error, match=r'square of the window; use model\.dtype float16'):
        choose_attention(CUDA, torch.bfloat16)


def test_half_precision_is_near_full_precision():
    window = list(random_window(3))
    exact = InferenceEngine(build_reduced('da3-small'), device='cpu', size=56).infer(window)
    engine = InferenceEngine(
        build_reduced('da3-small'), device='cpu', dtype=torch.float16, size=56)
    found = engine.infer(window)
    assert engine.dtype is torch.float16
    error = np.linalg.norm(found.depth - exact.depth) / np.linalg.norm(exact.depth)
    assert 0.0 < error < 5e-3


def test_numbers_beyond_half_precision_are_inferred_again_in_full(caplog):
    window = list(random_window(3))
    exact = InferenceEngine(too_wide_for_half(), device='cpu', size=56).infer(window)
    engine = InferenceEngine(too_wide_for_half(), device='cpu', dtype=torch.float16, size=56)
    with caplog.at_level(logging.WARNING, 'da3_ros'):
        found = engine.infer(window)
    assert 'float32 from now on' in caplog.text
    assert engine.dtype is torch.float32
    # The weights keep the rounding that they had.
    error = np.linalg.norm(found.depth - exact.depth) / np.linalg.norm(exact.depth)
    assert error < 5e-3
    caplog.clear()
    assert np.array_equal(engine.infer(window).depth, found.depth)
    assert caplog.text == ''


def test_what_full_precision_does_not_mend_is_an_error():
    network = too_wide_for_half()
    with torch.no_grad():
        network.head.scratch.output_conv2[2].bias.fill_(float('nan'))
    engine = InferenceEngine(network, device='cpu', dtype=torch.float16, size=56)
    with pytest.raises(PredictionError, match='not finite'):
        engine.infer(list(random_window(2)))


@pytest.mark.parametrize(('text', 'expected'), [
    ('NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu\nGCC version: 12\n',
     'NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu'),
    ('', None), (None, None),
])
def test_the_driver_names_itself_or_its_interface(tmp_path, text, expected):
    path = tmp_path / 'version'
    if text is not None:
        path.write_text(text)
    found = driver_version(path)
    assert found == expected if expected is not None else found and 'NVRM' not in found


def test_two_gpus_of_one_kind_differ(monkeypatch):
    properties = {0: SimpleNamespace(uuid='a'), 1: SimpleNamespace(uuid='b'), 2: object()}
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda _: 'GPU')
    monkeypatch.setattr(torch.cuda, 'get_device_properties', lambda i: properties[i])
    assert [gpu_name(i) for i in range(3)] == ['GPU a', 'GPU b', 'GPU']
