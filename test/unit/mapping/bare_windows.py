# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Windows as small as they can be: a few pixels of true depth, cameras seen with noise."""

from da3_ros.geometry import rigid
from da3_ros.mapping.keyframe import Frame, Keyframe
from da3_ros.mapping.view import View
import numpy as np
from scipy.spatial.transform import Rotation

SIDE = 8
K = np.array([[8.0, 0.0, 3.5], [0.0, 8.0, 3.5], [0.0, 0.0, 1.0]])
IMAGE = np.zeros((SIDE, SIDE, 3), np.uint8)


def straight(length_m, count):
    """Drive ahead, evenly."""
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 0, 3] = np.linspace(0.0, length_m, count)
    return poses


def window(truth, numbers, random, *, noise_m=0.0, robot=None):
    """See some of the true poses in a frame and a unit of its own; the robot's are given."""
    scale = float(np.exp(random.uniform(-0.7, 0.7)))
    window_T_world = rigid.from_rotation_translation(
        Rotation.random(random_state=random).as_matrix(), random.normal(size=3))
    views = []
    for number in numbers:
        pose = truth[number].copy()
        pose[:3, 3] += noise_m * random.standard_normal(3)
        seen = window_T_world @ pose
        seen[:3, 3] *= scale
        depth = 2.0 + np.random.default_rng(number).random((SIDE, SIDE))
        frame = Frame(number, IMAGE, K, robot_T_camera=None if robot is None else robot[number])
        views.append(View(
            Keyframe(number, frame), IMAGE, (scale * depth).astype(np.float32), None, K, seen,
            None))
    return views


def windows(truth, random, *, size=12, stride=4, **options):
    """See a whole drive as the node does."""
    ends = [min(3, size), *range(3 + stride, len(truth), stride), len(truth)]
    for end in dict.fromkeys(ends):
        yield window(truth, range(max(0, end - size), end), random, **options)
