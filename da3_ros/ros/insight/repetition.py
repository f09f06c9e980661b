# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What happens again and again is told ever more seldom, with how often it happened."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
import re
import time

_BURST = 2
_PAUSE_S = 60.0

# What differs from line to line of a kind: what is quoted, numbers, and how many there are.
_VALUES = re.compile(
    r'([\'"])(?:(?!\1)[^\\]|\\.)*\1|[-+.]?\d[\w.+-]*|\b(?:nan|inf)\b|\W+')


@dataclass
class _Kind:
    """
    One kind of line.

    :param told_s: when the last one was told.
    :param num_told: of them in a row.
    :param pause_s: so long the next one is held back.
    :param num_held: held back since the last one.
    """

    told_s: float
    num_told: int = 0
    pause_s: float = 0.0
    num_held: int = 0


class Repetition:
    """
    Decide which lines of a kind are told.

    The first two are, then one after a minute, two minutes, four and so on. What was quiet for a
    whole pause is news again.
    """

    def __init__(self, *, now_s: Callable[[], float] = time.monotonic) -> None:
        """
        Know nothing yet.

        :param now_s: tells real time.
        """
        self._now_s = now_s
        self._kinds: dict[Hashable, _Kind] = {}

    def num_held(self, kind: Hashable) -> int | None:
        """
        Take note of a line.

        :param kind: that it is of.
        :returns: how many were held back since the last one, or None to hold this one back too.
        """
        now_s = self._now_s()
        known = self._kinds.setdefault(kind, _Kind(now_s))
        waited_s = now_s - known.told_s
        if waited_s < known.pause_s:
            known.num_held += 1
            return None
        num_held = known.num_held
        if known.pause_s > 0.0 and not num_held:
            known.num_told, known.pause_s = 0, 0.0
        known.told_s, known.num_held = now_s, 0
        known.num_told += 1
        if known.num_told >= _BURST:
            known.pause_s = max(2.0 * known.pause_s, _PAUSE_S)
        return num_held

    def line(self, text: str, kind: str | None = None) -> str | None:
        """
        Take note of a line; all that say the same with other values are of one kind.

        :param text: the line.
        :param kind: the part of it that tells the kind; None: all of it.
        :returns: the line with how many were held back, or None to hold it back.
        """
        num_held = self.num_held(_VALUES.sub('', text if kind is None else kind))
        return None if num_held is None else with_count(text, num_held)


def with_count(text: str, num_held: int) -> str:
    """
    Append how many lines like it were held back.

    :param text: of a line that is told.
    :param num_held: from ``Repetition.num_held``.
    """
    return f'{text} (and {num_held} like this since the last such line)' if num_held else text
