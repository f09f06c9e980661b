# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The real node over an engine that only costs time: of nobody, of a core, or of Python."""

import argparse
from collections.abc import Callable, Sequence
import sys
import time

from da3_ros.geometry import rigid
from da3_ros.geometry.arrays import Array
from da3_ros.inference.prediction import WindowPrediction
from da3_ros.inference.preprocessing import preprocess
from da3_ros.node import Da3Node
from da3_ros.ros.engine_loading import LoadedEngine, ModelIdentity
from da3_ros.ros.parameters.settings import NodeSettings
from da3_ros.ros.process import run
import numpy as np
from numpy.typing import NDArray
from rclpy.utilities import remove_ros_args

_MATRIX_SIZE = 1024
_FOCAL_SHARE = 0.6
_STEP_M = 0.1


def _occupy_a_core(seconds: float) -> None:
    """Multiply matrices, as torch does on a CPU: without Python's lock."""
    matrix = np.ones((_MATRIX_SIZE, _MATRIX_SIZE), np.float32)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        matrix @ matrix


def _occupy_python(seconds: float) -> None:
    """Run plain Python, which holds its lock as much as any code can."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pass


WAYS: dict[str, Callable[[float], None]] = {
    'sleep': time.sleep, 'core': _occupy_a_core, 'python': _occupy_python}
"""How the time of an inference is spent."""


class LoadEngine:
    """See a wall two metres away, along which the camera drives sideways."""

    def __init__(self, *, size: int, way: str, seconds: float) -> None:
        """
        Wait for windows.

        :param size: process resolution [px].
        :param way: how the time is spent, one of ``WAYS``.
        :param seconds: duration of a window.
        """
        self._size = size
        self._spend = WAYS[way]
        self._seconds = seconds

    def infer(
        self, images: Sequence[NDArray[np.uint8]], *, poses: Array | None = None,
        intrinsics: Array | None = None,
    ) -> WindowPrediction:
        """Infer one window; poses to condition on are ignored."""
        del poses
        window = preprocess(images, intrinsics=intrinsics, size=self._size)
        self._spend(self._seconds)
        count, height, width, _ = window.images.shape
        offsets = np.zeros((count, 3))
        offsets[:, 0] = _STEP_M * np.arange(count)
        known = window.intrinsics
        if known is None:
            focal = _FOCAL_SHARE * width
            known = np.stack([np.array([
                [focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])] * count)
        shape = (count, height, width)
        return WindowPrediction(
            images=window.images,
            depth=np.full(shape, 2.0, np.float32),
            confidence=np.full(shape, 2.0, np.float32),
            sky=None,
            intrinsics=known,
            poses=np.stack([
                rigid.from_rotation_translation(np.eye(3), offset) for offset in offsets]),
        )


def main() -> None:
    """Run the node."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--way', choices=tuple(WAYS), default='sleep')
    parser.add_argument('--seconds', type=float, default=0.5)
    options = parser.parse_args(remove_ros_args(sys.argv)[1:])

    def load(settings: NodeSettings) -> LoadedEngine:
        engine = LoadEngine(
            size=settings.preprocess.size, way=options.way, seconds=options.seconds)
        identity = ModelIdentity(
            'load', 'none', 'Apache-2.0', 'cpu', False, settings.window.size or 12)
        return LoadedEngine(engine, identity)

    run(lambda: Da3Node(engine_loader=load))


if __name__ == '__main__':
    main()
