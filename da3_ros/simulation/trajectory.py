# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""
Robot-like paths of a camera through a scene: smooth, free of collisions, seeded.

A path is a plane curve passed with a speed that starts and ends at rest and may pause on the way;
the camera rides at constant height with small vibrations of attitude and height.
"""

from dataclasses import dataclass

from da3_ros.geometry import rigid
from da3_ros.geometry.arrays import Array
from da3_ros.simulation.curves import draw_curve, Drive, Motion
from da3_ros.simulation.scene import Scene
import numpy as np

_ATTEMPTS = 240
_SHRINK = 0.975
_LOOK_AHEAD_M = 0.9


@dataclass(frozen=True)
class PathLimits:
    """
    What the robot can do.

    :param speed_m_s: greatest mean speed along the curve [m/s].
    :param turn_deg_s: greatest mean yaw rate; where time is short, a turn stays unfinished.
    :param clearance_m: least distance of the camera to solids [m].
    :param height_m: range of the camera's height [m].
    :param num_pauses: greatest number of stops on the way.
    """

    speed_m_s: float = 0.6
    turn_deg_s: float = 40.0
    clearance_m: float = 0.3
    height_m: tuple[float, float] = (0.4, 1.6)
    num_pauses: int = 2


@dataclass(frozen=True, eq=False)
class Trajectory:
    """
    Poses of the camera over time.

    :param time_s: (N,) [s] since the start.
    :param world_T_camera: (N, 4, 4), optical axes.
    """

    time_s: Array
    world_T_camera: Array

    def pose_at(self, time_s: float) -> Array:
        """Interpolate world_T_camera (4, 4) between frames; outside of them the nearest one."""
        last = len(self.time_s) - 1
        place = float(np.interp(time_s, self.time_s, np.arange(last + 1)))
        index = min(int(place), max(last - 1, 0))
        share = place - index
        return rigid.interpolate(
            self.world_T_camera[index], self.world_T_camera[min(index + 1, last)], share)

    @property
    def length_m(self) -> float:
        """Length of the path of the camera's centre [m]."""
        steps = np.diff(self.world_T_camera[:, :3, 3], axis=0)
        return float(np.linalg.norm(steps, axis=1).sum())


def plan_path(
    scene: Scene, seed: int, *,
    motion: Motion, num_frames: int, rate_hz: float, limits: PathLimits | None = None,
) -> Trajectory:
    """
    Find a path that keeps clear of everything and mostly sees farther than its nose.

    The curve shrinks with every failed attempt, so that narrow places give short paths.

    :param scene: where.
    :param seed: not negative; the same arguments give the same path.
    :param motion: shape of the path.
    :param num_frames: N.
    :param rate_hz: frames per second.
    :param limits: what the robot can do.
    :raises ValueError: if the scene has no free place to stand.
    """
    limits = PathLimits() if limits is None else limits
    rng = np.random.default_rng((seed, list(Motion).index(motion)))
    time_s = np.arange(num_frames) / rate_hz
    duration_s = num_frames / rate_hz
    scale = 1.0
    for attempt in range(_ATTEMPTS):
        start = _start(scene, rng, limits)
        progress = _progress(rng, num_frames, limits)
        drive = Drive(
            rng, progress, duration_s, limits.speed_m_s, np.radians(limits.turn_deg_s), scale)
        curve = draw_curve(motion, drive)
        world_T_camera = _ride(rng, time_s, curve, start)
        if _is_free(scene, world_T_camera, limits, strict=attempt < _ATTEMPTS // 2):
            return Trajectory(time_s, world_T_camera)
        scale *= _SHRINK
    raise ValueError(f'scene: got no free path for {motion} in {_ATTEMPTS} attempts')


def _start(scene: Scene, rng: np.random.Generator, limits: PathLimits) -> Array:
    """Draw a free place: x, y, z [m]."""
    low, high = scene.lower.copy(), scene.upper.copy()
    low[2] = max(low[2], limits.height_m[0])
    high[2] = max(min(high[2], limits.height_m[1]), low[2])
    places = rng.uniform(low, high, (32, 3))
    free = np.flatnonzero(scene.clearance(places) > limits.clearance_m)
    place: Array = places[free[0] if len(free) else 0]
    return place


def _progress(rng: np.random.Generator, num_frames: int, limits: PathLimits) -> Array:
    """Return the share of the curve passed at each frame, from 0 to 1."""
    fine = np.linspace(0.0, 1.0, 16 * num_frames + 1)
    speed = np.minimum(1.0, np.minimum(fine, 1.0 - fine) / 0.08 + 0.05)
    for _ in range(int(rng.integers(limits.num_pauses + 1))):
        middle, half = rng.uniform(0.15, 0.85), rng.uniform(0.02, 0.08)
        speed *= np.clip((np.abs(fine - middle) - half) / 0.06, 0.0, 1.0)
    passed = np.concatenate([[0.0], np.cumsum(0.5 * (speed[1:] + speed[:-1]))])
    frames = np.linspace(0.0, 1.0, num_frames)
    progress: Array = np.interp(frames, fine, passed / passed[-1])
    return progress


def _ride(rng: np.random.Generator, time_s: Array, curve: Array, start: Array) -> Array:
    """Put the camera on a curve: (N, 4, 4) world_T_camera."""
    heading = rng.uniform(-np.pi, np.pi)
    tilt_down = np.radians(rng.uniform(-4.0, 14.0))
    phase = rng.uniform(0.0, 2.0 * np.pi, 4)
    frequency = 2.0 * np.pi * rng.uniform(0.3, 1.2, 4)
    sway = np.sin(frequency * time_s[:, None] + phase)
    yaw = heading + curve[:, 2] + np.radians(0.5) * sway[:, 0]
    pitch = tilt_down + np.radians(0.6) * sway[:, 1]
    roll = np.radians(0.6) * sway[:, 2]
    cosine, sine = np.cos(heading), np.sin(heading)
    poses = np.zeros((len(time_s), 4, 4))
    poses[:, :3, :3] = _attitude(yaw, pitch, roll) @ rigid.BODY_R_OPTICAL
    poses[:, 0, 3] = start[0] + cosine * curve[:, 0] - sine * curve[:, 1]
    poses[:, 1, 3] = start[1] + sine * curve[:, 0] + cosine * curve[:, 1]
    poses[:, 2, 3] = start[2] + 0.01 * sway[:, 3]
    poses[:, 3, 3] = 1.0
    return poses


def _attitude(yaw: Array, pitch: Array, roll: Array) -> Array:
    """Return (N, 3, 3) Rz(yaw) Ry(pitch) Rx(roll): positive pitch looks down."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    cr, sr = np.cos(roll), np.sin(roll)
    rows = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def _is_free(scene: Scene, poses: Array, limits: PathLimits, *, strict: bool) -> bool:
    """Check the clearance and, if strict, that most views are not blocked at once."""
    centres = poses[:, :3, 3]
    if scene.clearance(centres).min() < limits.clearance_m:
        return False
    ahead = centres + _LOOK_AHEAD_M * poses[:, :3, 2]
    return not strict or bool(np.mean(scene.clearance(ahead) > 0.0) > 0.7)
