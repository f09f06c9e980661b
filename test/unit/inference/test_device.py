# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What a device can do, by what it says of itself; and half precision where it is too narrow."""

from contextlib import suppress
import logging
import threading
from types import SimpleNamespace

from da3_ros.errors import Da3Error, NonFiniteError, PredictionError
from da3_ros.inference import device as device_module
from da3_ros.inference import InferenceEngine
from da3_ros.inference.device import (
    choose_attention,
    choose_devices,
    choose_dtype,
    driver_version,
    gpu_name,
    pinned_attention,
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


def too_wide_for_half(name='da3-small', branch=''):
    """Build a network with larger numbers inside a block than float16 has."""
    network = build_reduced(name)
    block = network.get_submodule(branch).backbone.pretrained.blocks[WIDE_BLOCK]
    *_, last = (part for part in block.mlp.modules() if isinstance(part, torch.nn.Linear))
    with torch.no_grad():
        last.weight.mul_(SCALE)
        last.bias.mul_(SCALE)
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


def enabled_kernels():
    """Return what the switches of this process allow."""
    return (
        torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.mem_efficient_sdp_enabled(),
        torch.backends.cuda.math_sdp_enabled(), torch.backends.cuda.cudnn_sdp_enabled(),
    )


FLASH, EFFICIENT = SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION
ONLY = {FLASH: (True, False, False, False), EFFICIENT: (False, True, False, False)}


class Pinning(threading.Thread):
    """A thread that pins a kernel until it is told to let go."""

    def __init__(self, backend):
        super().__init__(daemon=True)
        self._backend = backend
        self.is_in, self.let_go = threading.Event(), threading.Event()
        self.seen = []
        self.start()

    def run(self):
        with pinned_attention(self._backend):
            self.seen.append(enabled_kernels())
            # As a window does that calls what pins, too.
            with pinned_attention(self._backend):
                self.is_in.set()
                assert self.let_go.wait(60.0)
            self.seen.append(enabled_kernels())

    def finish(self):
        self.let_go.set()
        self.join(60.0)
        assert not self.is_alive()


@pytest.mark.parametrize('other', [FLASH, EFFICIENT])
def test_kernels_that_two_threads_pin_are_back_when_both_are_done(other):
    """Interleaved as two engines do: in, in, out, out, the first one out first."""
    before = enabled_kernels()
    assert before not in ONLY.values()
    first = Pinning(FLASH)
    assert first.is_in.wait(60.0)
    second = Pinning(other)
    if other is FLASH:
        assert second.is_in.wait(60.0), 'the same kernel may be shared'
    else:
        assert not second.is_in.wait(0.2), "another one must not change the first thread's"
    first.finish()
    assert second.is_in.wait(60.0)
    second.finish()
    assert first.seen == 2 * [ONLY[FLASH]]
    assert second.seen == 2 * [ONLY[other]]
    assert enabled_kernels() == before


def test_a_kernel_gets_its_turn_among_those_that_share_another():
    first = Pinning(FLASH)
    assert first.is_in.wait(60.0)
    other = Pinning(EFFICIENT)
    assert not other.is_in.wait(0.2)
    late = Pinning(FLASH)
    assert not late.is_in.wait(0.2), 'who came before waits no longer for it'
    first.finish()
    assert other.is_in.wait(60.0) and not late.is_in.is_set()
    other.finish()
    assert late.is_in.wait(60.0)
    late.finish()


def test_a_window_that_fails_gives_its_kernel_back():
    before = enabled_kernels()
    with suppress(RuntimeError), pinned_attention(FLASH):
        raise RuntimeError('out of memory')
    assert enabled_kernels() == before


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


@pytest.mark.parametrize(('name', 'branch', 'use_ray_pose'), [
    ('da3-small', '', True), ('da3mono-large', '', False), ('da3metric-large', '', False),
    ('da3nested-giant-large', 'da3', False), ('da3nested-giant-large', 'da3_metric', False),
    ('da3nested-giant-large', 'da3', True),
])
def test_whatever_is_computed_from_the_numbers_they_are_inferred_again(
    name, branch, use_ray_pose
):
    """Quantiles, medians, decompositions and fits fail in ways of their own on NaN."""
    window = list(random_window(3, 56, 56))
    options = {'device': 'cpu', 'size': 56, 'use_ray_pose': use_ray_pose}
    exact = InferenceEngine(too_wide_for_half(name, branch), **options).infer(window)
    engine = InferenceEngine(too_wide_for_half(name, branch), dtype=torch.float16, **options)
    found = engine.infer(window)
    assert engine.dtype is torch.float32
    ratios = found.depth / exact.depth
    # Random rays hardly determine a focal length, and the metres go with it.
    assert np.median(np.abs(ratios / np.median(ratios) - 1.0)) < 0.05


def test_a_window_of_nothing_but_sky_widens_nothing():
    """It has no metres, but every number in it is finite."""
    network = build_reduced('da3nested-giant-large')
    with torch.no_grad():
        network.da3_metric.head.scratch.sky_output_conv2[2].bias.fill_(100.0)
    engine = InferenceEngine(network, device='cpu', dtype=torch.float16, size=56)
    with pytest.raises(PredictionError, match='0 pixels are not sky'):
        engine.infer(list(random_window(2)))
    assert engine.dtype is torch.float16
    assert network.da3.backbone.compute_dtype is torch.float16


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32])
def test_only_half_precision_widens(dtype, caplog):
    """The range of bfloat16 is that of float32: nothing would be won."""
    network = build_reduced('da3-small')
    with torch.no_grad():
        network.head.scratch.output_conv2[2].bias.fill_(float('nan'))
    engine = InferenceEngine(network, device='cpu', dtype=dtype, size=56)
    with caplog.at_level(logging.WARNING, 'da3_ros'), \
            pytest.raises(NonFiniteError, match='not finite'):
        engine.infer(list(random_window(2)))
    assert engine.dtype is dtype
    assert network.backbone.compute_dtype is dtype
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


def test_devices_are_named_as_torch_does_or_several_at_once(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 3)
    for names, expected in (
        ('cpu', ['cpu']), ('cuda:1', ['cuda:1']), ('cuda:0,2', ['cuda:0', 'cuda:2']),
        ('cuda:2, cuda:0', ['cuda:2', 'cuda:0']), ('all', ['cuda:0', 'cuda:1', 'cuda:2']),
        ('cpu,cpu', ['cpu', 'cpu']), (torch.device('cuda', 1), ['cuda:1']),
    ):
        assert [str(device) for device in choose_devices(names)] == expected


@pytest.mark.parametrize('names', [
    'cuda:0,3', 'cuda:0,0', 'cuda,cuda:1', 'cuda:0,cpu', 'cpu,cuda:0', 'all,cpu', 'gpu', '', ',',
    'cuda:0,', 'cuda:0,-1', '0,1', 'cuda:0,meta',
])
def test_devices_that_cannot_share_windows_are_refused(monkeypatch, names):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 3)
    with pytest.raises(ValueError, match=f'device: got {names!r}'):
        choose_devices(names)


def test_all_of_no_gpus_are_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    with pytest.raises(ValueError, match='of the 0 GPUs here'):
        choose_devices('all')


def test_devices_of_different_kinds_round_as_the_least_of_them(monkeypatch):
    capability = {0: (9, 0), 1: (7, 5)}
    monkeypatch.setattr(
        torch.cuda, 'get_device_capability', lambda device: capability[device.index])
    first, second = torch.device('cuda', 0), torch.device('cuda', 1)
    assert choose_dtype(first) == torch.bfloat16
    assert choose_dtype(first, second) == torch.float16
