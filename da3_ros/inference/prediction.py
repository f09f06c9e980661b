# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What the engine returns for one window."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class WindowPrediction:
    """
    Depth and cameras of N jointly inferred views, at process resolution (H, W).

    Lengths are in window units (an arbitrary scale, one for all views) unless ``is_metric``.
    The window frame is the network's: the axes of an optical frame.

    :param images: (N, H, W, 3) uint8 RGB, the views as the network saw them.
    :param depth: (N, H, W) float32, z along the optical axis; all NaN where a view's is unknown.
    :param confidence: (N, H, W) float32, 1 = none, or None where the variant gives none.
    :param sky: (N, H, W) bool, or None where the variant has no sky head.
    :param intrinsics: (N, 3, 3) float64 [px], corner-origin (see ``geometry.camera``), or None
        where the variant estimates no cameras and none were given.
    :param poses: (N, 4, 4) float64 world_T_camera in the window's own world, or None likewise.
    :param is_metric: whether lengths are metres.
    :param appearance: (N, D) float32 what each view looks like, whatever the others, or None where
        the variant estimates no cameras.
    :param own_poses: (N, 4, 4) float64 where the network itself sees the cameras whose ``poses``
        were given, in the same unit, or None where none were given.
    """

    images: NDArray[np.uint8]
    depth: NDArray[np.float32]
    confidence: NDArray[np.float32] | None
    sky: NDArray[np.bool_] | None
    intrinsics: NDArray[np.float64] | None
    poses: NDArray[np.float64] | None
    is_metric: bool = False
    appearance: NDArray[np.float32] | None = None
    own_poses: NDArray[np.float64] | None = None

    @property
    def num_views(self) -> int:
        """Return the number of views in the window."""
        return int(self.depth.shape[0])

    def of_views(self, views: Sequence[int]) -> 'WindowPrediction':
        """
        Keep some of the views.

        :param views: which, in the order in which they are kept.
        """
        chosen = list(views)
        kept: dict[str, Any] = {
            field.name: values[chosen] for field in fields(self)
            if isinstance(values := getattr(self, field.name), np.ndarray)}
        return replace(self, **kept)
