# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""What is saved is read back by readers of their own, and is what was there."""

from dataclasses import replace

import cv2
from da3_ros.export.save import FORMATS, save_session
from da3_ros.geometry import camera
from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.config import GridConfig, MapConfig
from da3_ros.mapping.session_record import (
    CameraImage,
    RecordedKeyframe,
    RecordedPose,
    SessionRecord,
)
import numpy as np
from perfect_engine import HEIGHT, INTRINSICS, Room, WIDTH
import pytest
from readers import ColmapModel, read_floor_map, read_ply, read_tum
from walk import FIRST_STAMP_NS, keyframe, NUM_KEYFRAMES

CONFIG = MapConfig(voxel_m=0.05)
# The cameras are at z = 0, the floor is at -1.2.
GRID_CONFIG = GridConfig(cell_m=0.1, min_height_m=-1.0, max_height_m=1.5)
# Of a float16 depth.
DEPTH_RTOL = 2.0**-10


@pytest.fixture
def saved(session, tmp_path):
    """Save everything."""
    return save_session(session, tmp_path, frozenset(FORMATS), CONFIG, GRID_CONFIG)


def distance_to_walls(positions):
    """Return how far points are from the walls of the room."""
    walls = np.concatenate([positions - Room().lower, positions - Room().upper], axis=1)
    return np.abs(walls).min(axis=1)


def test_the_folder_is_named_after_the_first_stamp(saved, tmp_path):
    """And holds what was asked for; the count of bytes is right."""
    assert saved.path == tmp_path / '20231114T221320.123456789'
    assert {path.name for path in saved.path.iterdir()} == {
        'cloud.ply', 'trajectory.txt', 'keyframes.npz', 'colmap',
        'grid.pgm', 'grid.yaml'}
    assert (saved.num_keyframes, saved.num_poses) == (NUM_KEYFRAMES, NUM_KEYFRAMES)
    assert saved.num_bytes == sum(
        path.stat().st_size for path in saved.path.rglob('*') if path.is_file())
    assert list(tmp_path.iterdir()) == [saved.path]


def test_the_cloud_lies_on_the_walls(saved):
    """One point per voxel, in the frame, in its unit, with colour and confidence."""
    vertices, comments = read_ply(saved.path / 'cloud.ply')
    positions = np.stack([vertices[name] for name in 'xyz'], axis=1).astype(np.float64)
    assert np.quantile(distance_to_walls(positions), 0.9) < 0.01
    assert len(np.unique(np.floor(positions / 0.05), axis=0)) > 0.99 * len(positions) > 5000
    assert set(vertices['confidence']) == {4.0}
    # The room is grey.
    np.testing.assert_allclose(vertices['red'].astype(int), vertices['blue'], atol=3)
    assert vertices['green'].std() > 10
    assert comments == ['comment in map, metres']


def test_the_grid_is_read_by_the_rules_of_map_server(saved, true_poses):
    """Walls are occupied, where the cameras went is free, and the unknown stays unknown."""
    grid = read_floor_map(saved.path / 'grid.yaml')
    row, column = np.nonzero(grid.cells == 100)
    centres = grid.origin + (np.stack([column, row], axis=1) + 0.5) * grid.cell_m
    walls = np.concatenate([centres - Room().lower[:2], centres - Room().upper[:2]], axis=1)
    assert len(centres) > 100
    assert np.quantile(np.abs(walls).min(axis=1), 0.9) < 0.06
    # Where the second camera was, and half a metre ahead of it.
    for ahead in (0.1, 0.5):
        place = (true_poses[1] @ (0.0, 0.0, ahead, 1.0))[:2]
        column, row = np.floor((place - grid.origin) / grid.cell_m).astype(int)
        assert grid.cells[row, column] == 0
    assert set(np.unique(grid.cells)) == {-1, 0, 100}
    assert grid.cells[0, 0] == -1


