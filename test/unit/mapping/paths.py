# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Paths through the room, and how far an estimate is from one."""

from da3_ros.geometry.sim3 import fit_sim3
import numpy as np
from perfect_engine import level_camera

PATHS = {}


def path(function):
    """Register a path by its name."""
    PATHS[function.__name__] = function
    return function


@path
def forward(count):
    """Drive ahead, weaving a little."""
    return [
        level_camera([-6.0 + 12.0 * s, 0.3 * np.sin(5.0 * s), 0.0], 0.2 * np.sin(7.0 * s))
        for s in np.linspace(0.0, 1.0, count)
    ]


@path
def sideways(count):
    """Move at a right angle to the view."""
    return [level_camera([0.0, y, 0.0], 0.0) for y in np.linspace(-5.0, 5.0, count)]


@path
def rotation(count):
    """Turn twice almost in place."""
    return [
        level_camera([0.3 * np.cos(angle), 0.3 * np.sin(angle), 0.0], angle)
        for angle in np.linspace(0.0, 4.0 * np.pi, count)
    ]


@path
def line(count):
    """Drive straight ahead."""
    return [level_camera([x, 0.0, 0.0], 0.0) for x in np.linspace(-6.0, 6.0, count)]


@path
def figure_of_eight(count):
    """Drive an eight, looking ahead."""
    angles = np.linspace(0.0, 2.0 * np.pi, count)
    return [
        level_camera([4.0 * np.sin(a), 3.0 * np.sin(2.0 * a), 0.0],
                     np.arctan2(6.0 * np.cos(2.0 * a), 4.0 * np.cos(a)))
        for a in angles
    ]


def curve(count, *, step_m=0.05):
    """Drive a gentle curve with a keyframe every few centimetres."""
    return [level_camera([step_m * i, 0.0, 0.0], 0.01 * i) for i in range(count)]


def length(poses):
    """Return the length of a path."""
    return float(np.linalg.norm(np.diff(np.array(poses)[:, :3, 3], axis=0), axis=1).sum())


def trajectory_error(estimated, true):
    """Return the root mean square position error after the best similarity (ATE)."""
    estimated, true = np.array(estimated)[:, :3, 3], np.array(true)[:, :3, 3]
    fit = fit_sim3(true, estimated, np.ones(len(true)))
    misfit = true - fit.transform_points(estimated)
    return float(np.sqrt(np.square(misfit).sum(axis=1).mean()))
