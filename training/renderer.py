# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Rendering of many views at once with ``render.cu``: on a GPU, or slowly on the CPU for tests.

Shapes: S windows, N views of a window, H W pixels.
"""

import ctypes
from dataclasses import dataclass
from pathlib import Path
import subprocess
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from training.mesh_bank import MeshBank
from training.photos import decode, PhotoBank
from training.windows import view_rows, WindowArrays

SOURCE = Path(__file__).with_name('render.cu')
_TILE = 16
_MAX_CANDIDATES = 512


@dataclass(frozen=True, eq=False)
class Rendering:
    """
    What perfect cameras measure.

    :param radiance: (S, N, 3, H, W) linear RGB.
    :param depth: (S, N, H, W) [m], z along the optical axis; +inf in the sky.
    """

    radiance: Tensor
    depth: Tensor


class Renderer(Protocol):
    """Renders windows to tensors of its device."""

    def __call__(
        self, windows: WindowArrays, size: tuple[int, int], *, samples: int
    ) -> Rendering:
        """
        Render.

        :param windows: S windows of N views.
        :param size: height and width [px].
        :param samples: rays along each side of a pixel; 1 gives the numpy renderer's image.
        """


class CudaRenderer:
    """
    The kernel on a GPU, compiled at run time.

    :param device: where.
    :param photos: that materials name.
    :param meshes: that primitives name.
    """

    def __init__(
        self, device: torch.device, photos: PhotoBank | None = None,
        meshes: MeshBank | None = None,
    ) -> None:
        import cupy

        self._device = device
        with cupy.cuda.Device(device.index or 0):
            self._kernel = cupy.RawKernel(SOURCE.read_text(), 'render', options=('--std=c++17',))
        self._banks = _Banks.on(device, photos, meshes)

    def __call__(
        self, windows: WindowArrays, size: tuple[int, int], *, samples: int
    ) -> Rendering:
        """Render; see ``Renderer``."""
        import cupy

        inputs = [upload(x, self._device) for x in _inputs(windows, size)]
        rendering = _empty(windows, size, self._device)
        grid = (-(-size[1] // _TILE), -(-size[0] // _TILE), rendering.depth[:, :, 0, 0].numel())
        pointers = [np.uint64(x.data_ptr())
                    for x in (*inputs, *self._banks.arrays, rendering.radiance, rendering.depth)]
        scalars = (*_scalars(windows, size, samples), np.int32(self._banks.num_photos))
        stream = cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream)
        with cupy.cuda.Device(self._device.index or 0), stream:
            self._kernel(grid, (_TILE * _TILE,), (*pointers, *scalars))
        return rendering


class HostRenderer:
    """
    The same source built by the machine's C++ compiler.

    :param folder: where the library is written.
    :param photos: that materials name.
    :param meshes: that primitives name.
    """

    def __init__(
        self, folder: Path, photos: PhotoBank | None = None, meshes: MeshBank | None = None
    ) -> None:
        library = folder / 'render.so'
        subprocess.run(
            ['g++', '-O2', '-DHOST', '-x', 'c++', '-shared', '-fPIC', SOURCE, '-o', library],
            check=True,
        )
        self._library = ctypes.CDLL(str(library))
        self._banks = _Banks.on(torch.device('cpu'), photos, meshes)

    def __call__(
        self, windows: WindowArrays, size: tuple[int, int], *, samples: int
    ) -> Rendering:
        """Render; see ``Renderer``."""
        inputs = _inputs(windows, size)
        rendering = _empty(windows, size, torch.device('cpu'))
        pointers = [ctypes.c_void_p(x.data_ptr())
                    for x in (*inputs, *self._banks.arrays, rendering.radiance, rendering.depth)]
        scalars = [ctypes.c_int(int(x)) for x in _scalars(windows, size, samples)]
        self._library.render(
            *pointers, *scalars, ctypes.c_int(self._banks.num_photos),
            rendering.depth[:, :, 0, 0].numel())
        return rendering


@dataclass(frozen=True, eq=False)
class _Banks:
    """Photos and meshes on a device, in the kernel's order."""

    arrays: tuple[Tensor, ...]
    num_photos: int

    @classmethod
    def on(
        cls, device: torch.device, photos: PhotoBank | None, meshes: MeshBank | None
    ) -> '_Banks':
        photos = PhotoBank.empty() if photos is None else photos
        meshes = MeshBank.empty() if meshes is None else meshes
        shapes = (torch.from_numpy(x).to(device) for x in (
            meshes.nodes, meshes.triangles, meshes.roots))
        return cls((decode(photos, device), *shapes), photos.photos.count)


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """
    Copy to a device without waiting for what it is doing.

    :param tensor: on the CPU.
    :param device: any.
    """
    if device.type == 'cpu':
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


def _inputs(windows: WindowArrays, size: tuple[int, int]) -> list[Tensor]:
    num_windows, num_views = windows.world_T_camera.shape[:2]
    if windows.primitives.shape[1] > _MAX_CANDIDATES:
        raise ValueError(
            f'windows: got {windows.primitives.shape[1]} primitives, expected at most '
            f'{_MAX_CANDIDATES}'
        )
    scene_of_view = np.repeat(np.arange(num_windows, dtype=np.int32), num_views)
    arrays = (
        windows.primitives, windows.materials, windows.lights, windows.environments,
        view_rows(windows, size[1]), scene_of_view,
    )
    return [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]


def _scalars(windows: WindowArrays, size: tuple[int, int], samples: int) -> list[np.int32]:
    rows, lamps = windows.primitives.shape[1], windows.lights.shape[1]
    return [np.int32(x) for x in (rows, lamps, size[1], size[0], samples)]


def _empty(windows: WindowArrays, size: tuple[int, int], device: torch.device) -> Rendering:
    shape = windows.world_T_camera.shape[:2]
    return Rendering(
        torch.empty(*shape, 3, *size, device=device), torch.empty(*shape, *size, device=device)
    )
