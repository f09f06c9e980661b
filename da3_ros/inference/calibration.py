# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Short probes of what a machine adds to the memory model, kept from one start to the next."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
import json
import logging
import math
import os
from pathlib import Path
import tempfile
import time
from typing import Any

from da3_ros.errors import PredictionError
from da3_ros.inference.arithmetic import Arithmetic
from da3_ros.inference.branch import Branch, ExecutorOptions
from da3_ros.inference.device import (
    driver_version,
    gpu_name,
    on_work_stream,
    pinned_attention,
)
from da3_ros.inference.executor import WindowExecutor
from da3_ros.inference.fused_arithmetic import choose_arithmetic
from da3_ros.inference.maps import Maps
from da3_ros.inference.memory_model import Calibration
from da3_ros.inference.placement import main_branch, weight_bytes
from da3_ros.model.build import Network
from da3_ros.model.config import PATCH_SIZE
from da3_ros.model.network import DepthAnything3
import numpy as np
from numpy.typing import NDArray
import torch
import torch.nn.functional as F

_logger = logging.getLogger(__name__)

_CACHE_VERSION = 3
_HEAD_DIM = 64
_NUM_TIMED = 3
# Enough views for the GPU to be busy all the time, in chunks of the head.
_TIMED_CHUNKS = 4
# Enough tokens for attention to reach its speed.
_ATTENTION_TOKENS = 8192


@dataclass(frozen=True)
class CalibrationKey:
    """
    What a calibration depends on: the machine, its software, and one way to run a network.

    :param gpu: name and serial number of the GPU.
    :param driver: of the GPU.
    :param model: name of the variant.
    :param image_size: height and width [px].
    :param dtype: of the backbone's matrices.
    :param options: of the executor, chunks included.
    :param arithmetic: name of what surrounds matrix products.
    :param with_rays: whether the ray branch runs too.
    :param with_encoder: whether the camera encoder lies on the GPU.
    :param torch_version: with its CUDA version.
    :param cudnn_version: whose kernels are used.
    """

    gpu: str
    driver: str
    model: str
    image_size: tuple[int, int]
    dtype: str
    options: str
    arithmetic: str
    with_rays: bool = False
    with_encoder: bool = False
    torch_version: str = f'{torch.__version__} CUDA {torch.version.cuda}'
    cudnn_version: str = str(torch.backends.cudnn.version())  # type: ignore[no-untyped-call]

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
        with_encoder: bool = False,
    ) -> 'CalibrationKey':
        """
        Make the key for a GPU of this machine.

        :param device: the GPU.
        :param model: name of the variant.
        :param image_size: height and width [px].
        :param dtype: of the backbone's matrices.
        :param options: of the executor.
        :param with_rays: whether the ray branch runs too.
        :param with_encoder: whether the camera encoder lies on the GPU.
        """
        return cls(
            gpu_name(device), driver_version(), model, image_size, str(dtype),
            f'{options} {options.chunks_for(image_size)}',
            type(choose_arithmetic(device)).__name__, with_rays, with_encoder,
        )

    @property
    def is_fused(self) -> bool:
        """Tell whether fused kernels run."""
        return self.arithmetic != Arithmetic.__name__

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

    def get(
        self, key: CalibrationKey, probe: Callable[[], Calibration], *,
        holds: Callable[[Calibration], bool] = lambda _: True,
    ) -> Calibration:
        """
        Return a calibration, from the file or from a probe.

        :param key: what it depends on.
        :param probe: makes it.
        :param holds: tells whether one from the file is still true; if not, it is made anew.
        """
        calibration = _checked(self._read().get(str(key)))
        if calibration is not None and holds(calibration):
            return calibration
        calibration = probe()
        # The file may have changed meanwhile.
        self._write({**self._read(), str(key): asdict(calibration)})
        return calibration

    def forget(self, key: CalibrationKey) -> None:
        """
        Make sure that the next start probes again.

        :param key: of a calibration that has turned out wrong.
        """
        known = self._read()
        if known.pop(str(key), None) is not None:
            self._write(known)

    def _read(self) -> dict[str, Any]:
        try:
            known = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}

    def _write(self, known: dict[str, Any]) -> None:
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


