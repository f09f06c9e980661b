# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
Procedural textures; every renderer of the scenes computes these formulas in float32.

Inputs: surface coordinates u, v [m] and the footprint f [m] of a pixel on the surface, the
material (angle, cells_per_m, seed) and the number ``face`` of the face (``shading`` defines u, v,
f and face).

    U = (cos * u - sin * v) * cells_per_m + 37.3
    V = (sin * u + cos * v) * cells_per_m + 11.7      w = f * cells_per_m   (footprint in cells)
    s = seed + 7919 * face

``hash(i, j, s)``, all uint32 with wrap-around (i, j: floor as int32, reinterpreted):

    h = i * 0x8da6b343 ^ j * 0xd8163841 ^ s * 0xcb1ab31f
    h ^= h >> 15;  h *= 0x2c1b3c6d;  h ^= h >> 12;  h *= 0x297a2d39;  h ^= h >> 15
    hash = (h >> 8) * 2^-24                            in [0, 1)

``noise(x, y, s)``: with i, j = floor and a, b = fraction, a <- a*a*(3 - 2a), b likewise, the
bilinear mix of hash(i, j), hash(i+1, j), hash(i, j+1), hash(i+1, j+1), minus one half.

``fade(w) = clamp(1.6 - 2 w, 0, 1)`` lets a pattern vanish before it aliases.

``octave_k = noise(U * M_k, V * M_k, s + k) * fade(w * M_k)``, M = (1.3, 3.1, 7.3, 16.9), k = 0-3
``coarse = octave_0 + 0.6 octave_1 + 0.4 octave_2``
``fine = 0.6 octave_1 + 0.8 octave_2 + 0.7 octave_3``

``wave(x, w)`` is a square wave (1 on [0, 1/2), 0 on [1/2, 1)) through a box of width
b = max(w, 1e-3): (I(x + b/2) - I(x - b/2)) / b with I(x) = floor(x)/2 + min(x - floor(x), 1/2).

Share p of colour b in the mix colour = (1 - p) * a + p * b:

    NOISE    p = clamp(0.5 + 1.8 coarse, 0, 1)
    CHECKER  p = 0.5 + 2 (wave(U, w) - 0.5) (wave(V, w) - 0.5)
    STRIPES  p = wave(U, w)
    BRICKS   y = 2.4 V, r = floor(y), x = U + 0.5 (r mod 2), c = floor(x); e = distance in cells to
             the nearest joint = min(min(x-c, c+1-x), min(y-r, r+1-y) / 2.4);
             p = 0.25 + fade(w) * (clamp((0.04 - e) / max(w, 0.02) + 0.5, 0, 1) - 0.25);
             colour a is first multiplied by 1 + (hash(c, r, s + 11) - 0.5) * fade(w / 2)
    SPOTS    i, j = floor(U), floor(V); centre (0.3 + 0.4 hash(i, j, s + 11),
             0.3 + 0.4 hash(i, j, s + 12)); radius 0.12 + 0.16 hash(i, j, s + 13); d = distance;
             p = 0.13 + fade(w) * (clamp((radius - d) / max(w, 0.02) + 0.5, 0, 1) - 0.13)
    PATCHES  i, j = floor(U), floor(V), g = fade(w / 2); channel n = 0, 1, 2 of colour a is
             replaced by 0.5 + g * (hash(i, j, s + 11 + n) - 0.5);
             p = 0.14 + g * (0.35 * (hash(i, j, s + 14) < 0.4) - 0.14)

