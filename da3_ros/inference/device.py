# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What the device can do: number format and attention kernel."""

from collections.abc import Iterator
from contextlib import contextmanager, ExitStack
from functools import cache
import logging
import os
from pathlib import Path
import threading
import warnings

from da3_ros.errors import Da3Error
import torch
from torch.nn.attention import sdpa_kernel, SDPBackend
import torch.nn.functional as F

_logger = logging.getLogger(__name__)

_HEAD_DIM = 64
_ALLOCATOR_SETTINGS = ('PYTORCH_CUDA_ALLOC_CONF', 'PYTORCH_ALLOC_CONF')
_PROBE_TOKENS = 256


def choose_device() -> torch.device:
    """Return the first GPU, or the CPU where there is none."""
    return torch.device('cuda', 0) if torch.cuda.is_available() else torch.device('cpu')


def choose_devices(names: torch.device | str | None) -> tuple[torch.device, ...]:
    """
    Return the devices that share every window, or the only one.

    :param names: of torch, such as 'cuda:1'; 'cuda:0,1' and 'cuda:0,cuda:1' are two GPUs, 'all'
        is every one there is; 'cpu,cpu' are two processes on the CPU, for tests. None: the first
        GPU, or the CPU where there is none.
    :raises ValueError: if there are no such devices, or they cannot share windows.
    """
    if names is None:
        return (choose_device(),)
    if isinstance(names, torch.device):
        return (names,)
    parts = [name.strip() for name in names.split(',')]
    if names == 'all':
        parts = [f'cuda:{i}' for i in range(torch.cuda.device_count())]
    kind = parts[0].partition(':')[0] if parts else 'cuda'
    try:
        devices = tuple(
            torch.device(f'{kind}:{name}' if name.isdigit() else name) for name in parts)
    except RuntimeError as error:
        raise ValueError(f'device: got {names!r}: {error}') from error
    if len(devices) == 1:
        return devices
    is_one_kind = {device.type for device in devices} in ({'cuda'}, {'cpu'})
    num_gpus = torch.cuda.device_count()
    found = {device.index for device in devices}
    if not devices or not is_one_kind or (kind == 'cuda' and (
        len(found) < len(devices) or not found <= set(range(num_gpus))
    )):
        raise ValueError(
            f'device: got {names!r}, expected different ones of the {num_gpus} GPUs here')
    return devices


def gpu_name(device: torch.device) -> str:
    """
    Return the name of a GPU and what tells it from others of the same kind.

    :param device: a CUDA device.
    """
    serial = getattr(torch.cuda.get_device_properties(device), 'uuid', '')
    return f'{torch.cuda.get_device_name(device)} {serial}'.strip()


def driver_version(path: Path = Path('/proc/driver/nvidia/version')) -> str:
    """
    Return what the GPU's driver calls itself, or that it is unknown.

    :param path: of the driver's own file.
    """
    try:
        return path.read_text().splitlines()[0].strip()
    except (OSError, UnicodeDecodeError, IndexError):
        # Not everywhere, for instance not in WSL; the version of its interface is.
        version = getattr(torch._C, '_cuda_getDriverVersion', lambda: 'unknown')
        return str(version())


def choose_dtype(*devices: torch.device) -> torch.dtype:
    """
    Choose the number format of the backbone's matrices.

    ``torch.cuda.is_bf16_supported`` is no guide: it counts emulation.

    :param devices: where the network runs.
    :returns: bfloat16 on GPUs of compute capability 8.0 and later, float16 on earlier ones,
        float32 on the CPU.
    """
    if any(device.type != 'cuda' for device in devices):
        return torch.float32
    has_bfloat16 = all(
        torch.cuda.get_device_capability(device) >= (8, 0) for device in devices)
    return torch.bfloat16 if has_bfloat16 else torch.float16


def reduce_fragmentation() -> None:
    """
    Let torch's allocator move free pages to where they are needed.

    Otherwise a tenth and more of a full GPU lies in gaps that are too small for anything. Has no
    effect where the driver or the user's own setting does not allow it.
    """
    if any(name in os.environ for name in _ALLOCATOR_SETTINGS):
        return
    # The name since torch 2.9; before that, only CUDA's own.
    general = getattr(torch._C, '_accelerator_setAllocatorSettings', None)
    try:
        set_options = general or torch.cuda.memory._set_allocator_settings
        set_options('expandable_segments:True')
    except (AttributeError, RuntimeError, ValueError) as error:
        _logger.debug('allocator: %s', str(error))


def available_bytes(device: torch.device) -> int:
    """
    Return how much torch may hold on a GPU at the moment, what it holds already included.

    :param device: a CUDA device.
    """
    free, total = torch.cuda.mem_get_info(device)
    held = torch.cuda.memory_reserved(device)
    fraction = getattr(torch.cuda, 'get_per_process_memory_fraction', lambda _: 1.0)(device)
    return min(free + held, int(fraction * total))


