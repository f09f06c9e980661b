# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
What the map, compressed images and remembering for ~/save cost the processor per keyframe.

Processor time of the whole process, for a camera that turns around in a room; then the size and
time of one saved session. OpenCV and numpy run in one thread.
"""

from collections.abc import Callable
from pathlib import Path
import sys
import tempfile
import time

import cv2
from da3_ros.export.save import FORMATS, save_session
from da3_ros.geometry import camera, rigid
from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.config import GridConfig, MapConfig
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.points import fuse, observe, WeightedPoints
from da3_ros.mapping.session_record import SessionRecord
from da3_ros.mapping.voxel_map import VoxelMap
from da3_ros.ros.conversions import to_header
from da3_ros.ros.output.compressed_images import to_depth_message, to_jpeg_message
from da3_ros.ros.output.point_cloud import to_fused_cloud
from da3_ros.ros.parameters.settings import CompressedSettings
from load_camera import wall_pictures
import numpy as np

WIDTH, HEIGHT = 504, 378
NUM_KEYFRAMES = 50
_ROOM = np.array([6.0, 5.0, 1.5])
_K = np.array([[400.0, 0.0, 251.5], [0.0, 400.0, 188.5], [0.0, 0.0, 1.0]])
_MIB = 2**20


def keyframe(index: int) -> PosedKeyframe:
    """
    Look at the walls of a box, from within.

    :param index: of the keyframe; each looks a little further to the side.
    """
    angle = 2.0 * np.pi * index / NUM_KEYFRAMES
    turn = np.array([
        [np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0, 0, 1.0]])
    pose = rigid.from_rotation_translation(turn @ rigid.BODY_R_OPTICAL, np.zeros(3))
    rays = camera.unproject(np.ones((HEIGHT, WIDTH), np.float32), _K) @ pose[:3, :3].T
    noise = np.random.default_rng(index).normal(1.0, 0.005, (HEIGHT, WIDTH))
    depth = (_ROOM / np.abs(rays)).min(axis=-1) * noise
    pictures = wall_pictures(WIDTH, HEIGHT)
    return PosedKeyframe(
        index, index, 'camera', np.ascontiguousarray(pictures[index % len(pictures)]),
        depth.astype(np.float32), np.full((HEIGHT, WIDTH), 3.0, np.float32), _K, pose, 0, True)


def cpu_ms(actions: list[Callable[[], object]]) -> float:
    """
    Measure actions.

    :param actions: each run once.
    :returns: mean processor time.
    """
    started = time.process_time()
    for action in actions:
        action()
    return 1000.0 * (time.process_time() - started) / len(actions)


def main() -> int:
    """Measure, and print a table."""
    cv2.setNumThreads(1)
    keyframes = [keyframe(index) for index in range(NUM_KEYFRAMES)]
    config, compressed, header = MapConfig(), CompressedSettings(), to_header(0, 'camera')
    fused, record = VoxelMap(), SessionRecord()

    def see(seen: PosedKeyframe) -> WeightedPoints:
        return observe(
            seen, seen.depth, frame_S_camera=Sim3.from_rigid(seen.odom_T_camera),
            min_confidence=1.0, limit=np.inf)

    def remember(seen: PosedKeyframe) -> None:
        record.add(seen, np.eye(4), max_keyframes=NUM_KEYFRAMES)

    costs = {
        'fuse a keyframe into the map': cpu_ms(
            [lambda k=k: fused.add(see(k), np.zeros(3), config) for k in keyframes]),
        'bring the map up to date and make its message': cpu_ms(
            [lambda: to_fused_cloud(fused.points(config), header)] * 5),
        'points.voxel_m: thin out a cloud': cpu_ms(
            [lambda k=k: fuse(see(k), config.voxel_m) for k in keyframes]),
        'remember a keyframe for ~/save': cpu_ms([lambda k=k: remember(k) for k in keyframes]),
        'compressed rgb': cpu_ms(
            [lambda k=k: to_jpeg_message(k.image, compressed, header) for k in keyframes]),
        'compressed depth': cpu_ms(
            [lambda k=k: to_depth_message(k.depth, compressed, header) for k in keyframes]),
    }
    sys.stdout.write(f'\nVoxels of the map: {len(fused.points(config))}.\n'
                     f'\n| {WIDTH}x{HEIGHT} | processor ms |\n|---|---|\n')
    for name, cost in costs.items():
        sys.stdout.write(f'| {name} | {cost:.1f} |\n')
    num_bytes = sum(
        len(k.jpeg) + k.depth.nbytes + k.confidence.nbytes for k in record.session().keyframes
        if k.confidence is not None)
    record.show('odom', np.eye(4))
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        saved = save_session(
            record.session(), Path(folder), frozenset(FORMATS), config, GridConfig())
        spent_s = time.process_time() - started
    sys.stdout.write(
        f'\nRemembered: {num_bytes / NUM_KEYFRAMES / _MIB:.2f} MiB per keyframe. Saving '
        f'{NUM_KEYFRAMES} in all formats: {saved.num_bytes / _MIB:.0f} MiB, {spent_s:.1f} s of '
        'one core.\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
