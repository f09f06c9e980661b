# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Similarities Sim(3): what relates two windows, each in a unit of length of its own.

``a_S_b`` maps coordinates from frame b to frame a, as ``a_T_b`` does, and changes the unit on
the way: ``x_a = scale * rotation @ x_b + translation``.
"""

from dataclasses import dataclass

from da3_ros.geometry import rigid
from da3_ros.geometry.arrays import Array
import numpy as np


@dataclass(frozen=True, eq=False)
class Sim3:
    """
    One similarity ``a_S_b``.

    :param scale: length of one unit of b, in units of a.
    :param rotation: (3, 3) ``a_R_b``.
    :param translation: (3,) origin of b in a, in units of a.
    """

    scale: float
    rotation: Array
    translation: Array

    @staticmethod
    def from_rigid(a_T_b: Array, *, scale: float = 1.0) -> 'Sim3':
        """
        Build a similarity from a rigid motion.

        :param a_T_b: (4, 4).
        :param scale: length of one unit of b, in units of a.
        """
        return Sim3(scale, a_T_b[:3, :3].copy(), a_T_b[:3, 3].copy())

    @staticmethod
    def identity() -> 'Sim3':
        """Return the similarity that changes nothing."""
        return Sim3(1.0, np.eye(3), np.zeros(3))

    @staticmethod
    def about(center: Array, scale: float) -> 'Sim3':
        """
        Build the similarity that scales about a point and leaves that point where it is.

        :param center: (3,).
        :param scale: factor on all distances.
        """
        return Sim3(scale, np.eye(3), (1.0 - scale) * center)

    def __matmul__(self, other: 'Sim3') -> 'Sim3':
        """
        Chain ``a_S_b @ b_S_c`` into ``a_S_c``.

        :param other: ``b_S_c``.
        """
        return Sim3(
            self.scale * other.scale,
            self.rotation @ other.rotation,
            self.transform_points(other.translation),
        )

    def inverse(self) -> 'Sim3':
        """Return ``b_S_a``."""
        rotation = self.rotation.T
        return Sim3(1.0 / self.scale, rotation, -(rotation @ self.translation) / self.scale)

    def transform_points(self, points: Array) -> Array:
        """
        Map points.

        :param points: (..., 3) in b.
        :returns: (..., 3) in a.
        """
        mapped: Array = self.scale * (points @ self.rotation.T) + self.translation
        return mapped

    def transform_pose(self, b_T_c: Array) -> Array:
        """
        Map a camera pose; the camera's own lengths (its depth) must be multiplied by ``scale``.

        :param b_T_c: (4, 4).
        :returns: (4, 4) ``a_T_c``, rigid.
        """
        return rigid.from_rotation_translation(
            self.rotation @ b_T_c[:3, :3], self.transform_points(b_T_c[:3, 3])
        )

    def rigid_part(self) -> Array:
        """Return rotation and translation as (4, 4)."""
        return rigid.from_rotation_translation(self.rotation, self.translation)


def fit_sim3(
    target: Array, source: Array, weights: Array, *, scale: float | None = None
) -> Sim3:
    """
    Fit ``target_S_source`` to corresponding points by weighted least squares.

    Closed form: Umeyama, "Least-squares estimation of transformation parameters between two
    point patterns", PAMI 1991.

    :param target: (N, 3).
    :param source: (N, 3).
    :param weights: (N,) not negative.
    :param scale: known scale, or None to fit it too.
    :raises ValueError: if there are no weighted points, or they coincide while the scale is
        to be fitted.
    """
    total = float(weights.sum())
    if not total > 0.0:
        raise ValueError(f'weights: got a sum of {total}, expected above 0')
    share = weights / total
    target_mean, source_mean = share @ target, share @ source
    target_centred, source_centred = target - target_mean, source - source_mean
    u, singular, vt = np.linalg.svd((target_centred * share[:, None]).T @ source_centred)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = (u * signs) @ vt
    if scale is None:
        variance = float(share @ np.square(source_centred).sum(axis=1))
        if not variance > 0.0:
            raise ValueError('source: got coinciding points, expected a spread to fit scale')
        scale = float(singular @ signs) / variance
    return Sim3(scale, rotation, target_mean - scale * rotation @ source_mean)
