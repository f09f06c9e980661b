# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The frames ``odom`` and ``map`` over the chain of windows."""

from da3_ros.geometry.sim3 import Sim3
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class WorldFrames:
    """
    Keep ``odom`` continuous and ``map`` right while scale and chain are corrected.

    Both hang on the chain with the same scale, so that one rigid ``map_T_odom`` relates them and
    what is published in ``odom`` (depth, points, poses) has the unit of ``map`` too.
    """

    def __init__(self, odom_S_chain: Sim3) -> None:
        """
        Start with ``map`` equal to ``odom``.

        :param odom_S_chain: where the chain begins.
        """
        self._odom_S_chain = odom_S_chain
        self._map_S_chain = odom_S_chain

    @property
    def odom_S_chain(self) -> Sim3:
        """From the chain's frame and unit to ``odom``."""
        return self._odom_S_chain

    @property
    def map_S_chain(self) -> Sim3:
        """From the chain's frame and unit to ``map``."""
        return self._map_S_chain

    @property
    def map_T_odom(self) -> Array:
        """Correction of everything in ``odom``, (4, 4)."""
        return (self._map_S_chain @ self._odom_S_chain.inverse()).rigid_part()

    def set_scale(self, scale: float, *, anchor: Array) -> None:
        """
        Change the unit from here on.

        :param scale: length of the chain's unit in ``odom`` and ``map``.
        :param anchor: (3,) point of the chain that stays where it is.
        """
        self._odom_S_chain = _rescaled(self._odom_S_chain, scale, anchor)
        self._map_S_chain = _rescaled(self._map_S_chain, scale, anchor)

    def move_chain(self, old_S_new: Sim3) -> None:
        """
        Note that the current window hangs elsewhere on the chain than was believed.

        ``odom`` keeps the window where it is; ``map`` follows the chain. ``set_scale`` must
        follow, to bring both to one unit again.

        :param old_S_new: old place of what is at a new place of the chain.
        """
        self._odom_S_chain = self._odom_S_chain @ old_S_new

    def correct_map(self, map_S_chain: Sim3, *, anchor: Array) -> None:
        """
        Move ``map`` under the current window, and take over its unit.

        :param map_S_chain: the corrected relation.
        :param anchor: (3,) point of the chain that stays where it is in ``odom``.
        """
        self._map_S_chain = map_S_chain
        self._odom_S_chain = _rescaled(self._odom_S_chain, map_S_chain.scale, anchor)


def _rescaled(a_S_chain: Sim3, scale: float, anchor: Array) -> Sim3:
    center = a_S_chain.transform_points(anchor)
    return Sim3.about(center, scale / a_S_chain.scale) @ a_S_chain
