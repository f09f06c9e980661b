# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Where rays meet shapes.

A ray is o + t d in the shape's local frame. Formulas, with h = half size:

BOX: t_k = (-o_k -+ h_k * sign(d_k)) / d_k; entry = max over k, exit = min; a hit if entry < exit.
ELLIPSOID: a = o / h, b = d / h; m = -(a.b) / (b.b); q = a + m b; t = m - sqrt((1 - q.q) / (b.b)).
CYLINDER: the same in x, y only gives the interval of the infinite cylinder, the slab in z a second
one; entry = max, exit = min, a hit if entry < exit.
PLANE: t = -o_z / d_z where abs(o + t d) <= h in x and y.
"""

from collections.abc import Sequence

from da3_ros.simulation.scene import Floats, Shape
import numpy as np

# Three arrays, or one whose first axis is x, y, z.
Components = Sequence[Floats] | Floats

_TINY = np.float32(1e-20)


def first_hit(
    shape: Shape, origin: Components, direction: Components, half_size: Floats,
) -> Floats:
    """
    Return the ray parameter where rays enter a shape.

    :param shape: which.
    :param origin: three components, each broadcastable to the rays, local frame.
    :param direction: three components, each (...), local frame; any length.
    :param half_size: (3,) [m].
    :returns: (...) ray parameters, +inf without a hit, negative behind the origin.
    """
    if shape is Shape.PLANE:
        return _plane(origin, direction, half_size)
    if shape is Shape.ELLIPSOID:
        entry, leave = _quadric(origin, direction, half_size, axes=3)
    else:
        entry, leave = _slab(origin[2], direction[2], half_size[2])
        if shape is Shape.CYLINDER:
            bounds = [_quadric(origin, direction, half_size, axes=2)]
        else:
            bounds = [_slab(origin[k], direction[k], half_size[k]) for k in range(2)]
        for nearer, farther in bounds:
            entry, leave = np.maximum(entry, nearer), np.minimum(leave, farther)
    entry[~(entry < leave)] = np.inf
    return entry


def _slab(origin: Floats, direction: Floats, half: Floats) -> tuple[Floats, Floats]:
    inverse = 1.0 / (direction + _TINY)
    middle = -origin * inverse
    reach = half * np.abs(inverse)
    return middle - reach, middle + reach


def _quadric(
    origin: Components, direction: Components, half_size: Floats, *, axes: int,
) -> tuple[Floats, Floats]:
    """Intersect |q| = 1 in the first axes, through the point nearest to the centre (stable)."""
    a = [origin[k] / half_size[k] for k in range(axes)]
    b = [direction[k] / half_size[k] for k in range(axes)]
    square = sum(x * x for x in b) + _TINY
    middle = -sum(a[k] * b[k] for k in range(axes)) / square
    gap = 1.0 - sum((a[k] + middle * b[k]) ** 2 for k in range(axes))
    reach = np.sqrt(np.maximum(gap, 0.0) / square)
    return middle - reach, middle + reach


def _plane(origin: Components, direction: Components, half_size: Floats) -> Floats:
    distance: Floats = -origin[2] / (direction[2] + _TINY)
    outside = np.abs(origin[0] + distance * direction[0]) > half_size[0]
    outside |= np.abs(origin[1] + distance * direction[1]) > half_size[1]
    distance[outside] = np.inf
    return distance
