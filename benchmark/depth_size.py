# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Depth at the size of the image: how long it takes, and how much of the picture it gets wrong."""

import argparse
from collections.abc import Sequence
import sys
import time

import cv2
from da3_ros.demo.film import Film
from da3_ros.inference.preprocessing import plan_processing, Preprocessor, view_T_image
from da3_ros.mapping.upsampling import upsample_depth
from da3_ros.simulation.lens import Lens
from da3_ros.simulation.sensor import capture, Sensor
import numpy as np

_SIZES = ((640, 480), (1280, 720), (1920, 1080))
_FOV_DEG = 75.0
# A pixel is wrong whose depth differs by more than this share.
_WRONG = 0.1


def shots(width: int, height: int, count: int) -> list:
    """Render images of a furnished room with their true depth."""
    film = Film(num_frames=10 * count, lens=Lens(width, height, _FOV_DEG))
    return [capture(film.scene(), film.lens, film.trajectory(), 10 * index,
                    sensor=Sensor(num_samples=1), seed=0) for index in range(count)]


def compare(width: int, height: int, count: int) -> tuple[float, list[float]]:
    """Return the time for one image [ms], and the shares of wrong pixels in per cent."""
    plan = plan_processing(height, width)
    durations_ms, wrong = [], []
    for shot in shots(width, height, count):
        view = Preprocessor().process([shot.image]).images[0]
        # The true depth in the middle of each of the network's pixels.
        depth = cv2.resize(shot.depth, plan.size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        started = time.thread_time()
        fine = upsample_depth(depth, view, shot.image, view_T_image((height, width), plan))
        durations_ms.append(1000.0 * (time.thread_time() - started))
        size = (width, height)
        wrong.append([
            100.0 * (np.abs(found - shot.depth) > _WRONG * shot.depth).mean() for found in (
                cv2.resize(depth, size, interpolation=cv2.INTER_LINEAR),
                cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST_EXACT), fine)])
    return float(np.median(durations_ms)), list(np.mean(wrong, axis=0))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=4)
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    sys.stdout.write(
        '| image | ms | wrong %: linear | nearest | along the edges |\n|---|---|---|---|---|\n')
    for width, height in _SIZES:
        duration_ms, wrong = compare(width, height, options.images)
        shares = ' | '.join(f'{share:.2f}' for share in wrong)
        sys.stdout.write(f'| {width}x{height} | {duration_ms:.0f} | {shares} |\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
