# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Windows as small as they can be: a few pixels of true depth, cameras seen with noise."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from da3_ros.geometry import rigid
from da3_ros.geometry.arrays import Array
from da3_ros.mapping.keyframe import Frame, Keyframe
from da3_ros.mapping.view import View
import numpy as np
from scipy.spatial.transform import Rotation

_SIDE = 8
_K = np.array([[8.0, 0.0, 3.5], [0.0, 8.0, 3.5], [0.0, 0.0, 1.0]])
_IMAGE = np.zeros((_SIDE, _SIDE, 3), np.uint8)


@dataclass(frozen=True, eq=False)
class Drive:
    """
    What there is to be seen.

    :param truth: (N, 4, 4) world_T_camera [m]; of two cameras side by side, of the one between.
    :param noise_m: standard deviation of a coordinate of a camera as a window sees it.
    :param robot: (N, 4, 4) the same by the robot, or None.
    :param is_metric: whether the network says that it knows metres.
    :param has_own_unit: whether every window has a unit of its own, and not the metre.
    :param baseline_m: distance of two cameras side by side; 0 for one camera.
    """

    truth: Array
    noise_m: float = 0.0
    robot: Array | None = None
    is_metric: bool = False
    has_own_unit: bool = True
    baseline_m: float = 0.0


def straight(length_m: float, count: int) -> Array:
    """Drive ahead, evenly, (count, 4, 4)."""
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 0, 3] = np.linspace(0.0, length_m, count)
    return poses


def true_depth(number: int) -> Array:
    """Return what a keyframe sees [m], (8, 8)."""
    return 2.0 + np.random.default_rng(number).random((_SIDE, _SIDE))


def true_scale(views: Sequence[View]) -> float:
    """Return the length of the unit of a window [1/m]: of its depth over the true one."""
    return float(np.median(views[0].depth / true_depth(views[0].keyframe.id)))


def window(drive: Drive, numbers: Sequence[int], random: np.random.Generator) -> list[View]:
    """See some of the true poses in a frame of its own."""
    scale = float(np.exp(random.uniform(-0.7, 0.7))) if drive.has_own_unit else 1.0
    window_T_world = rigid.from_rotation_translation(
        Rotation.random(random_state=random).as_matrix(), random.normal(size=3))
    views = []
    for number in numbers:
        frame, instant, pose = _frame(drive, number)
        pose[:3, 3] += drive.noise_m * random.standard_normal(3)
        seen = window_T_world @ pose
        seen[:3, 3] *= scale
        depth = (scale * true_depth(number)).astype(np.float32)
        views.append(View(
            Keyframe(number, frame, instant), _IMAGE, depth, None, _K, seen, None))
    return views


def _frame(drive: Drive, number: int) -> tuple[Frame, int | None, Array]:
    """Return a frame, its instant and the true pose of its camera."""
    if drive.baseline_m == 0.0:
        robot_T_camera = None if drive.robot is None else drive.robot[number]
        frame = Frame(number, _IMAGE, _K, robot_T_camera=robot_T_camera)
        return frame, None, drive.truth[number].copy()
    base_T_camera = np.eye(4)
    base_T_camera[1, 3] = drive.baseline_m * (number % 2 - 0.5)
    frame = Frame(
        number // 2, _IMAGE, _K, camera='lr'[number % 2], base_T_camera=base_T_camera)
    return frame, number // 2, drive.truth[number // 2] @ base_T_camera


def windows(
    drive: Drive, random: np.random.Generator, *, size: int = 12, stride: int = 4
) -> Iterator[list[View]]:
    """See a whole drive as the node does."""
    count = len(drive.truth) * (1 if drive.baseline_m == 0.0 else 2)
    first = min(3 if drive.baseline_m == 0.0 else 4, size)
    for end in dict.fromkeys([first, *range(first + stride, count, stride), count]):
        yield window(drive, range(max(0, end - size), end), random)


def spoilt(views: Sequence[View], random: np.random.Generator) -> list[View]:
    """Make nonsense of a window, larger than the truth."""
    return [replace(view, depth=(1.6 * view.depth * random.uniform(
        0.2, 1.8, view.depth.shape)).astype(np.float32)) for view in views]
