# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Write a session in the formats that were asked for."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from da3_ros.errors import SaveError
from da3_ros.export.atomic_folder import AtomicFolder
from da3_ros.export.colmap import write_model
from da3_ros.export.floor_map import write_floor_map
from da3_ros.export.glb import to_glb
from da3_ros.export.laz import write_laz
from da3_ros.export.npz import write_arrays
from da3_ros.export.optional import check_installed, EXTRAS
from da3_ros.export.ply import write_ply
from da3_ros.export.rerun_recording import write_recording
from da3_ros.export.tum import write_trajectories
from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.config import GridConfig, MapConfig
from da3_ros.mapping.floor_grid import camera_positions, floor_grid
from da3_ros.mapping.keyframe import NS_PER_S
from da3_ros.mapping.points import observe, WeightedPoints
from da3_ros.mapping.session_record import Session
from da3_ros.mapping.voxel_map import VoxelMap

FORMATS = ('ply', 'tum', 'colmap', 'npz', 'grid')
"""What is written if nothing else is asked for."""
ALL_FORMATS = (*FORMATS, *EXTRAS)
"""These, and those that need one of pip's extras."""
_FUSED = frozenset({'ply', 'grid', 'glb', 'laz', 'rerun'})
# A saved cloud may be larger than one that is sent again and again.
_MAX_POINTS = 5_000_000


@dataclass(frozen=True)
class Saved:
    """
    A session on the disk.

    :param path: its folder.
    :param num_keyframes: with depth and image.
    :param num_poses: in the trajectory.
    :param num_bytes: of all files.
    """

    path: Path
    num_keyframes: int
    num_poses: int
    num_bytes: int


def save_session(
    session: Session, directory: Path, formats: frozenset[str], config: MapConfig,
    grid_config: GridConfig, *, beside: Path | None = None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Saved:
    """
    Write a session into a new folder, named after its first stamp: whole, or not at all.

    :param session: to save.
    :param directory: where the folder is created.
    :param formats: some of ``ALL_FORMATS``.
    :param config: which points cloud and grid hold, and their voxel.
    :param grid_config: cells and band of the grid.
    :param beside: a folder that was written before and is moved there, under its name.
    :param is_cancelled: asked often; the saving is given up when it says so.
    :raises SaveError: if there is nothing to save, a library is missing, or the disk does not
        take it.
    """
    check_installed(formats)
    if not session.keyframes:
        raise SaveError('save: got no keyframe with a pose in this session, expected at least one')
    with AtomicFolder(directory, _name(session), is_cancelled=is_cancelled) as folder:
        if formats & _FUSED:
            points = fused_points(session, config, check=folder.check)
            _write_points(folder, session, points, formats)
        if 'grid' in formats:
            grid = floor_grid(points, camera_positions(session), grid_config)
            # A picture without pixels cannot be read.
            if grid.cells.size:
                write_floor_map(folder, grid)
        if 'tum' in formats:
            write_trajectories(folder, session)
        if 'colmap' in formats:
            write_model(folder, session, min_confidence=config.min_confidence)
        if 'npz' in formats:
            write_arrays(folder, session)
        if beside is not None:
            folder.adopt(beside)
    assert folder.path is not None
    return Saved(folder.path, len(session.keyframes), len(session.poses), folder.num_bytes)


def _write_points(
    folder: AtomicFolder, session: Session, points: WeightedPoints, formats: frozenset[str]
) -> None:
    """Write the formats that show the fused points."""
    if 'ply' in formats:
        unit = 'metres' if session.keyframes[-1].is_metric else 'arbitrary unit'
        with folder.open('cloud.ply') as file:
            write_ply(file, points, comment=f'in {session.frame}, {unit}')
    if 'laz' in formats:
        with folder.open('cloud.laz') as file:
            write_laz(file, points, day=_moment(session).date())
    if 'glb' in formats:
        with folder.open('scene.glb') as file:
            file.write(to_glb(session, points))
    if 'rerun' in formats:
        with folder.open('session.rrd') as file:
            write_recording(file, session, points, name=_name(session))


def _name(session: Session) -> str:
    nanoseconds = session.poses[0].stamp_ns % NS_PER_S
    return f'{_moment(session):%Y%m%dT%H%M%S}.{nanoseconds:09d}'


def _moment(session: Session) -> datetime:
    return datetime.fromtimestamp(session.poses[0].stamp_ns // NS_PER_S, timezone.utc)


def fused_points(
    session: Session, config: MapConfig, *, check: Callable[[], object] = lambda: None
) -> WeightedPoints:
    """
    Fuse the points of a session, in its frame.

    :param session: with keyframes.
    :param config: which points, and their voxel.
    :param check: called often; the fusing is given up when it raises.
    """
    config = replace(config, max_voxels=max(config.max_voxels, _MAX_POINTS))
    fused = VoxelMap()
    for keyframe in session.restored():
        check()
        pose = Sim3.from_rigid(keyframe.odom_T_camera)
        fused.add(
            observe(keyframe, keyframe.depth, frame_S_camera=pose,
                    min_confidence=config.min_confidence, limit=config.limit_m),
            pose.translation, config)
        fused.look(keyframe, keyframe.depth, pose, config)
    return fused.points(config)
