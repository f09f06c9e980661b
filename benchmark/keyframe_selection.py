# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Time to decide about one frame, by image size, on one core: it must be far below the period."""

import argparse
from collections.abc import Iterator, Sequence
import sys
import time

import cv2
from da3_ros.mapping.config import KeyframeConfig
from da3_ros.mapping.keyframe import Frame
from da3_ros.mapping.keyframe_selector import KeyframeSelector
import numpy as np

_SIZES = ((480, 640), (720, 1280), (1080, 1920))
_PERIOD_NS = 33_333_333
_SPEED = 0.004


def frames(height: int, width: int, count: int) -> Iterator[Frame]:
    """Pan over a textured wall by a share of the image width per frame."""
    random = np.random.default_rng(0)
    margin = int(_SPEED * width * count) + 1
    coarse = random.integers(0, 256, (height // 8, (width + margin) // 8, 3), dtype=np.uint8)
    wall = cv2.resize(coarse, (width + margin, height), interpolation=cv2.INTER_CUBIC)
    for i in range(count):
        left = int(_SPEED * width * i)
        yield Frame((i + 1) * _PERIOD_NS, np.ascontiguousarray(wall[:, left:left + width]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--frames', type=int, default=300)
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    sys.stdout.write('| image | median ms | 95 % ms | keyframes |\n|---|---|---|---|\n')
    for height, width in _SIZES:
        selector = KeyframeSelector(KeyframeConfig())
        durations_ms, kept = [], 0
        for frame in frames(height, width, options.frames):
            started = time.thread_time()
            kept += selector.select(frame)
            durations_ms.append(1000.0 * (time.thread_time() - started))
        middle, high = np.percentile(durations_ms, (50, 95))
        sys.stdout.write(f'| {width}x{height} | {middle:.2f} | {high:.2f} | {kept} |\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
