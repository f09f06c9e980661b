# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""Plane curves that a robot drives: positions and heading in the frame of the start."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from da3_ros.geometry.arrays import Array
import numpy as np


class Motion(Enum):
    """Shape of a path."""

    FORWARD = 'forward'
    SIDEWAYS = 'sideways'
    ARC = 'arc'
    ORBIT = 'orbit'
    TURN = 'turn'
    SLALOM = 'slalom'
    LOOP = 'loop'
    FIGURE_EIGHT = 'figure_eight'


@dataclass(frozen=True, eq=False)
class Drive:
    """
    What a curve is drawn from.

    :param rng: source of randomness.
    :param progress: (N,) share of the curve passed at each frame, from 0 to 1.
    :param duration_s: time there is [s].
    :param speed_m_s: greatest mean speed [m/s].
    :param turn_rad_s: greatest mean yaw rate [rad/s].
    :param scale: factor on the curve's size.
    """

    rng: np.random.Generator
    progress: Array
    duration_s: float
    speed_m_s: float
    turn_rad_s: float
    scale: float

    def draw_length_m(self) -> float:
        """Draw a length there is time for [m]."""
        return float(self.rng.uniform(0.35, 1.0) * self.speed_m_s * self.duration_s)

    def draw_side(self) -> float:
        """Draw left (1) or right (-1)."""
        return float(self.rng.choice((-1.0, 1.0)))

    def turn_share(self, angle_rad: float) -> float:
        """Return which share of a turn there is time for."""
        return min(1.0, self.turn_rad_s * self.duration_s / angle_rad)


def draw_curve(motion: Motion, drive: Drive) -> Array:
    """
    Draw a curve.

    :param motion: its shape.
    :param drive: its frame of time and space.
    :returns: (N, 3) x [m], y [m], heading [rad] in the frame of the start (x forward, y left).
    """
    return _CURVES[motion](drive)


def _forward(drive: Drive) -> Array:
    way = drive.draw_length_m() * drive.scale * drive.progress
    back = drive.rng.uniform() < 0.2
    return np.column_stack([-way if back else way, 0.0 * way, 0.0 * way])


def _sideways(drive: Drive) -> Array:
    way = drive.draw_side() * drive.draw_length_m() * drive.scale * drive.progress
    return np.column_stack([0.0 * way, way, 0.0 * way])


def _arc(drive: Drive) -> Array:
    angle = drive.rng.uniform(np.radians(20.0), np.radians(110.0))
    radius = min(drive.draw_length_m() / angle, 4.0)
    return _circle(drive, radius, angle)


def _loop(drive: Drive) -> Array:
    angle = 2.0 * np.pi * drive.turn_share(2.0 * np.pi)
    radius = min(drive.speed_m_s * drive.duration_s / angle, drive.rng.uniform(0.5, 1.4))
    return _circle(drive, radius, angle)


def _circle(drive: Drive, radius: float, angle: float) -> Array:
    """Drive along a part of a circle."""
    side = drive.draw_side()
    size = radius * drive.scale
    turned = angle * drive.progress
    return np.column_stack([
        size * np.sin(turned), side * size * (1.0 - np.cos(turned)), side * turned])


def _orbit(drive: Drive) -> Array:
    """Circle around a point ahead while looking at it."""
    radius = drive.rng.uniform(0.9, 2.5)
    angle = min(drive.draw_length_m() / radius, np.pi) * drive.scale
    turned = drive.draw_side() * angle * drive.progress
    return np.column_stack([
        radius * (1.0 - np.cos(turned)), -radius * np.sin(turned), turned])


def _turn(drive: Drive) -> Array:
    most = 2.0 * np.pi * drive.turn_share(2.0 * np.pi)
    turned = drive.draw_side() * drive.rng.uniform(0.3, 1.0) * most * drive.progress
    return np.column_stack([0.0 * turned, 0.0 * turned, turned])


def _slalom(drive: Drive) -> Array:
    length = drive.draw_length_m() * drive.scale
    waves = drive.rng.uniform(0.7, 1.6)
    swing = drive.draw_side() * drive.rng.uniform(0.05, 0.15)
    phase = 2.0 * np.pi * waves * drive.progress
    heading = np.arctan(swing * 2.0 * np.pi * waves * np.cos(phase))
    return np.column_stack([
        length * drive.progress, swing * length * np.sin(phase), heading])


def _figure_eight(drive: Drive) -> Array:
    """Follow Gerono's lemniscate from its crossing: 6.1 sizes long, it turns by 3 pi in all."""
    share = drive.turn_share(3.0 * np.pi)
    most = drive.speed_m_s * drive.duration_s / (6.1 * share)
    size = min(most, drive.rng.uniform(0.7, 1.6)) * drive.scale
    side = drive.draw_side()
    phase = 2.0 * np.pi * share * drive.progress
    heading = np.unwrap(np.arctan2(side * np.cos(2.0 * phase), np.cos(phase)))
    return np.column_stack([
        size * np.sin(phase), 0.5 * side * size * np.sin(2.0 * phase), heading])


_CURVES: dict[Motion, Callable[[Drive], Array]] = {
    Motion.FORWARD: _forward,
    Motion.SIDEWAYS: _sideways,
    Motion.ARC: _arc,
    Motion.ORBIT: _orbit,
    Motion.TURN: _turn,
    Motion.SLALOM: _slalom,
    Motion.LOOP: _loop,
    Motion.FIGURE_EIGHT: _figure_eight,
}
