# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Short probes of what a machine adds to the memory model, kept from one start to the next."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
import json
import logging
import os
from pathlib import Path
import tempfile
import time
from typing import Any

from da3_ros.errors import PredictionError
from da3_ros.inference.branch import Branch, ExecutorOptions, Maps
from da3_ros.inference.device import pinned_attention
from da3_ros.inference.executor import WindowExecutor
from da3_ros.inference.memory_model import Calibration
from da3_ros.inference.placement import main_branch
from da3_ros.model.build import Network
from da3_ros.model.config import PATCH_SIZE
from da3_ros.model.network import DepthAnything3
import numpy as np
from numpy.typing import NDArray
import torch
import torch.nn.functional as F

_logger = logging.getLogger(__name__)

_CACHE_VERSION = 2
_HEAD_DIM = 64
_NUM_TIMED = 3
# Enough views for the GPU to be busy all the time, in chunks of the head.
_TIMED_CHUNKS = 4
# Enough tokens for attention to reach its speed.
_ATTENTION_TOKENS = 8192


@dataclass(frozen=True)
class CalibrationKey:
    """
    What a calibration depends on.

    :param gpu: name of the GPU.
    :param model: name of the variant.
    :param image_size: height and width [px].
    :param dtype: of the backbone's matrices.
    :param options: of the executor.
    :param with_rays: whether the ray branch runs too.
    :param torch_version: with its CUDA version.
    """

    gpu: str
    model: str
    image_size: tuple[int, int]
    dtype: str
    options: str
    with_rays: bool
    torch_version: str = torch.__version__

    @classmethod
    def of(
        cls,
        device: torch.device,
        model: str,
        image_size: tuple[int, int],
        dtype: torch.dtype,
        options: ExecutorOptions,
        *,
        with_rays: bool = False,
    ) -> 'CalibrationKey':
        """
        Make the key for a GPU of this machine.

        :param device: the GPU.
        :param model: name of the variant.
        :param image_size: height and width [px].
        :param dtype: of the backbone's matrices.
        :param options: of the executor.
        :param with_rays: whether the ray branch runs too.
        """
        gpu = torch.cuda.get_device_name(device)
        return cls(gpu, model, image_size, str(dtype), str(options), with_rays)

    def __str__(self) -> str:
        """Return the key as it stands in the file."""
        return '|'.join(map(str, (_CACHE_VERSION, *asdict(self).values())))


class CalibrationCache:
    """
    Calibrations in a file of the user's.

    An unreadable or unwritable file costs a new probe, nothing else.

    :param path: None: in the user's cache folder.
    """

    def __init__(self, path: Path | None = None) -> None:
        folder = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
        self._path = folder / 'da3_ros' / 'calibration.json' if path is None else path

    def get(self, key: CalibrationKey, probe: Callable[[], Calibration]) -> Calibration:
        """
        Return a calibration, from the file or from a probe.

        :param key: what it depends on.
        :param probe: makes it.
        """
        known = self._read()
        try:
            return Calibration(**known[str(key)])
        except (KeyError, TypeError):
            calibration = probe()
        self._write({**known, str(key): asdict(calibration)})
        return calibration

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            known = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}

    def _write(self, known: dict[str, dict[str, Any]]) -> None:
        """Replace the file in one step, so that no reader sees half of it."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                'w', dir=self._path.parent, delete=False
            ) as file:
                json.dump(known, file, indent=1)
            Path(file.name).replace(self._path)
        except OSError as error:
            _logger.warning('calibration not kept: %s', error)


@torch.inference_mode()
def calibrate(
    network: Network, executor: WindowExecutor, image_size: tuple[int, int]
) -> Calibration:
    """
    Probe a network on a GPU.

    :param network: on its device.
    :param executor: of that network.
    :param image_size: height and width [px].
    """
    main = main_branch(network)
    device = main.backbone.pretrained.pos_embed.device
    num_views = executor.options.chunks_for(image_size).head
    pixels = np.zeros((_TIMED_CHUNKS * num_views, *image_size, 3), dtype=np.uint8)
    _run(executor, pixels[:num_views])
    fixed_bytes = torch.cuda.memory_allocated(device)
    with pinned_attention(executor.attention):
        head_bytes, of_one = (
            _head_bytes(executor.branches[0], pixels[:count], device)
            for count in (num_views, 1)
        )
        pair_s = _pair_seconds(main, image_size)
    seconds = _time(lambda: _run(executor, pixels), device)
    view_s = max(seconds / len(pixels) - len(pixels) * pair_s, 0.0)
    return Calibration(fixed_bytes, head_bytes // num_views, of_one, view_s, pair_s)


def _run(executor: WindowExecutor, pixels: NDArray[np.uint8]) -> None:
    """Run a window whose answer does not matter: black images may be all sky, or have no rays."""
    with suppress(PredictionError):
        executor.run(pixels)


def _head_bytes(branch: Branch, pixels: NDArray[np.uint8], device: torch.device) -> int:
    """Return what the depth head needs for some views at once."""
    features = branch.features(torch.from_numpy(pixels), None)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    branch.decode(features, Maps(len(pixels), torch.device('cpu')))
    return torch.cuda.max_memory_allocated(device) - before


def _pair_seconds(network: DepthAnything3, image_size: tuple[int, int]) -> float:
    """Return the time of attention between two views in all blocks over all views."""
    config = network.config
    num_global = sum(config.is_global(i) for i in range(config.out_layers[-1] + 1))
    device = network.backbone.pretrained.pos_embed.device
    shape = (1, config.num_heads, _ATTENTION_TOKENS, _HEAD_DIM)
    tokens = torch.randn(shape, device=device, dtype=network.backbone.compute_dtype)
    seconds = _time(lambda: F.scaled_dot_product_attention(tokens, tokens, tokens), device)
    per_view = image_size[0] * image_size[1] / PATCH_SIZE**2 + 1
    return num_global * seconds * (per_view / _ATTENTION_TOKENS) ** 2


def _time(run: Callable[[], object], device: torch.device) -> float:
    """Return the shortest of a few times, after one to warm up."""
    run()
    times = []
    for _ in range(_NUM_TIMED):
        torch.cuda.synchronize(device)
        start = time.perf_counter()
        run()
        torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times)
