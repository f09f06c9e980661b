# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Camera images become network input, as upstream's four ``process_res_method``s do it.

Shapes: N views, H W pixels. Intrinsics are corner-origin (the network's convention), so that a
resize is a plain scaling and a crop a plain shift.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import get_args, Literal

import cv2
from da3_ros.model.config import PATCH_SIZE
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

ProcessMethod = Literal[
    'upper_bound_resize', 'upper_bound_crop', 'lower_bound_resize', 'lower_bound_crop'
]

# More keyframes than ever wait for their window.
_MOST_PREPARED = 64

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ProcessPlan:
    """
    How images of one size reach the network.

    :param resized: heights and widths of the successive resizes [px].
    :param size: final height and width [px], multiples of the patch size.
    """

    resized: tuple[tuple[int, int], ...]
    size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class ProcessedImages:
    """
    Views as the network will see them.

    :param images: (N, H, W, 3) uint8 RGB, H and W multiples of the patch size.
    :param intrinsics: (N, 3, 3) float64 [px] of ``images``, corner-origin, or None.
    :param keys: the same for the same image, while it is kept; None for one that is not.
    """

    images: NDArray[np.uint8]
    intrinsics: NDArray[np.float64] | None
    keys: tuple[Hashable, ...]


def plan_processing(
    height: int, width: int, *, size: int = 504, method: str = 'upper_bound_resize'
) -> ProcessPlan:
    """
    Decide the sizes that an image passes through.

    :param height: of the camera's image [px].
    :param width: of the camera's image [px].
    :param size: target length [px] of the longest side (upper bound) or shortest (lower bound).
    :param method: one of ``ProcessMethod``; ``*_resize`` rounds the sides to the nearest multiple
        of the patch size, ``*_crop`` cuts them down to one.
    :raises ValueError: if the method is unknown, there is no image, or the result would be
        thinner than a patch.
    """
    if min(height, width) < 1:
        raise ValueError(f'images: got {width}x{height}, expected at least 1x1')
    if method not in get_args(ProcessMethod):
        expected = ', '.join(get_args(ProcessMethod))
        raise ValueError(f'method: got {method!r}, expected one of {expected}')
    bound = max(height, width) if method.startswith('upper') else min(height, width)
    scale = size / bound
    bounded = (max(1, round(height * scale)), max(1, round(width * scale)))
    if method.endswith('crop'):
        rows, columns = (side // PATCH_SIZE for side in bounded)
    else:
        # The nearest multiple; a side in the middle between two goes up.
        rows, columns = ((2 * side + PATCH_SIZE) // (2 * PATCH_SIZE) for side in bounded)
    if min(rows, columns) < 1:
        raise ValueError(
            f'size: got {size} for images of {width}x{height}, which leaves {bounded[1]}x'
            f'{bounded[0]} pixels, expected at least {PATCH_SIZE} on every side'
        )
    final = (rows * PATCH_SIZE, columns * PATCH_SIZE)
    return ProcessPlan((bounded,) if method.endswith('crop') else (bounded, final), final)


def view_T_image(image_size: tuple[int, int], plan: ProcessPlan) -> NDArray[np.float64]:
    """
    Map pixels of an image to those of its view, both counted from the corner.

    :param image_size: height and width of the camera's image [px].
    :param plan: of images of that size.
    :returns: (3, 3).
    """
    return _process_camera(np.eye(3), image_size, plan, plan.size)


@dataclass(frozen=True, eq=False)
class _Kept:
    """
    An image and what it became.

    :param image: kept, or its id might come again.
    :param processed: (H, W, 3) uint8 RGB.
    :param key: tells it from all others.
    """

    image: NDArray[np.uint8]
    processed: NDArray[np.uint8]
    key: Hashable


class Preprocessor:
    """
    Resizes and crops the images of windows.

    Windows overlap: most images of one come again in the next. What they become is kept while
    they do, and an image is known by being the same object.

    :param size: as in ``plan_processing``.
    :param method: as in ``plan_processing``.
    """

    def __init__(self, size: int = 504, method: str = 'upper_bound_resize') -> None:
        self._size = size
        self._method = method
        self._last: dict[int, _Kept] = {}
        # Of images that no window has seen yet.
        self._prepared: dict[int, _Kept] = {}

    def prepare(self, image: NDArray[np.uint8]) -> None:
        """
        Process an image before its window.

        :param image: (H, W, 3) uint8 RGB, which must not change afterwards.
        :raises ValueError: if it has the wrong shape or type.
        """
        _check([image], None)
        self._prepared[id(image)] = self._keep(image)
        while len(self._prepared) > _MOST_PREPARED:
            self._prepared.pop(next(iter(self._prepared)))

    def process(
        self, images: Sequence[NDArray[np.uint8]], intrinsics: NDArray[np.float64] | None = None,
        *, keep: bool = True,
    ) -> ProcessedImages:
        """
        Process the images of a window; different sizes are cropped to the smallest.

        :param images: N RGB images (H, W, 3) uint8, which must not change afterwards.
        :param intrinsics: (N, 3, 3) [px] of ``images``, corner-origin, NaN where unknown, or None.
        :param keep: whether they come again; if not, what is kept stays as it is, and the images
            that are not kept already have None for a key.
        :raises ValueError: if an argument has the wrong shape or type.
        """
        _check(images, intrinsics)
        plans = [self._plan(image) for image in images]
        known = {*self._last, *self._prepared}
        kept_of = {id(image): self._keep(image) for image in images}
        if keep:
            self._last, known = kept_of, set(kept_of)
            for image in images:
                self._prepared.pop(id(image), None)
        height, width = (min(plan.size[axis] for plan in plans) for axis in (0, 1))
        kept = [kept_of[id(image)] for image in images]
        processed = [_crop_center(image.processed, height, width) for image in kept]
        cameras = None
        if intrinsics is not None:
            cameras = np.stack([
                _process_camera(camera, image.shape[:2], plan, (height, width))
                for camera, image, plan in zip(intrinsics, images, plans, strict=True)
            ])
        keys = tuple(
            (each.key, height, width) if id(each.image) in known else None for each in kept)
        return ProcessedImages(np.stack(processed), cameras, keys)

    def _keep(self, image: NDArray[np.uint8]) -> '_Kept':
        """Return what an image became, or process it."""
        kept = self._last.get(id(image)) or self._prepared.get(id(image))
        if kept is not None:
            return kept
        return _Kept(image, _process_image(image, self._plan(image)), object())

    def _plan(self, image: NDArray[np.uint8]) -> ProcessPlan:
        return plan_processing(*image.shape[:2], size=self._size, method=self._method)


def preprocess(
    images: Sequence[NDArray[np.uint8]],
    *,
    intrinsics: NDArray[np.float64] | None = None,
    size: int = 504,
    method: str = 'upper_bound_resize',
) -> ProcessedImages:
    """
    Resize and crop the images of one window, see ``Preprocessor``.

    :param images: N RGB images (H, W, 3) uint8.
    :param intrinsics: (N, 3, 3) [px] of ``images``, corner-origin, NaN where unknown, or None.
    :param size: as in ``plan_processing``.
    :param method: as in ``plan_processing``.
    :raises ValueError: if an argument has the wrong shape or type.
    """
    return Preprocessor(size, method).process(images, intrinsics)


def normalize(images: Tensor) -> Tensor:
    """
    Turn pixels into the network's input.

    :param images: (..., H, W, 3) uint8 RGB, on any device.
    :returns: (..., 3, H, W) fp32 with ImageNet's mean and deviation.
    """
    mean, std = statistics_on(images.device)
    pixels = images.to(torch.float32, copy=True)
    return pixels.div_(255.0).sub_(mean).div_(std).movedim(-1, -3)


@cache
def statistics_on(device: torch.device) -> tuple[Tensor, Tensor]:
    """
    Return ImageNet's mean and deviation (3,) on a device, where they stay.

    A copy from the host in every window would wait.
    """
    with torch.inference_mode(False):
        return torch.tensor(_MEAN, device=device), torch.tensor(_STD, device=device)


def _resize(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize as upstream: cubic if any side grows, by area otherwise."""
    if image.shape[:2] == (height, width):
        return image
    grows = height > image.shape[0] or width > image.shape[1]
    interpolation = cv2.INTER_CUBIC if grows else cv2.INTER_AREA
    resized = cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=interpolation)
    return np.asarray(resized, dtype=np.uint8)


def _process_image(image: NDArray[np.uint8], plan: ProcessPlan) -> NDArray[np.uint8]:
    for height, width in plan.resized:
        image = _resize(image, height, width)
    return _crop_center(image, *plan.size)


def _process_camera(
    intrinsics: NDArray[np.float64], image_size: tuple[int, int], plan: ProcessPlan,
    size: tuple[int, int],
) -> NDArray[np.float64]:
    """Return the intrinsics of an image that was processed and then cropped to a size."""
    camera = np.array(intrinsics, dtype=np.float64)
    current = image_size
    for height, width in plan.resized:
        camera[0] *= width / current[1]
        camera[1] *= height / current[0]
        current = (height, width)
    for target in (plan.size, size):
        top, left = _margins(current, target)
        camera = np.array([[1.0, 0.0, -left], [0.0, 1.0, -top], [0.0, 0.0, 1.0]]) @ camera
        current = target
    return camera


def _crop_center(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Cut an image to a size about its middle."""
    top, left = _margins(image.shape[:2], (height, width))
    bottom, right = top + height, left + width
    return image[top:bottom, left:right]


def _margins(size: tuple[int, ...], target: tuple[int, int]) -> tuple[int, int]:
    return (size[0] - target[0]) // 2, (size[1] - target[1]) // 2


def _check(
    images: Sequence[NDArray[np.uint8]], intrinsics: NDArray[np.float64] | None
) -> None:
    if len(images) == 0:
        raise ValueError('images: got none, expected at least one')
    for image in images:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ValueError(
                f'images: got {image.dtype} of shape {image.shape}, expected uint8 (H, W, 3)'
            )
    if intrinsics is None:
        return
    if np.shape(intrinsics) != (len(images), 3, 3):
        raise ValueError(
            f'intrinsics: got shape {np.shape(intrinsics)}, expected ({len(images)}, 3, 3)'
        )
    known = intrinsics[~np.isnan(intrinsics).all(axis=(1, 2))]
    if not (np.isfinite(known).all() and (known[:, [0, 1], [0, 1]] > 0.0).all()):
        raise ValueError('intrinsics: got non-finite or non-positive focal lengths')
