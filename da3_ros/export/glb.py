# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
A scene of points, path and cameras as binary glTF, for a look in any browser.

In glTF y is up, and colours are linear.
"""

from typing import Any

from da3_ros.export.optional import library_of
from da3_ros.geometry import camera, rigid
from da3_ros.geometry.arrays import Array
from da3_ros.mapping.points import WeightedPoints
from da3_ros.mapping.session_record import Session
import numpy as np
from numpy.typing import NDArray

# What a browser on a telephone still turns at ease.
_MAX_POINTS = 1_000_000
_MAX_CAMERAS = 100
# Length of a drawn camera, of the extent of the path.
_CAMERA_SHARE = 0.02
_MIN_CAMERA = 0.05
_ORANGE = (232, 89, 12, 255)
_GLTF_T_FRAME = np.array(
    [[1.0, 0, 0, 0], [0, 0, 1.0, 0], [0, -1.0, 0, 0], [0, 0, 0, 1.0]])


def to_glb(session: Session, points: WeightedPoints) -> bytes:
    """
    Draw a session.

    :param session: with keyframes.
    :param points: fused, in its frame.
    :raises SaveError: if trimesh is not installed.
    """
    trimesh = library_of('glb')
    scene = trimesh.Scene()
    shown = points.only(np.arange(0, len(points), max(1, -(-len(points) // _MAX_POINTS))))
    if len(shown):
        colours = np.full((len(shown), 4), 255, np.uint8)
        colours[:, :3] = _linear(shown.colours)
        scene.add_geometry(
            trimesh.PointCloud(_turned(shown.positions.astype(np.float64)), colours),
            geom_name='points')
    path = np.array([session.frame_S_camera(pose.id).translation for pose in session.poses])
    segments = [np.stack([path[:-1], path[1:]], axis=1), *_cameras(session, path)]
    scene.add_geometry(
        _lines(trimesh, np.concatenate(segments)), geom_name='path and cameras')
    return bytes(scene.export(file_type='glb'))


def _cameras(session: Session, path: Array) -> list[Array]:
    """Return the edges of the pyramids that some keyframes saw, (8, 2, 3) each."""
    keyframes = session.keyframes
    chosen = np.unique(np.linspace(0, len(keyframes) - 1, _MAX_CAMERAS).round().astype(int))
    extent = float(np.ptp(path, axis=0).max())
    length = max(_CAMERA_SHARE * extent, _MIN_CAMERA if extent == 0.0 else 0.0)
    drawn = []
    for keyframe in (keyframes[index] for index in chosen):
        height, width = keyframe.depth.shape
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) - 0.5
        rays = camera.rays_of(corners, keyframe.intrinsics)
        pose = session.frame_S_camera(keyframe.id).rigid_part()
        tip, *ends = rigid.transform_points(pose, np.vstack([np.zeros(3), length * rays]))
        drawn.append(np.array(
            [(tip, end) for end in ends] + list(zip(ends, [*ends[1:], ends[0]], strict=True))))
    return drawn


def _lines(trimesh: Any, segments: Array) -> Any:
    lines = trimesh.load_path(_turned(segments.reshape(-1, 3)).reshape(-1, 2, 3))
    lines.colors = np.tile(np.array(_ORANGE, np.uint8), (len(lines.entities), 1))
    return lines


def _turned(positions: Array) -> Array:
    return rigid.transform_points(_GLTF_T_FRAME, positions)


def _linear(colours: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Undo the gamma of sRGB."""
    share = np.clip(colours / 255.0, 0.0, 1.0)
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return np.asarray(np.rint(255.0 * linear), np.uint8)
