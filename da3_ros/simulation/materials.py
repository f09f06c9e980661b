# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Seeded looks: materials with strong texture in colours that go together."""

import colorsys

from da3_ros.simulation.scene import Colour, Material, Texture
import numpy as np

_PATTERNS = tuple(Texture)
_SHARES = (0.22, 0.14, 0.12, 0.18, 0.16, 0.18)


def random_colour(
    rng: np.random.Generator, *,
    saturation: tuple[float, float] = (0.1, 0.8), value: tuple[float, float] = (0.15, 0.9),
) -> Colour:
    """Draw a colour in linear RGB."""
    red, green, blue = colorsys.hsv_to_rgb(
        rng.uniform(), rng.uniform(*saturation), rng.uniform(*value))
    return red ** 2.2, green ** 2.2, blue ** 2.2


def random_material(
    rng: np.random.Generator, *,
    cells_per_m: tuple[float, float] = (1.0, 6.0), patterns: tuple[Texture, ...] = _PATTERNS,
) -> Material:
    """
    Draw a material for a piece of furniture.

    :param rng: source of randomness.
    :param cells_per_m: range of the pattern's frequency, drawn log-uniformly.
    :param patterns: textures to choose from.
    """
    shares = np.array([_SHARES[pattern] for pattern in patterns])
    texture = patterns[int(rng.choice(len(patterns), p=shares / shares.sum()))]
    colour_a = random_colour(rng)
    colour_b = random_colour(rng)
    if rng.uniform() < 0.5:
        darker = rng.uniform(0.2, 0.6)
        colour_b = (colour_a[0] * darker, colour_a[1] * darker, colour_a[2] * darker)
    return Material(
        texture=texture,
        colour_a=colour_a,
        colour_b=colour_b,
        cells_per_m=float(np.exp(rng.uniform(*np.log(cells_per_m)))),
        angle_rad=0.0 if rng.uniform() < 0.6 else float(rng.uniform(0.0, np.pi)),
        seed=int(rng.integers(1 << 20)),
        detail=float(rng.uniform(0.3, 0.9)),
        gloss=float(rng.uniform(0.05, 0.5)) if rng.uniform() < 0.3 else 0.0,
    )


def wall_material(rng: np.random.Generator, patterns: tuple[Texture, ...]) -> Material:
    """Draw a material for a large surface: brighter, greyer, matt."""
    colour_a = random_colour(rng, saturation=(0.05, 0.45), value=(0.5, 0.95))
    darker = rng.uniform(0.35, 0.75)
    return Material(
        texture=patterns[int(rng.integers(len(patterns)))],
        colour_a=colour_a,
        colour_b=(colour_a[0] * darker, colour_a[1] * darker, colour_a[2] * darker),
        cells_per_m=float(np.exp(rng.uniform(np.log(0.8), np.log(4.0)))),
        seed=int(rng.integers(1 << 20)),
        detail=float(rng.uniform(0.3, 0.8)),
    )
