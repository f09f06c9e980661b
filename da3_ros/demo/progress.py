# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""Tells a person how far the demo is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import sys
import time

Say = Callable[[str], None]


class Progress:
    """Writes lines to stderr and measures the steps."""

    def __init__(self) -> None:
        """Start the clock."""
        self.durations_s: dict[str, float] = {}
        self._start_s = time.monotonic()
        self._step = ''

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """
        Measure a step.

        :param name: for people and for ``durations_s``.
        """
        self._step = name
        began_s = time.monotonic()
        yield
        self.durations_s[name] = time.monotonic() - began_s

    def say(self, text: str) -> None:
        """
        Write a line.

        :param text: for people.
        """
        elapsed_s = time.monotonic() - self._start_s
        print(f'[{elapsed_s:5.1f} s] {self._step}: {text}', file=sys.stderr, flush=True)
