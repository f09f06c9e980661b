# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""How what was mapped earlier moves when more is known."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.points import WeightedPoints
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class MapCorrection:
    """
    A move of everything in ``map``, keyframe by keyframe.

    :param ids: (K,) int64 increasing ids of keyframes.
    :param moves: for each, ``new_S_old``: from where its surroundings were to where they are.
    """

    ids: NDArray[np.int64]
    moves: tuple[Sim3, ...]

    @staticmethod
    def of(moves: Iterable[tuple[int, Sim3]]) -> 'MapCorrection':
        """
        Build a correction.

        :param moves: at least one id with its move, in any order.
        """
        ordered = sorted(moves, key=lambda move: move[0])
        return MapCorrection(
            np.array([id_ for id_, _ in ordered], np.int64), tuple(move for _, move in ordered))

    def move_of(self, keyframe_id: int) -> Sim3:
        """
        Return how a keyframe moves: as the nearest one of which it is known.

        :param keyframe_id: of any keyframe.
        """
        return self.moves[int(self._nearest(np.array([keyframe_id]))[0])]

    def apply(self, points: WeightedPoints) -> WeightedPoints:
        """
        Move points, each with the newest keyframe that saw it.

        :param points: in ``map`` as it was.
        """
        nearest = self._nearest(points.seen_by)
        linear = np.stack([move.scale * move.rotation for move in self.moves])
        shift = np.stack([move.translation for move in self.moves])
        moved = np.einsum('nij,nj->ni', linear[nearest], points.positions) + shift[nearest]
        return replace(points, positions=moved.astype(np.float32))

    def _nearest(self, ids: NDArray[np.int64]) -> NDArray[np.intp]:
        middles = (self.ids[1:] + self.ids[:-1]) / 2.0
        return np.searchsorted(middles, ids)