def test_the_trajectory_is_exact(saved, true_poses):
    """To the nanosecond, and to the digits that are written."""
    stamps, poses = read_tum(saved.path / 'trajectory.txt')
    assert stamps == [FIRST_STAMP_NS + 333_333_333 * i for i in range(NUM_KEYFRAMES)]
    np.testing.assert_allclose(poses, true_poses, atol=1e-8)


def test_the_arrays_are_the_keyframes(saved, true_poses):
    """As float16 holds them, NaN and sky included."""
    arrays = np.load(saved.path / 'keyframes.npz')
    assert set(arrays) == {'stamp_ns', 'frame_T_camera', 'K', 'segment', 'is_metric', 'frame_id',
                           'frame', 'depth', 'confidence'}
    assert arrays['stamp_ns'].dtype == np.int64
    assert arrays['stamp_ns'].tolist() == [
        FIRST_STAMP_NS + 333_333_333 * i for i in range(NUM_KEYFRAMES)]
    np.testing.assert_allclose(arrays['frame_T_camera'], true_poses, atol=1e-12)
    np.testing.assert_array_equal(arrays['K'], [INTRINSICS] * NUM_KEYFRAMES)
    truth = [keyframe(i, pose).depth for i, pose in enumerate(true_poses)]
    np.testing.assert_allclose(arrays['depth'], truth, rtol=DEPTH_RTOL)
    np.testing.assert_array_equal(arrays['confidence'], np.full_like(truth, 4.0))
    assert (arrays['frame_id'][0], arrays['frame'][0]) == ('camera', 'map')
    assert arrays['is_metric'].all()
    assert arrays['segment'].tolist() == [0] * NUM_KEYFRAMES


def test_the_colmap_model_has_images_poses_and_a_camera(saved, true_poses):
    """What several images see of it, test_colmap_tracks.py looks at."""
    model = ColmapModel(saved.path / 'colmap/sparse/0')
    assert list(model.cameras) == [1]
    # COLMAP counts from the corner of the image: a half pixel more than ROS and OpenCV.
    assert model.cameras[1] == ('PINHOLE', WIDTH, HEIGHT, 50.0, 50.0, 32.0, 24.0)
    assert list(model.images) == list(range(1, NUM_KEYFRAMES + 1))
    for image, pose in zip(model.images.values(), true_poses, strict=True):
        picture = cv2.imread(str(saved.path / 'colmap/images' / image.name))
        assert picture.shape == (HEIGHT, WIDTH, 3)
        np.testing.assert_allclose(image.camera_T_world @ pose, np.eye(4), atol=1e-9)


def test_what_splatting_starts_from_is_dense_and_lies_on_the_walls(saved):
    """In the colours of the pictures, with the fields that those programs ask for."""
    model = ColmapModel(saved.path / 'colmap/sparse/0')
    vertices, _ = read_ply(saved.path / 'colmap/sparse/0/points3D.ply')
    assert vertices.dtype.names == ('x', 'y', 'z', 'nx', 'ny', 'nz', 'red', 'green', 'blue')
    positions = np.stack([vertices[name] for name in 'xyz'], axis=1).astype(np.float64)
    assert np.quantile(distance_to_walls(positions), 0.9) < 0.01
    assert len(vertices) == pytest.approx(NUM_KEYFRAMES * WIDTH * HEIGHT, rel=0.02)
    image = model.images[1]
    picture = cv2.imread(str(saved.path / 'colmap/images' / image.name))[..., ::-1]
    # The first points are those of the first image.
    pixels, _ = model.project(image, positions[:1000])
    columns, rows = (pixels - 0.5).round().astype(int).T
    np.testing.assert_array_equal(picture[rows, columns], np.stack(
        [vertices[name][:1000] for name in ('red', 'green', 'blue')], axis=1))