and at last colour *= max(0, 1 + 1.6 detail * fine).
"""

from typing import Any

from da3_ros.simulation.scene import Texture
import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating[Any]]  # float32 all along
Hashes = NDArray[np.uint32]

_OCTAVES = (1.3, 3.1, 7.3, 16.9)
_I = np.uint32(0x8da6b343)
_J = np.uint32(0xd8163841)
_S = np.uint32(0xcb1ab31f)
_MIX_1 = np.uint32(0x2c1b3c6d)
_MIX_2 = np.uint32(0x297a2d39)


def colour(
    material: Values, u: Values, v: Values, *, footprint: Values, face: Hashes,
) -> Values:
    """
    Evaluate a texture.

    :param material: (13,) row of ``SceneArrays.materials``.
    :param u: (N,) [m].
    :param v: (N,) [m].
    :param footprint: (N,) [m] of a pixel on the surface.
    :param face: (N,) uint32 number of the face.
    :returns: (N, 3) linear RGB.
    """
    frequency, cosine, sine = material[7], material[8], material[9]
    x = (cosine * u - sine * v) * frequency + np.float32(37.3)
    y = (sine * u + cosine * v) * frequency + np.float32(11.7)
    width = footprint * frequency
    seed = (np.uint32(7919) * face + np.uint32(material[10])) * _S
    octaves = [_octave(x, y, width, seed, k) for k in (1, 2, 3)]
    colour_a: Values = np.broadcast_to(material[1:4], (len(x), 3))
    share: Values
    kind = Texture(int(material[0]))
    if kind is Texture.NOISE:
        coarse = _octave(x, y, width, seed, 0) + 0.6 * octaves[0] + 0.4 * octaves[1]
        share = np.clip(0.5 + 1.8 * coarse, 0.0, 1.0)
    elif kind is Texture.CHECKER:
        share = 0.5 + 2.0 * (_wave(x, width) - 0.5) * (_wave(y, width) - 0.5)
    elif kind is Texture.STRIPES:
        share = _wave(x, width)
    elif kind is Texture.BRICKS:
        colour_a, share = _bricks(colour_a, x, y, width, seed)
    elif kind is Texture.SPOTS:
        share = _spots(x, y, width, seed)
    else:
        colour_a, share = _patches(x, y, width, seed)
    fine = 0.6 * octaves[0] + 0.8 * octaves[1] + 0.7 * octaves[2]
    gain = np.maximum(1.0 + (1.6 * material[11]) * fine, 0.0)
    mixed: Values = colour_a + share[:, None] * (material[4:7] - colour_a)
    mixed *= gain[:, None]
    return mixed


def _bricks(
    colour_a: Values, x: Values, y: Values, width: Values, seed: Hashes,
) -> tuple[Values, Values]:
    y = 2.4 * y
    row = np.floor(y)
    x = x + 0.5 * (row - 2.0 * np.floor(0.5 * row))
    column = np.floor(x)
    a, b = x - column, y - row
    edge = np.minimum(np.minimum(a, 1.0 - a), np.minimum(b, 1.0 - b) / 2.4)
    joint = np.clip((0.04 - edge) / np.maximum(width, 0.02) + 0.5, 0.0, 1.0)
    share = 0.25 + _fade(width) * (joint - 0.25)
    tint = _hash(_cell(column), _cell(row), seed, 11)
    return colour_a * (1.0 + (tint - 0.5) * _fade(0.5 * width))[:, None], share


def _spots(x: Values, y: Values, width: Values, seed: Hashes) -> Values:
    column, row = np.floor(x), np.floor(y)
    i, j = _cell(column), _cell(row)
    dx = x - column - 0.3 - 0.4 * _hash(i, j, seed, 11)
    dy = y - row - 0.3 - 0.4 * _hash(i, j, seed, 12)
    radius = 0.12 + 0.16 * _hash(i, j, seed, 13)
    inside = (radius - np.sqrt(dx * dx + dy * dy)) / np.maximum(width, 0.02) + 0.5
    share: Values = 0.13 + _fade(width) * (np.clip(inside, 0.0, 1.0) - 0.13)
    return share


def _patches(x: Values, y: Values, width: Values, seed: Hashes) -> tuple[Values, Values]:
    i, j = _cell(np.floor(x)), _cell(np.floor(y))
    fade = _fade(0.5 * width)
    own = np.stack([_hash(i, j, seed, 11 + n) for n in range(3)], axis=1)
    marked = 0.35 * (_hash(i, j, seed, 14) < 0.4).astype(np.float32)
    colours: Values = 0.5 + fade[:, None] * (own - 0.5)
    share: Values = 0.14 + fade * (marked - 0.14)
    return colours, share


def _octave(x: Values, y: Values, width: Values, seed: Hashes, k: int) -> Values:
    """Return faded noise; pixels where it has faded out are not computed."""
    fade = _fade(width * _OCTAVES[k])
    result = np.zeros_like(x)
    kept = np.flatnonzero(fade)
    if len(kept) == len(x):
        return _noise(x * _OCTAVES[k], y * _OCTAVES[k], seed, k) * fade
    result[kept] = fade[kept] * _noise(
        x[kept] * _OCTAVES[k], y[kept] * _OCTAVES[k], seed[kept], k)
    return result


def _noise(x: Values, y: Values, seed: Hashes, salt: int) -> Values:
    """Return value noise in [-1/2, 1/2); ``seed`` is already multiplied by its constant."""
    column, row = np.floor(x), np.floor(y)
    a, b = x - column, y - row
    a = a * a * (3.0 - 2.0 * a)
    b = b * b * (3.0 - 2.0 * b)
    i, j = _cell(column), _cell(row)
    one = np.uint32(1)
    near = _hash(i, j, seed, salt)
    near += a * (_hash(i + one, j, seed, salt) - near)
    j += one
    far = _hash(i, j, seed, salt)
    far += a * (_hash(i + one, j, seed, salt) - far)
    noise: Values = near + b * (far - near) - 0.5
    return noise


def _hash(i: Hashes, j: Hashes, seed: Hashes, salt: int) -> Values:
    """Hash cells to [0, 1); ``seed`` is already multiplied by its constant."""
    h = i * _I
    h ^= j * _J
    h ^= seed + np.uint32(salt * int(_S) & 0xFFFFFFFF)
    h ^= h >> np.uint32(15)
    h *= _MIX_1
    h ^= h >> np.uint32(12)
    h *= _MIX_2
    h ^= h >> np.uint32(15)
    share: Values = (h >> np.uint32(8)).astype(np.float32) * np.float32(2.0 ** -24)
    return share


def _cell(floor: Values) -> Hashes:
    return floor.astype(np.int32).view(np.uint32)


def _fade(width: Values) -> Values:
    fade: Values = np.clip(1.6 - 2.0 * width, 0.0, 1.0)
    return fade


def _wave(x: Values, width: Values) -> Values:
    box = np.maximum(width, np.float32(1e-3))
    wave: Values = (_wave_integral(x + 0.5 * box) - _wave_integral(x - 0.5 * box)) / box
    return wave


def _wave_integral(x: Values) -> Values:
    floor = np.floor(x)
    integral: Values = 0.5 * floor + np.minimum(x - floor, np.float32(0.5))
    return integral
