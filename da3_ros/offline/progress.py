# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""How far a run is: lines for a person, or JSON lines for a program."""

from collections.abc import Callable
import json
import logging
import sys
import time
from typing import Any, TextIO

from da3_ros.offline.counts import Counts
import torch

_PERIOD_S = 2.0
_MIB = 2**20


class Progress:
    """Tell now and then how far a run is."""

    def __init__(
        self, *, as_json: bool = False, is_quiet: bool = False,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Begin.

        :param as_json: write a JSON object per line.
        :param is_quiet: write nothing.
        :param now_s: tells real time.
        """
        self._counts, self._num_images = Counts(), 0
        self._as_json = as_json
        self._is_quiet = is_quiet
        self._now_s = now_s
        self._began_s = self._told_s = now_s()

    def __call__(self, counts: Counts, num_images: int) -> None:
        """
        Tell, if it is time for that.

        :param counts: so far.
        :param num_images: of the recording; 0 where nobody knows.
        """
        self._counts, self._num_images = counts, num_images
        if self._now_s() - self._told_s >= _PERIOD_S:
            self._told_s = self._now_s()
            self._write('progress', counts)

    def end(self, output: str) -> None:
        """
        Tell the last time.

        :param output: where everything is.
        """
        self._write('done', self._counts, output=output)

    def _write(self, event: str, counts: Counts, **more: Any) -> None:
        if self._is_quiet:
            return
        numbers = self.numbers(counts) | more
        if self._as_json:
            print_json(event=event, **numbers)
            return
        left = '' if numbers['eta_s'] is None else f', {numbers["eta_s"]:.0f} s to go'
        gpu = f', {numbers["gpu_mib"]} MiB of the GPU' if numbers['gpu_mib'] else ''
        _print(sys.stderr, (
            f'{counts.num_frames} of {self._num_images or "?"} images, {counts.num_keyframes} '
            f'keyframes, {counts.num_windows} windows, {numbers["times_real_time"]:.2f} x real '
            f'time{left if event == "progress" else ""}{gpu}'
            + ''.join(f'\n{key}: {value}' for key, value in more.items())))

    def numbers(self, counts: Counts) -> dict[str, Any]:
        """
        Return the numbers by name.

        :param counts: so far.
        """
        elapsed_s = max(self._now_s() - self._began_s, 1e-6)
        eta_s = None
        if self._num_images and counts.num_frames:
            left = max(0, self._num_images - counts.num_frames)
            eta_s = round(elapsed_s * left / counts.num_frames, 1)
        has_gpu = torch.cuda.is_available()
        return {
            'images': counts.num_frames, 'of_images': self._num_images,
            'keyframes': counts.num_keyframes, 'windows': counts.num_windows,
            'elapsed_s': round(elapsed_s, 3),
            'times_real_time': round(counts.duration_s / elapsed_s, 3),
            'keyframes_per_s': round(counts.num_keyframes / elapsed_s, 3),
            'eta_s': eta_s,
            'gpu_mib': round(torch.cuda.max_memory_allocated() / _MIB) if has_gpu else 0,
        }


def print_json(*, stream: TextIO | None = None, **values: Any) -> None:
    """
    Write a JSON object on one line.

    :param stream: that is written to; None: standard output.
    :param values: of the object.
    """
    _print(stream or sys.stdout, json.dumps(values))


def _print(stream: TextIO, text: str) -> None:
    stream.write(text + '\n')
    stream.flush()


class JsonLines(logging.Handler):
    """
    Log records as JSON lines.

    :param stream: that is written to; None: standard output.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """
        Write a record.

        :param record: of any logger.
        """
        print_json(stream=self._stream, event='log', level=record.levelname.lower(),
                   text=record.getMessage())
