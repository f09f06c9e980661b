# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""How hands, heads and robots hold cameras: attitudes, shake, near things, several on one body."""

from dataclasses import dataclass

from da3_ros.geometry.arrays import Array
from da3_ros.simulation.scene import Scene
import numpy as np

_TURNED_SHARE = 0.7
_DOWN_DEG = (-15.0, 45.0)
_ROLL_DEG = 10.0
_ANY_ROLL_SHARE = 0.1
_SHAKE_SHARE = 0.5
_TILT_DEG = (8.0, 2.0, 4.0)
_MAX_SHAKE_DEG = 2.5
_MAX_RIG_YAW_DEG = 100.0
_MAX_RIG_OFFSET_M = (0.2, 0.05, 0.1)
_NEAR_M = (0.5, 1.5)
_NEAR_CLEARANCE_M = 0.1
_SURFACE_M = 0.02
_MAX_DISTANCE_M = 30.0


@dataclass(frozen=True)
class Handling:
    """
    What is done to the path of the simulated robot's camera.

    :param is_free: whether it is also turned, shaken and blurred as hands do.
    :param rig_share: of windows that several cameras on one body see.
    :param rig_cameras: how many those are at most, two or more.
    :param near_share: of windows that look at something 0.5 to 1.5 m away.
    :param distorted_share: of windows whose lens is no pinhole.
    :param max_distortion: by which its rays are off at the left and right border, as a share.
    """

    is_free: bool = True
    rig_share: float = 0.12
    rig_cameras: int = 2
    near_share: float = 0.0
    distorted_share: float = 0.0
    max_distortion: float = 0.02


def handled(rng: np.random.Generator, poses: Array) -> Array:
    """
    Turn and shake a camera that a robot carries upright.

    :param rng: source of randomness.
    :param poses: (N, 4, 4) world_T_camera.
    :returns: (N, 4, 4).
    """
    if rng.uniform() < _SHAKE_SHARE:
        tilt = np.radians(rng.normal(size=3) * _TILT_DEG)
        shake = np.radians(rng.normal(size=(len(poses), 3)) * rng.uniform(0.0, _MAX_SHAKE_DEG))
        poses = _times(poses, rotations(tilt + shake))
    if rng.uniform() < _TURNED_SHARE:
        down = rng.uniform(*_DOWN_DEG)
        roll = rng.uniform(-90.0, 90.0) if rng.uniform() < _ANY_ROLL_SHARE else (
            _ROLL_DEG * rng.normal())
        poses = turned(poses, down_deg=down, roll_deg=roll)
    return poses


def turned(poses: Array, *, down_deg: float, roll_deg: float) -> Array:
    """
    Turn all cameras alike: down about their x axes, then about their optical axes.

    :param poses: (N, 4, 4) world_T_camera.
    :param down_deg: positive looks further down.
    :param roll_deg: positive turns the camera to the right.
    :returns: (N, 4, 4).
    """
    down = rotations(np.array([[-np.radians(down_deg), 0.0, 0.0]]))
    roll = rotations(np.array([[0.0, 0.0, np.radians(roll_deg)]]))
    return _times(poses, down @ roll)


@dataclass(frozen=True, eq=False)
class Mounted:
    """
    Views of a body's cameras, instant by instant.

    :param world_T_camera: (N, 4, 4).
    :param num_cameras: of the body: so many views at a time are of one instant.
    """

    world_T_camera: Array
    num_cameras: int


def mounted(rng: np.random.Generator, poses: Array, handling: Handling) -> Mounted:
    """
    Sometimes put more cameras on the body.

    All of them see the same instant, so that fewer poses are used, each several times.

    :param rng: source of randomness.
    :param poses: (N, 4, 4) world_T_camera.
    :param handling: how often, and how many.
    """
    if rng.uniform() >= handling.rig_share:
        return Mounted(poses, 1)
    count = int(rng.integers(2, handling.rig_cameras + 1))
    body = np.tile(np.eye(4), (count, 1, 1))
    for number in range(1, count):
        # Up to 100 degrees away from the camera before, so that neighbours may see the same.
        yaw = np.radians(rng.uniform(-1.0, 1.0) * _MAX_RIG_YAW_DEG)
        turn = rotations(np.array([[0.0, yaw, 0.0]]))[0]
        body[number, :3, :3] = body[number - 1, :3, :3] @ turn
        body[number, :3, 3] = rng.uniform(-1.0, 1.0, 3) * _MAX_RIG_OFFSET_M
    instants = -(-len(poses) // count)
    views = np.repeat(poses[:instants], count, axis=0) @ np.tile(body, (instants, 1, 1))
    return Mounted(views[:len(poses)], count)


def brought_near(
    rng: np.random.Generator, scene: Scene, poses: Array, handling: Handling
) -> Array:
    """
    Sometimes bring a path to within 0.5 to 1.5 m of what its middle view looks at.

    The path becomes as much smaller as what is seen becomes nearer. Where that leads into things,
    it stays as it is.

    :param rng: source of randomness.
    :param scene: in which the camera moves.
    :param poses: (N, 4, 4) world_T_camera.
    :param handling: how often.
    :returns: (N, 4, 4).
    """
    if rng.uniform() >= handling.near_share:
        return poses
    wanted = rng.uniform(*_NEAR_M)
    middle = poses[len(poses) // 2]
    axis, start = middle[:3, 2], middle[:3, 3]
    distance = 0.0
    while distance < _MAX_DISTANCE_M:
        step = float(scene.clearance((start + distance * axis)[None])[0])
        distance += max(step, _SURFACE_M)
        if step < _SURFACE_M:
            break
    if distance <= wanted:
        return poses
    near = poses.copy()
    near[:, :3, 3] = start + (distance - wanted) * axis + (
        wanted / distance * (poses[:, :3, 3] - start))
    is_free = (scene.clearance(near[:, :3, 3]) > _NEAR_CLEARANCE_M).all()
    return near if is_free else poses


def rotations(vectors: Array) -> Array:
    """
    Return the rotations of rotation vectors (Rodrigues).

    :param vectors: (N, 3) [rad].
    :returns: (N, 3, 3).
    """
    angle = np.linalg.norm(vectors, axis=1)[:, None, None] + 1e-12
    x, y, z = (vectors / angle[:, :, 0]).T
    zero = np.zeros_like(x)
    skew = np.moveaxis(np.array([[zero, -z, y], [z, zero, -x], [-y, x, zero]]), 2, 0)
    result: Array = np.eye(3) + np.sin(angle) * skew + (1.0 - np.cos(angle)) * skew @ skew
    return result


def _times(poses: Array, rotation: Array) -> Array:
    result = poses.copy()
    result[:, :3, :3] = poses[:, :3, :3] @ rotation
    return result
