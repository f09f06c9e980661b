# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Recordings into files: how quick, what waits for what, and whether the memory stays flat.

The speed is that of ``da3 process`` on the demo's film with da3-tiny. *Reading alone* is decoding,
rectifying and selecting without an engine, *inference* what the engine took: the less *both
together* exceeds the larger one of the two, the more they overlap. The memory is that of
``offline.run`` over images that are made as they are asked for, with an engine that answers at
once.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
import resource
import shutil
import sys
import tempfile
import time

from da3_ros.demo.film import Film
from da3_ros.demo.film_bag import film_bag
from da3_ros.inference.prediction import WindowPrediction
from da3_ros.mapping.frame_stream import FrameStream
from da3_ros.mapping.keyframe import WindowEngine
from da3_ros.offline.counts import Counts
from da3_ros.offline.input.frames import FrameMaker
from da3_ros.offline.input.recordings import open_recording, Recording
from da3_ros.offline.input.source import Losses, Shot
from da3_ros.offline.input.transforms import TransformTree
from da3_ros.offline.job import Job, process_recording
from da3_ros.offline.run import run
from da3_ros.offline.sessions import Output
from da3_ros.offline.settings_file import read_settings
from da3_ros.ros.engine_loading import load_engine
import numpy as np
from numpy.typing import NDArray
import torch

_PERIOD_NS = 100_000_000
_SIZE = (48, 64)
_MIB = 2**20
_NUM_TOLD = 10


class EndlessSource:
    """Images without end, or nearly; each is made when it is asked for."""

    description = 'made images'

    def __init__(self, num_images: int, size: tuple[int, int]) -> None:
        """
        Make none yet.

        :param num_images: how many there are.
        :param size: their height and width [px].
        """
        self.losses = Losses()
        self.num_images = num_images
        self._size = size

    def transforms(self) -> TransformTree:
        """Return none."""
        return TransformTree()

    def shots(self) -> Iterator[Shot]:
        """Make the images."""
        random = np.random.default_rng(0)
        height, width = self._size
        wall = random.integers(0, 255, (height, 4 * width, 3), np.uint8)
        for index in range(self.num_images):
            image = np.roll(wall, -index, axis=1)[:, :width].copy()
            yield Shot(index * _PERIOD_NS, index * _PERIOD_NS, image, None, 'camera')


class QuickEngine:
    """Sees a wall and a camera that moves along it."""

    def infer(
        self, images: list[NDArray[np.uint8]], *, poses: NDArray[np.float64] | None = None,
        intrinsics: NDArray[np.float64] | None = None,
    ) -> WindowPrediction:
        """Answer at once."""
        del poses, intrinsics
        count, (height, width) = len(images), images[0].shape[:2]
        places = np.tile(np.eye(4), (count, 1, 1))
        places[:, 0, 3] = np.arange(count) * 0.01
        k = np.array([[50.0, 0, width / 2], [0, 50.0, height / 2], [0, 0, 1]])
        depth = np.full((count, height, width), 2.0, np.float32)
        return WindowPrediction(
            np.stack(images), depth, depth, None, np.tile(k, (count, 1, 1)), places)


class TimedEngine:
    """An engine with a clock."""

    def __init__(self, engine: WindowEngine) -> None:
        """
        Have spent nothing.

        :param engine: that is timed.
        """
        self._engine = engine
        self.seconds = 0.0

    def infer(
        self, images: list[NDArray[np.uint8]], *, poses: NDArray[np.float64] | None = None,
        intrinsics: NDArray[np.float64] | None = None,
    ) -> WindowPrediction:
        """Infer a window."""
        began_s = time.perf_counter()
        answer = self._engine.infer(images, poses=poses, intrinsics=intrinsics)
        self.seconds += time.perf_counter() - began_s
        return answer


def resident_mib() -> float:
    """Return the memory of this process."""
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * resource.getpagesize() / _MIB


def memory_of_many(
    num_images: int, *, interval_s: float = 0.0, size: tuple[int, int] = _SIZE
) -> list[tuple[int, float]]:
    """
    Return the process's memory [MiB] after so many images, ten times.

    :param num_images: in all, at 10 Hz.
    :param interval_s: between keyframes.
    :param size: height and width of the images [px].
    """
    settings = read_settings(None, [
        'window.size:=6', 'window.stride:=3', 'keyframe.mode:=time',
        f'keyframe.min_interval_s:={interval_s:.3f}'])
    every = max(num_images // _NUM_TOLD, 1)
    measured: list[tuple[int, float]] = []

    def tell(counts: Counts) -> None:
        if counts.num_frames // every > len(measured):
            measured.append((counts.num_frames, resident_mib()))

    with tempfile.TemporaryDirectory() as folder:
        run(EndlessSource(num_images, size), QuickEngine(), settings, num_views=6,
            output=Output(Path(folder), frozenset({'tum'})), tell=tell)
    return measured


def speed(folder: Path, num_frames: int) -> dict[str, float]:
    """
    Process the demo's film.

    :param folder: where the film is kept.
    :param num_frames: its length.
    """
    film = film_bag(Film(num_frames=num_frames), folder, say=[].append)
    settings = read_settings(None, [
        'model.name:=da3-tiny', 'model.device:=cpu', 'preprocess.size:=224',
        'keyframe.min_interval_s:=0.35', 'window.size:=8', 'window.stride:=3'])
    out = folder / f'processed-{time.time_ns()}'
    loaded = load_engine(settings)
    engine = TimedEngine(loaded.engine)
    began_s = time.perf_counter()
    with open_recording(Recording(film), settings.camera) as source:
        stream = FrameStream(settings.pipeline(8))
        for frame in FrameMaker(settings, source.losses).frames(source):
            stream.take(frame)
    reading_s = time.perf_counter() - began_s
    told: list[tuple[float, Counts]] = []
    began_s = time.perf_counter()
    process_recording(
        Job(Recording(film), settings, out), load=lambda _, **__: replace(loaded, engine=engine),
        tell=lambda counts, _: told.append((time.perf_counter(), counts)))
    ended_s = time.perf_counter()
    shutil.rmtree(out)
    run_s, counts = told[-1][0] - began_s, told[-1][1]
    return {
        'keyframes': counts.num_keyframes, 'keyframes/s': counts.num_keyframes / run_s,
        'times real time': counts.duration_s / run_s, 'reading alone s': reading_s,
        'inference s': engine.seconds, 'both together s': run_s,
        'with the outputs s': ended_s - began_s}


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--images', type=int, default=100_000, help='0: no memory')
    parser.add_argument('--interval', type=float, default=0.95, help='between keyframes [s]')
    parser.add_argument('--frames', type=int, default=100, help='of the film; 0: no speed')
    parser.add_argument('--folder', type=Path, default=Path('out/offline'))
    options = parser.parse_args()
    if options.frames:
        numbers = speed(options.folder, options.frames)
        sys.stdout.write(f'{torch.get_num_threads()} threads\n')
        sys.stdout.write('| ' + ' | '.join(numbers) + ' |\n|' + '---|' * len(numbers) + '\n')
        sys.stdout.write('| ' + ' | '.join(f'{value:.3g}' for value in numbers.values()) + ' |\n')
    if options.images:
        sys.stdout.write('\n| images | MiB |\n|---|---|\n')
        for count, mib in memory_of_many(options.images, interval_s=options.interval):
            sys.stdout.write(f'| {count} | {mib:.0f} |\n')


if __name__ == '__main__':
    main()
