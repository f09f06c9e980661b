# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The tree of frames of a recording, asked after the fact, as tf2 would have answered."""

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

from da3_ros.geometry import rigid
from da3_ros.geometry.arrays import Array
from da3_ros.mapping.keyframe import NS_PER_S
import numpy as np

_MIN_NORM, _MAX_NORM = 0.99, 1.01
_NUM_VALUES = 7
# Below, a line is as good.
_MIN_ANGLE = 1e-6


@dataclass(eq=False)
class _Link:
    """
    What is known of one frame.

    :param stamps_ns: when; empty where it is always.
    :param parents: of which frame, for every stamp.
    :param values: x, y, z and the quaternion x, y, z, w, for every stamp.
    """

    is_static: bool
    stamps_ns: list[int] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)
    values: 'array[float]' = field(default_factory=lambda: array('d'))

    def values_at(self, index: int) -> Array:
        return np.array(self.values[_NUM_VALUES * index:_NUM_VALUES * (index + 1)])

    def pose(self, index: int) -> Array:
        return _pose(self.values_at(index))

    def insert(self, stamp_ns: int, parent: str, values: tuple[float, ...]) -> None:
        """Keep them sorted; nearly always it is the newest."""
        index = len(self.stamps_ns)
        if index and stamp_ns <= self.stamps_ns[-1]:
            index = bisect_left(self.stamps_ns, stamp_ns)
            if self.stamps_ns[index] == stamp_ns:
                return
        self.stamps_ns.insert(index, stamp_ns)
        self.parents.insert(index, parent)
        self.values[_NUM_VALUES * index:_NUM_VALUES * index] = array('d', values)


class TransformTree:
    """All transforms of a recording; nothing is forgotten and nothing is guessed."""

    def __init__(self) -> None:
        """Know no frame."""
        self._links: dict[str, _Link] = {}

    def __bool__(self) -> bool:
        """Tell whether any frame is known."""
        return bool(self._links)

    def add(
        self, parent: str, child: str, stamp_ns: int, values: tuple[float, ...], *,
        is_static: bool = False,
    ) -> None:
        """
        Take in a transform; one that tf2 refuses is passed over.

        :param parent: name of the parent frame.
        :param child: name of the child frame.
        :param stamp_ns: [ns].
        :param values: x, y, z [m] and the quaternion x, y, z, w of ``parent_T_child``.
        :param is_static: it holds at all times; the newest one does.
        """
        parent, child = parent.lstrip('/'), child.lstrip('/')
        norm = float(np.linalg.norm(values[3:]))
        is_usable = bool(np.isfinite(values).all()) and _MIN_NORM < norm < _MAX_NORM
        if not (parent and child) or parent == child or not is_usable:
            return
        link = self._links.get(child)
        if link is None or is_static or link.is_static:
            link = self._links[child] = _Link(is_static)
        link.insert(stamp_ns, parent, values)

    def look_up(self, target: str, source: str, stamp_ns: int) -> Array | str:
        """
        Look ``target_T_source`` up at a time, between two transforms if need be.

        :param target: name of a frame.
        :param source: name of a frame.
        :param stamp_ns: [ns].
        :returns: (4, 4), or why there is none.
        """
        reasons: list[str] = []
        above = dict(self._climb(source, stamp_ns, reasons))
        for ancestor, ancestor_T_target in self._climb(target, stamp_ns, reasons):
            if ancestor in above:
                return rigid.inverse(ancestor_T_target) @ above[ancestor]
        return '; '.join(dict.fromkeys(reasons)) or (
            f'{target} and {source} are not in one tree of frames')

    def _climb(
        self, frame: str, stamp_ns: int, reasons: list[str]
    ) -> Iterator[tuple[str, Array]]:
        """Give all frames above one, with its pose in each, from itself on."""
        ancestor_T_frame = np.eye(4)
        seen = {frame}
        name = frame
        yield name, ancestor_T_frame
        while name in self._links:
            found = self._at(name, stamp_ns)
            if isinstance(found, str):
                reasons.append(found)
                return
            name, parent_T_child = found
            if name in seen:
                reasons.append(f'{name} is above itself')
                return
            seen.add(name)
            ancestor_T_frame = parent_T_child @ ancestor_T_frame
            yield name, ancestor_T_frame

    def _at(self, child: str, stamp_ns: int) -> tuple[str, Array] | str:
        """Return the parent of a frame at a time, and its pose there."""
        link = self._links[child]
        if link.is_static:
            return link.parents[0], link.pose(0)
        after = bisect_left(link.stamps_ns, stamp_ns)
        if after < len(link.stamps_ns) and link.stamps_ns[after] == stamp_ns:
            return link.parents[after], link.pose(after)
        if after in (0, len(link.stamps_ns)):
            first, last = (link.stamps_ns[i] / NS_PER_S for i in (0, -1))
            return (
                f'{link.parents[0]} -> {child} is known from {first:.3f} to {last:.3f} s, not at '
                f'{stamp_ns / NS_PER_S:.3f} s')
        before = after - 1
        if link.parents[before] != link.parents[after]:
            return link.parents[before], link.pose(before)
        begin_ns, end_ns = link.stamps_ns[before], link.stamps_ns[after]
        share = (stamp_ns - begin_ns) / (end_ns - begin_ns)
        return link.parents[before], _between(link.values_at(before), link.values_at(after), share)


def _pose(values: Array) -> Array:
    return rigid.from_rotation_translation(rigid.from_quaternion(values[3:]), values[:3])


def _between(before: Array, after: Array, share: float) -> Array:
    """Go a share of the way: positions in a line, rotations about one axis, as tf2 does."""
    p, q = (values[3:] / np.linalg.norm(values[3:]) for values in (before, after))
    cosine = float(p @ q)
    if cosine < 0.0:
        q, cosine = -q, -cosine
    angle = np.arccos(min(cosine, 1.0))
    weights = np.array([1.0 - share, share])
    if angle > _MIN_ANGLE:
        weights = np.sin(weights * angle) / np.sin(angle)
    return _pose(np.concatenate([
        (1.0 - share) * before[:3] + share * after[:3], weights[0] * p + weights[1] * q]))