def is_out_of_memory(error: RuntimeError) -> bool:
    """
    Return whether an error says that the GPU's memory is full.

    :param error: from torch, whose libraries have words of their own for it.
    """
    words = ('out of memory', 'ALLOC_FAILED')
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(w in str(error) for w in words)


def choose_attention(device: torch.device, dtype: torch.dtype) -> SDPBackend | None:
    """
    Choose the attention kernel, by trying each on a small problem.

    Memory of the fallback grows with the square of the window, so it is never chosen.

    :param device: where the network runs.
    :param dtype: of queries, keys and values.
    :returns: the fastest fused kernel, or None on the CPU, where torch chooses well.
    :raises Da3Error: if there is no fused kernel for the device and number format.
    """
    if device.type != 'cuda':
        return None
    candidates = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]
    if torch.cuda.get_device_capability(device)[0] in (9, 10):
        # A third faster than FlashAttention-2 on the data centre cards.
        candidates.insert(0, SDPBackend.CUDNN_ATTENTION)
    for backend in candidates:
        if _runs(backend, device, dtype):
            _logger.debug('attention kernel: %s in %s', backend.name, dtype)
            return backend
    name = torch.cuda.get_device_name(device)
    raise Da3Error(
        f'no fused attention kernel for {dtype} on {name}: the memory of the remaining one grows '
        'with the square of the window; use model.dtype float16 or float32, or another torch build'
    )


@cache
def _work_stream(device: torch.device) -> tuple[threading.RLock, torch.cuda.Stream]:
    stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return threading.RLock(), stream


@contextmanager
def on_work_stream(device: torch.device) -> Iterator[None]:
    """
    Launch work on the one stream of a device that all windows run on, after what came before.

    Graphs cannot be recorded on the default stream, and nobody else may launch where one is being
    recorded. Libraries and the allocator keep memory for every stream, so there is no other.

    :param device: where networks run; nothing changes unless it is a GPU.
    """
    if device.type != 'cuda':
        yield
        return
    turn, stream = _work_stream(device)
    with turn:
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            yield


class _Pin:
    """
    The one attention kernel that is allowed in this process.

    Torch's switches are the process's, and who turns them back last would leave those of another
    thread: so threads that want the same kernel share the pin, and the others wait their turn.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._holders: list[int] = []
        self._waiting: list[object] = []
        self._pinned: tuple[SDPBackend, ExitStack] | None = None

    @contextmanager
    def hold(self, backend: SDPBackend) -> Iterator[None]:
        """Allow only this kernel; within itself, a thread may ask for it again."""
        thread = threading.get_ident()
        with self._condition:
            if thread not in self._holders:
                self._wait_for_turn(backend)
            assert self._allows(backend), 'no thread pins two kernels at once'
            if self._pinned is None:
                switches = ExitStack()
                switches.enter_context(sdpa_kernel(backend))
                self._pinned = (backend, switches)
            self._holders.append(thread)
            self._condition.notify_all()
        try:
            yield
        finally:
            with self._condition:
                self._holders.remove(thread)
                if not self._holders and self._pinned is not None:
                    self._pinned[1].close()
                    self._pinned = None
                self._condition.notify_all()

    def _wait_for_turn(self, backend: SDPBackend) -> None:
        """Wait in the order of asking: a stream of windows must not keep another kernel out."""
        ticket = object()
        self._waiting.append(ticket)
        try:
            self._condition.wait_for(
                lambda: self._waiting[0] is ticket and self._allows(backend))
        finally:
            self._waiting.remove(ticket)

    def _allows(self, backend: SDPBackend) -> bool:
        return self._pinned is None or self._pinned[0] is backend


_pin = _Pin()


@contextmanager
def pinned_attention(backend: SDPBackend | None) -> Iterator[None]:
    """
    Allow only one attention kernel; a thread that wants another one waits until this ends.

    :param backend: as ``choose_attention`` gives it.
    """
    if backend is None:
        yield
        return
    with _pin.hold(backend):
        yield


def _runs(backend: SDPBackend, device: torch.device, dtype: torch.dtype) -> bool:
    tokens = torch.zeros(1, 2, _PROBE_TOKENS, _HEAD_DIM, device=device, dtype=dtype)
    try:
        # Torch explains at length why a kernel does not fit; that is what is asked here.
        with pinned_attention(backend), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            F.scaled_dot_product_attention(tokens[:, :, ::2], tokens, tokens)
    except RuntimeError as error:
        _logger.debug('attention kernel %s: %s', backend.name, str(error))
        return False
    return True