def test_a_colmap_model_has_the_size_of_the_images_that_are_kept(session, tmp_path):
    """Where that of the camera is, the camera fits it; elsewhere what the network saw."""
    scale = 2.5
    width, height = round(scale * WIDTH), round(scale * HEIGHT)
    _, jpeg = cv2.imencode('.jpg', np.full((height, width, 3), 100, np.uint8))
    kept = CameraImage(
        bytes(jpeg), width, height, camera.rescale(INTRINSICS, scale_x=scale, scale_y=scale))
    large = replace(session, keyframes=(
        *(replace(seen, camera_image=kept) for seen in session.keyframes[:-1]),
        session.keyframes[-1]))
    saved = save_session(large, tmp_path, frozenset({'colmap'}), CONFIG, GRID_CONFIG)
    model = ColmapModel(saved.path / 'colmap/sparse/0')
    assert model.cameras == {
        1: ('PINHOLE', width, height, 125.0, 125.0, 80.0, 60.0),
        2: ('PINHOLE', WIDTH, HEIGHT, 50.0, 50.0, 32.0, 24.0)}
    for image_id, image in model.images.items():
        picture = cv2.imread(str(saved.path / 'colmap/images' / image.name))
        size = (HEIGHT, WIDTH) if image_id == NUM_KEYFRAMES else (height, width)
        assert picture.shape[:2] == size


def test_a_quarter_metre_voxel_gives_a_coarse_cloud(session, tmp_path):
    """The map's parameters hold for the saved cloud."""
    fine = save_session(session, tmp_path, frozenset({'ply'}), CONFIG, GRID_CONFIG)
    coarse = save_session(
        session, tmp_path, frozenset({'ply'}), MapConfig(voxel_m=0.25), GRID_CONFIG)
    none = save_session(
        session, tmp_path, frozenset({'ply'}), MapConfig(min_confidence=5.0), GRID_CONFIG)
    counts = [len(read_ply(saved.path / 'cloud.ply')[0]) for saved in (fine, coarse, none)]
    assert counts[0] > 3 * counts[1] > 3 * counts[2] == 0
    assert [path.name for path in fine.path.iterdir()] == ['cloud.ply']


def test_several_cameras_have_files_and_intrinsics_of_their_own(tmp_path, session, true_poses):
    """And networks without confidence write none."""
    other = keyframe(9, true_poses[0], frame_id='rear', confidence=None)
    other = replace(other, intrinsics=INTRINSICS + np.diag([5.0, 5.0, 0.0]))
    both = replace(
        session, keyframes=(*session.keyframes, RecordedKeyframe.of(other)),
        poses=(*session.poses, RecordedPose(
            other.id, other.stamp_ns, other.frame_id, Sim3.from_rigid(true_poses[0]))))
    saved = save_session(both, tmp_path, frozenset({'npz', 'colmap', 'tum'}), CONFIG, GRID_CONFIG)
    counts = [len(read_tum(saved.path / name)[0]) for name in (
        'trajectory.txt', 'trajectory_2.txt')]
    assert counts == [NUM_KEYFRAMES, 1]
    front, rear = (np.load(saved.path / name) for name in ('keyframes.npz', 'keyframes_2.npz'))
    assert (len(front['depth']), len(rear['depth'])) == (NUM_KEYFRAMES, 1)
    assert rear['frame_id'][0] == 'rear'
    assert 'confidence' not in rear
    model = ColmapModel(saved.path / 'colmap/sparse/0')
    assert [camera.fx for camera in model.cameras.values()] == [50.0, 55.0]
    assert [image.camera_id for image in model.images.values()] == [1] * NUM_KEYFRAMES + [2]


def test_the_record_thins_out_and_keeps_the_ends(true_poses):
    """Bounded at all times; poses outlive pictures."""
    record = SessionRecord()
    for index in range(100):
        record.add(keyframe(index, true_poses[0]), np.eye(4), max_keyframes=10)
        ids = [kept.id for kept in record.session().keyframes]
        assert len(ids) == min(index + 1, 10)
        assert (ids[0], ids[-1]) == (0, index)
    assert [pose.id for pose in record.session().poses] == list(range(100))
    gaps = np.diff(ids)
    assert gaps.max() <= 2 * gaps[:-1].min()
