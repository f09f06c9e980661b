# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Memory and time per keyframe over a very long drive: both must stay where they are.

The engine is a corridor that never ends: a plane in front of a camera that drives sideways.
"""

import argparse
from collections.abc import Iterator, Sequence
import resource
import sys
import time

from da3_ros.geometry import camera, rigid
from da3_ros.inference.prediction import WindowPrediction
from da3_ros.mapping.config import KeyframeConfig, LoopConfig, PipelineConfig
from da3_ros.mapping.frame_stream import FrameStream
from da3_ros.mapping.keyframe import Frame
from da3_ros.mapping.pipeline import DepthPipeline
import numpy as np
from numpy.typing import NDArray

_HEIGHT, _WIDTH = 24, 32
_INTRINSICS = np.array([[30.0, 0.0, 15.5], [0.0, 30.0, 11.5], [0.0, 0.0, 1.0]])
_STEP_M = 0.1
# As many numbers as da3-small has for a view.
_APPEARANCE = 768
_MIB = 1024.0


class Corridor:
    """See a plane two metres away, in a unit of its own per window."""

    def __init__(self) -> None:
        """Begin at the first frame."""
        self._random = np.random.default_rng(0)

    def infer(
        self,
        images: Sequence[NDArray[np.uint8]],
        *,
        poses: NDArray[np.float64] | None = None,
        intrinsics: NDArray[np.float64] | None = None,
    ) -> WindowPrediction:
        """Infer one window; poses to condition on are ignored."""
        del poses, intrinsics
        count = len(images)
        scale = float(np.exp(self._random.uniform(-0.7, 0.7)))
        shape = (count, _HEIGHT, _WIDTH)
        noise = 1.0 + 0.01 * self._random.standard_normal(shape)
        # Only the steps within a window matter, and they are all alike.
        offsets = np.zeros((count, 3))
        offsets[:, 0] = scale * _STEP_M * np.arange(count)
        poses_in_window = np.stack([
            rigid.from_rotation_translation(np.eye(3), offset) for offset in offsets
        ])
        return WindowPrediction(
            images=np.stack(images),
            depth=(2.0 * scale * noise).astype(np.float32),
            confidence=np.full(shape, 2.0, np.float32),
            sky=None,
            intrinsics=camera.to_network(np.stack([_INTRINSICS] * count)),
            poses=poses_in_window,
            appearance=np.float32([image.ravel()[:_APPEARANCE] for image in images]),
        )


def frames(count: int) -> Iterator[Frame]:
    """Make frames that all look different."""
    random = np.random.default_rng(1)
    for i in range(count):
        image = random.integers(0, 256, (_HEIGHT, _WIDTH, 3), dtype=np.uint8)
        yield Frame((i + 1) * 100_000_000, image, _INTRINSICS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Drive, and print a line for every tenth of the way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--keyframes', type=int, default=100_000)
    parser.add_argument('--loops', action='store_true', help='remember places')
    options = parser.parse_args(arguments)
    config = PipelineConfig(
        keyframe=KeyframeConfig(mode='time', min_interval_s=0.0),
        loop=LoopConfig(enabled=options.loops),
    )
    pipeline, stream = DepthPipeline(Corridor(), config), FrameStream(config)
    num_posed, started = 0, time.process_time()
    sys.stdout.write('| keyframes | peak memory MiB | CPU ms per keyframe |\n|---|---|---|\n')
    for number, frame in enumerate(frames(options.keyframes), start=1):
        (instant,) = stream.take(frame).instants
        num_posed += len(pipeline.add(instant).keyframes)
        pipeline.close_loops()
        if number % (options.keyframes // 10) == 0:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MIB
            each = (time.process_time() - started) / (options.keyframes // 10)
            sys.stdout.write(f'| {number} | {peak:.1f} | {1000.0 * each:.2f} |\n')
            sys.stdout.flush()
            started = time.process_time()
    num_posed += len(pipeline.flush().keyframes)
    sys.stdout.write(f'{num_posed} of {options.keyframes} keyframes came out\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
