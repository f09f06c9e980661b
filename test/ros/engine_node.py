# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
The node over an engine that knows the truth, for tests: the whole of ROS, without a network.

The images it is sent must come from ``perfect_engine.frames``.
"""

import argparse
import sys
import time

from da3_ros import node as node_module
from da3_ros.geometry import rigid
from da3_ros.node import Da3Node
from da3_ros.ros.engine_loading import LoadedEngine, ModelIdentity
from da3_ros.ros.process import run
import numpy as np
from perfect_engine import HEIGHT, level_camera, PerfectEngine, WIDTH
from rclpy.utilities import remove_ros_args
from scipy.spatial.transform import Rotation

NUM_POSES = 20_000
STEP_M = 0.05
SHIFTS = (0.0, 0.12, -0.2)
"""Cameras of a rig look so many steps later than the first."""


def poses(shift=0.0):
    """Go around in the room, always looking the same way; a share of a step earlier or later."""
    angles = STEP_M * (np.arange(NUM_POSES) + shift)
    return np.stack([level_camera((np.cos(a), np.sin(a), 0.0), 0.3) for a in angles])


def rig_poses(num_cameras):
    """Give the poses of cameras on one robot: those of an instant follow each other."""
    return np.stack([
        poses(shift) @ first_T_camera
        for shift, first_T_camera in zip(SHIFTS, mounts(num_cameras), strict=False)
    ], axis=1).reshape(-1, 4, 4)


def mounts(num_cameras):
    """Give first_T_camera of cameras that look 40 degrees apart, (num_cameras, 4, 4)."""
    return np.stack([
        rigid.from_rotation_translation(
            Rotation.from_euler('y', -40.0 * i, degrees=True).as_matrix(),
            np.array([-0.15 * i, 0.02 * i, 0.0]))
        for i in range(num_cameras)
    ])


class SlowEngine:
    """A perfect engine that takes its time, and fails when told so."""

    def __init__(self, delay_s: float, fail_at: int, drift: float, num_cameras: int) -> None:
        """
        Wait for windows.

        :param delay_s: duration of a window.
        :param fail_at: number of the window that fails, or -1.
        :param drift: relative error of the depth within a window.
        :param num_cameras: cameras of the robot.
        """
        self._engine = PerfectEngine(rig_poses(num_cameras), random_gauge=True, drift=drift)
        self._delay_s = delay_s
        self._fail_at = fail_at
        self._num_windows = 0

    def infer(self, images, *, poses=None, intrinsics=None):
        """Infer one window."""
        self._num_windows += 1
        if self._num_windows - 1 == self._fail_at:
            raise RuntimeError('told to fail')
        time.sleep(self._delay_s)
        views = [image[:HEIGHT, :WIDTH] for image in images]
        return self._engine.infer(views, poses=poses, intrinsics=intrinsics)


def main() -> None:
    """Run the node."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--delay-s', type=float, default=0.0)
    parser.add_argument('--fail-at', type=int, default=-1)
    parser.add_argument('--load-s', type=float, default=0.0)
    parser.add_argument('--cleanup-s', type=float, help='longest wait for an inference')
    parser.add_argument('--drift', type=float, default=0.0)
    options = parser.parse_args(remove_ros_args(sys.argv)[1:])
    if options.cleanup_s is not None:
        node_module._CLEANUP_TIMEOUT_S = options.cleanup_s

    def load(settings) -> LoadedEngine:
        sys.stdout.write('loading\n')
        time.sleep(options.load_s)
        num_views = settings.window.size or 12
        identity = ModelIdentity('perfect', 'none', 'Apache-2.0', 'cpu', False, num_views)
        engine = SlowEngine(
            options.delay_s, options.fail_at, options.drift, len(settings.camera.names))
        return LoadedEngine(engine, identity)

    run(lambda: Da3Node(engine_loader=load))


if __name__ == '__main__':
    main()
