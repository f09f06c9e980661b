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

"""
What the device can do: number format and attention kernel.
"""

from collections.abc import Iterator
from contextlib import contextmanager
import logging

from da3_ros.errors import Da3Error
import torch
from torch.nn.attention import sdpa_kernel, SDPBackend
import torch.nn.functional as F

_logger = logging.getLogger(__name__)

_HEAD_DIM = 64
_PROBE_TOKENS = 256


def choose_device() -> torch.device:
    """Return the first GPU, or the CPU where there is none."""
    return torch.device('cuda', 0) if torch.cuda.is_available() else torch.device('cpu')


def choose_dtype(device: torch.device) -> torch.dtype:
    """
    Choose the number format of the backbone's matrices.

    ``torch.cuda.is_bf16_supported`` is no guide: it counts emulation.

    :param device: where the network runs.
    :returns: bfloat16 on GPUs of compute capability 8.0 and later, float16 on earlier ones,
        float32 on the CPU.
    """
    if device.type != 'cuda':
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16


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
            _logger.info('attention kernel: %s in %s', backend.name, dtype)
            return backend
    name = torch.cuda.get_device_name(device)
    raise Da3Error(
        f'no fused attention kernel for {dtype} on {name}: the memory of the remaining one grows '
        'with the square of the window; use model.dtype float16 or float32, or another torch build'
    )


@contextmanager
def pinned_attention(backend: SDPBackend | None) -> Iterator[None]:
    """
    Allow only one attention kernel.

    :param backend: as ``choose_attention`` gives it.
    """
    if backend is None:
        yield
        return
    with sdpa_kernel(backend):
        yield


def _runs(backend: SDPBackend, device: torch.device, dtype: torch.dtype) -> bool:
    tokens = torch.zeros(1, 2, _PROBE_TOKENS, _HEAD_DIM, device=device, dtype=dtype)
    try:
        with sdpa_kernel(backend):
            F.scaled_dot_product_attention(tokens[:, :, ::2], tokens, tokens)
    except RuntimeError as error:
        _logger.debug('attention kernel %s: %s', backend.name, error)
        return False
    return True
