# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""An engine that can be asked how long it has been at its window."""

from collections.abc import Sequence
import time

from da3_ros.inference.prediction import WindowPrediction
from da3_ros.mapping.keyframe import WindowEngine
import numpy as np
from numpy.typing import NDArray


class WatchedEngine:
    """Infer with another engine; a window that does not end is noticed from other threads."""

    def __init__(self, engine: WindowEngine) -> None:
        """
        Wait for windows.

        :param engine: that infers.
        """
        self._engine = engine
        self._began_s: float | None = None

    @property
    def busy_s(self) -> float:
        """Return how long the window under way has taken so far; 0 between windows."""
        began_s = self._began_s
        return 0.0 if began_s is None else time.monotonic() - began_s

    def infer(
        self, images: Sequence[NDArray[np.uint8]], *, poses: NDArray[np.float64] | None = None,
        intrinsics: NDArray[np.float64] | None = None,
    ) -> WindowPrediction:
        """
        Infer all images together.

        :param images: as the engine takes them, and the others too.
        :param poses: to condition on, or None.
        :param intrinsics: of the images, or None.
        """
        self._began_s = time.monotonic()
        try:
            return self._engine.infer(images, poses=poses, intrinsics=intrinsics)
        finally:
            self._began_s = None
