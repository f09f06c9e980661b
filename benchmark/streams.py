# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Streams of frames with true cameras and depth: rendered, or recorded."""

from dataclasses import dataclass
from pathlib import Path

import cv2
from da3_ros.geometry import rigid
from da3_ros.geometry.arrays import Array
from da3_ros.mapping.keyframe import Frame
from da3_ros.simulation.curves import Motion
from da3_ros.simulation.generator import generate_scene, Place
from da3_ros.simulation.lens import Lens
from da3_ros.simulation.sensor import capture, Sensor
from da3_ros.simulation.trajectory import PathLimits, plan_path
import numpy as np
from numpy.typing import NDArray

_PERIOD_NS = 200_000_000
# 7-Scenes: millimetres, and what its depth camera writes where it sees nothing.
_INVALID_DEPTHS_MM = (0, 65535)
# The two images of the walk through the office, far apart in time, whose features match best.
OFFICE_SAME_PLACE = (10, 234)


@dataclass(frozen=True, eq=False)
class Stream:
    """
    Frames in order, with their truth.

    :param name: for the tables.
    :param frames: N frames.
    :param poses: (N, 4, 4) world_T_camera [m], or None where unknown.
    :param depths: N images (H, W) float32 [m], NaN where unknown; empty where there are none.
    :param same_place: numbers of two frames that were taken at one place, or None.
    """

    name: str
    frames: tuple[Frame, ...]
    poses: Array | None
    depths: tuple[NDArray[np.float32], ...]
    same_place: tuple[int, int] | None = None

    @property
    def length_m(self) -> float:
        """Return the length of the path."""
        assert self.poses is not None
        steps = np.diff(self.poses[:, :3, 3], axis=0)
        return float(np.linalg.norm(steps, axis=1).sum())

    def back_and_forth(self) -> 'Stream':
        """Append the stream in reverse, so that it returns to where it began."""
        last = self.frames[-1].stamp_ns
        back = tuple(
            Frame(2 * last - frame.stamp_ns, frame.image, frame.intrinsics)
            for frame in self.frames[-2::-1]
        )
        assert self.poses is not None
        poses = np.concatenate([self.poses, self.poses[-2::-1]])
        frames = self.frames + back
        return Stream(
            f'{self.name} and back', frames, poses, self.depths + self.depths[-2::-1],
            (0, len(frames) - 1),
        )


def rendered(motion: Motion, seed: int, num_frames: int, width: int) -> Stream:
    """
    Render a drive through a room.

    :param motion: shape of the path.
    :param seed: of scene and path.
    :param num_frames: N.
    :param width: of the images [px]; they are 4:3.
    """
    scene = generate_scene(seed, Place.ROOM)
    lens = Lens(width, width * 3 // 4, 75.0)
    limits = PathLimits(speed_m_s=0.5, num_pauses=0)
    path = plan_path(scene, seed, motion=motion, num_frames=num_frames, rate_hz=5.0, limits=limits)
    shots = [
        capture(scene, lens, path, i, sensor=Sensor(num_samples=2), seed=seed)
        for i in range(num_frames)
    ]
    frames = tuple(
        Frame((i + 1) * _PERIOD_NS, shot.image, lens.intrinsics) for i, shot in enumerate(shots)
    )
    depths = tuple(np.where(np.isfinite(shot.depth), shot.depth, np.nan) for shot in shots)
    return Stream(f'rendered {motion.value} {seed}', frames, path.world_T_camera, depths)


def seven_scenes(folder: Path) -> Stream:
    """
    Read the 7-Scenes sample.

    :param folder: with colour, depth and pose of every frame.
    :raises FileNotFoundError: if it is not there.
    """
    colors = _files(folder, '*.color.jpg')
    intrinsics = np.loadtxt(_files(folder, 'camera-intrinsics.txt')[0])
    frames, poses, depths = [], [], []
    for i, path in enumerate(colors):
        base = path.name.removesuffix('.color.jpg')
        frames.append(Frame((i + 1) * _PERIOD_NS, _read_rgb(path), intrinsics))
        poses.append(np.loadtxt(path.with_name(f'{base}.pose.txt')))
        depth = cv2.imread(str(path.with_name(f'{base}.depth.png')), cv2.IMREAD_UNCHANGED)
        is_known = ~np.isin(depth, _INVALID_DEPTHS_MM)
        depths.append(np.where(is_known, depth / 1000.0, np.nan).astype(np.float32))
    return Stream('7-Scenes', tuple(frames), np.stack(poses), tuple(depths))


def tum(folder: Path) -> Stream:
    """
    Read the TUM RGB-D sample: frames named by their stamp, and the motion capture.

    :param folder: with the images and ``groundtruth.txt``.
    :raises FileNotFoundError: if it is not there.
    """
    images = sorted(_files(folder, '*.png'), key=lambda path: float(path.stem))
    truth = np.loadtxt(_files(folder, '*groundtruth*.txt')[0])
    intrinsics = np.array([[535.4, 0.0, 320.1], [0.0, 539.2, 247.6], [0.0, 0.0, 1.0]])
    frames, poses = [], []
    for path in images:
        row = truth[np.argmin(np.abs(truth[:, 0] - float(path.stem)))]
        frames.append(Frame(round(float(path.stem) * 1e9), _read_rgb(path), intrinsics))
        poses.append(rigid.from_rotation_translation(rigid.from_quaternion(row[4:8]), row[1:4]))
    return Stream('TUM fr3', tuple(frames), np.stack(poses), ())


def office(folder: Path, *, every: int = 2) -> Stream:
    """
    Read the walk through an office that returns to where it began; nothing is known of its truth.

    :param folder: with the images.
    :param every: take every n-th image.
    :raises FileNotFoundError: if it is not there.
    """
    frames = tuple(
        Frame((i + 1) * _PERIOD_NS, _read_rgb(path))
        for i, path in enumerate(_files(folder, '*.jpg')[::every])
    )
    return Stream('office', frames, None, (), tuple(i // every for i in OFFICE_SAME_PLACE))


def _files(folder: Path, pattern: str) -> list[Path]:
    found = sorted(folder.rglob(pattern))
    if not found:
        raise FileNotFoundError(f'{folder}: no {pattern}')
    return found


def _read_rgb(path: Path) -> NDArray[np.uint8]:
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])
