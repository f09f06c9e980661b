# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What is remembered of a window so that it can be recognised later."""

from collections.abc import Sequence
from dataclasses import dataclass

from da3_ros.geometry.arrays import Array
from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.picture import from_jpeg
from da3_ros.mapping.samples import sample_view, ViewSamples
from da3_ros.mapping.view import View
import numpy as np
from numpy.typing import NDArray

# What a verification compares: fewer pixels than between windows, because they are kept for long.
NUM_SAMPLES = 1024


@dataclass(frozen=True, eq=False)
class PlaceView:
    """
    One remembered keyframe.

    :param stamp_ns: the frame's.
    :param jpeg: the image at the depth's size, compressed.
    :param intrinsics: (3, 3) [px] of it, pixel centres at integers.
    :param samples: its depth and camera, in the frame of the place.
    """

    stamp_ns: int
    jpeg: bytes
    intrinsics: Array
    samples: ViewSamples

    @property
    def image(self) -> NDArray[np.uint8]:
        """Return the image, (h, w, 3) uint8 RGB."""
        return from_jpeg(self.jpeg)


@dataclass(frozen=True, eq=False)
class Place:
    """
    One window, at its newest camera: the frame of the place is that camera, in the window's unit.

    :param window: number of the window.
    :param window_S_place: where the place lies in its window.
    :param views: the keyframes that were new in the window.
    :param appearance: (V, D) float32 what they look like.
    :param length: typical distance of the scene, in the window's unit.
    """

    window: int
    window_S_place: Sim3
    views: tuple[PlaceView, ...]
    appearance: NDArray[np.float32]
    length: float


def remember(window: int, new_views: Sequence[View]) -> Place:
    """
    Keep what is needed of a window.

    :param window: its number.
    :param new_views: its posed views that were not in an earlier window, oldest first, with their
        appearance.
    """
    newest = new_views[-1]
    assert newest.window_T_camera is not None
    window_S_place = Sim3.from_rigid(newest.window_T_camera)
    views = tuple(_remember_view(view, window_S_place.inverse()) for view in new_views)
    depth = np.concatenate([view.samples.depth for view in views])
    appearance = np.stack([view.appearance for view in new_views if view.appearance is not None])
    return Place(window, window_S_place, views, appearance, float(np.nanmedian(depth)))


def similarity(
    appearance: NDArray[np.float32], others: Sequence[NDArray[np.float32]]
) -> Array:
    """
    Return how alike the pictures of places are, each the best of all pairs of views.

    The correlation of what the pictures look like: what they all have in common says nothing.

    :param appearance: (V, D) of one place.
    :param others: of N places, each with views of its own.
    :returns: (N,) at most 1.
    """
    together = np.concatenate(others)
    mean = np.concatenate([together, appearance]).mean(axis=0)
    pairs = _directions(together - mean) @ _directions(appearance - mean).T
    first = np.cumsum([0, *(len(other) for other in others[:-1])])
    best: Array = np.maximum.reduceat(pairs.max(axis=1), first).astype(np.float64)
    return best


def _directions(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    directions: NDArray[np.float32] = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return directions


def _remember_view(view: View, place_S_window: Sim3) -> PlaceView:
    samples = sample_view(view, NUM_SAMPLES).transformed(place_S_window)
    return PlaceView(view.keyframe.frame.stamp_ns, view.picture.jpeg, view.intrinsics, samples)