def _checked(values: object) -> Calibration | None:
    """Return what stands in the file, or None unless it is a calibration in every value."""
    names = {field.name for field in fields(Calibration)}
    if not isinstance(values, dict) or set(values) != names:
        return None
    numbers = [
        value for value in values.values()
        if isinstance(value, int | float) and not isinstance(value, bool)
        and math.isfinite(value) and value >= 0
    ]
    if len(numbers) < len(values):
        return None
    calibration = Calibration(**values)
    counts = (
        calibration.fixed_bytes, calibration.head_bytes_per_view, calibration.head_bytes_of_one)
    is_whole = all(isinstance(count, int) and count > 0 for count in counts)
    return calibration if is_whole and calibration.view_s + calibration.pair_s > 0.0 else None


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
    pixels = _probe_pixels(executor, image_size)
    others = max(torch.cuda.memory_allocated(device) - weight_bytes(network, device), 0)
    run_probe(executor, pixels[:num_views])
    fixed_bytes = torch.cuda.memory_allocated(device) - others
    with on_work_stream(device), pinned_attention(executor.attention):
        head_bytes, of_one = (
            _head_bytes(executor.branches[0], pixels[:count], device)
            for count in (num_views, 1)
        )
        pair_s = pair_seconds(main, image_size)
    seconds = shortest_seconds(lambda: run_probe(executor, pixels), device)
    least_s = shortest_seconds(lambda: run_probe(executor, pixels[:1]), device)
    view_s = max(seconds / len(pixels) - len(pixels) * pair_s, 0.0)
    return Calibration(fixed_bytes, head_bytes // num_views, of_one, view_s, pair_s, least_s)


@torch.inference_mode()
def probe_seconds(
    executor: WindowExecutor, image_size: tuple[int, int], device: torch.device
) -> tuple[int, float]:
    """
    Time the window that ``calibrate`` times.

    :param executor: on a GPU.
    :param image_size: height and width [px].
    :param device: that it is on.
    :returns: its views and its time.
    """
    pixels = _probe_pixels(executor, image_size)
    return len(pixels), shortest_seconds(lambda: run_probe(executor, pixels), device, num_timed=1)


def _probe_pixels(executor: WindowExecutor, image_size: tuple[int, int]) -> NDArray[np.uint8]:
    num_views = _TIMED_CHUNKS * executor.options.chunks_for(image_size).head
    return np.zeros((num_views, *image_size, 3), dtype=np.uint8)


def run_probe(executor: WindowExecutor, pixels: NDArray[np.uint8]) -> None:
    """
    Run a window whose answer does not matter: black images may be all sky, or have no rays.

    :param executor: on its device.
    :param pixels: (N, H, W, 3), black.
    """
    with suppress(PredictionError):
        executor.run(pixels)


def _head_bytes(branch: Branch, pixels: NDArray[np.uint8], device: torch.device) -> int:
    """Return what the depth head needs for some views at once."""
    features = branch.features(torch.from_numpy(pixels), None)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    branch.decode(features, Maps(len(pixels), torch.device('cpu')))
    return torch.cuda.max_memory_allocated(device) - before


def pair_seconds(
    network: DepthAnything3, image_size: tuple[int, int], *,
    num_tokens: int = _ATTENTION_TOKENS, num_timed: int = _NUM_TIMED,
) -> float:
    """
    Return the time of attention between two views in all blocks over all views.

    :param network: on its device.
    :param image_size: height and width [px].
    :param num_tokens: that attend to each other in the probe.
    :param num_timed: how often it is timed.
    """
    config = network.config
    num_global = sum(config.is_global(i) for i in range(config.out_layers[-1] + 1))
    device = network.backbone.pretrained.pos_embed.device
    shape = (1, config.num_heads, num_tokens, _HEAD_DIM)
    tokens = torch.randn(shape, device=device, dtype=network.backbone.compute_dtype)
    seconds = shortest_seconds(
        lambda: F.scaled_dot_product_attention(tokens, tokens, tokens), device,
        num_timed=num_timed)
    per_view = image_size[0] * image_size[1] / PATCH_SIZE**2 + 1
    return num_global * seconds * (per_view / num_tokens) ** 2


def shortest_seconds(
    run: Callable[[], object], device: torch.device, *, num_timed: int = _NUM_TIMED,
    is_warm: bool = False,
) -> float:
    """
    Return the shortest of a few times, after one to warm up.

    :param run: what is timed.
    :param device: where it runs.
    :param num_timed: how often it is timed.
    :param is_warm: whether the like has run before.
    """
    if not is_warm:
        run()
    times = []
    for _ in range(num_timed):
        _wait_for(device)
        start = time.perf_counter()
        run()
        _wait_for(device)
        times.append(time.perf_counter() - start)
    return min(times)


def _wait_for(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
