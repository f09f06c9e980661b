# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Points of a COLMAP model are seen by several images, and COLMAP can work on them."""

from dataclasses import replace
from itertools import pairwise

import cv2
from da3_ros.export.features import Features, find_features, Shown
from da3_ros.export.save import save_session
from da3_ros.export.tracks import find_tracks
from da3_ros.geometry import camera, rigid
from da3_ros.geometry.sim3 import fit_sim3, Sim3
from da3_ros.mapping.config import GridConfig, MapConfig
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.picture import from_jpeg, to_jpeg
from da3_ros.mapping.session_record import CameraImage
from filmed import filmed_session, NUM_KEYFRAMES
import numpy as np
import pytest
from readers import ColmapModel, read_ply
from scipy.spatial.transform import Rotation


@pytest.fixture(scope='module')
def filmed():
    """Give a session of rendered pictures with true depth and poses."""
    return filmed_session()


@pytest.fixture(scope='module')
def true_model(filmed, tmp_path_factory):
    """Give the folder of its model."""
    return model_of(filmed, tmp_path_factory.mktemp('true_model'))


@pytest.fixture(scope='module')
def colmap():
    """Give COLMAP's own library."""
    return pytest.importorskip('pycolmap', reason='needs pip install pycolmap')


def poses_of(session):
    """Return the poses, (N, 4, 4)."""
    return np.stack([session.frame_S_camera(pose.id).rigid_part() for pose in session.poses])


def shaken(session):
    """Return the session with poses that are wrong, each in its own way."""
    random = np.random.default_rng(0)
    moved = [pose @ rigid.from_rotation_translation(
        Rotation.from_rotvec(random.normal(0.0, 0.006, 3)).as_matrix(),
        random.normal(0.0, 0.01, 3)) for pose in poses_of(session)]
    return replace(session, poses=tuple(
        replace(pose, map_S_camera=Sim3.from_rigid(new))
        for pose, new in zip(session.poses, moved, strict=True)))


def model_of(session, folder):
    """Save, and return where the model is."""
    saved = save_session(session, folder, frozenset({'colmap'}), MapConfig(), GridConfig())
    return saved.path / 'colmap/sparse/0'


def test_every_point_is_seen_by_several_images_and_tells_which(true_model):
    """Images and points name each other, once; read by a reader of its own."""
    model = ColmapModel(true_model)
    assert len(model.points) > 300
    for point_id, point in model.points.items():
        assert len(np.unique(point.track[:, 0])) == len(point.track) >= 2
        for image_id, index in point.track:
            assert model.images[image_id].point_ids[index] == point_id
    assert sum(len(point.track) for point in model.points.values()) == sum(
        len(image.point_ids) for image in model.images.values())


def test_points_lie_where_they_are_seen(true_model):
    """In COLMAP's pixels, which begin at the corner; as far off as the model says."""
    model = ColmapModel(true_model)
    errors = {id_: [] for id_ in model.points}
    for image in model.images.values():
        positions = np.stack([model.points[id_].position for id_ in image.point_ids])
        pixels, depth = model.project(image, positions)
        assert depth.min() > 0.0
        offsets = pixels - image.pixels
        # Half a pixel would show.
        np.testing.assert_allclose(np.median(offsets, axis=0), 0.0, atol=0.15)
        for id_, error in zip(image.point_ids, np.linalg.norm(offsets, axis=1), strict=True):
            errors[id_].append(error)
    assert np.mean([np.mean(each) for each in errors.values()]) < 0.5
    np.testing.assert_allclose(
        [np.mean(each) for each in errors.values()],
        [point.error for point in model.points.values()], atol=0.01)


def test_colmap_reads_it(colmap, true_model):
    model = colmap.Reconstruction(str(true_model))
    assert model.num_images() == model.num_reg_images() == NUM_KEYFRAMES
    assert model.compute_mean_track_length() > 2.0
    assert model.compute_mean_reprojection_error() < 0.5
    assert {image.name for image in model.images.values()} == {
        f'{number:06d}.jpg' for number in range(1, NUM_KEYFRAMES + 1)}


def pose_errors(poses, truth):
    """Return errors of position, after one Sim3, and of turns between neighbours [rad]."""
    target, source = truth[:, :3, 3], poses[:, :3, 3]
    moved = fit_sim3(target, source, np.ones(len(source))).transform_points(source)
    turns = [a[:3, :3].T @ b[:3, :3] for each in (poses, truth)
             for a, b in pairwise(each)]
    half = len(turns) // 2
    angles = [Rotation.from_matrix(a.T @ b).magnitude()
              for a, b in zip(turns[:half], turns[half:], strict=True)]
    return float(np.sqrt(np.square(moved - target).sum(axis=1).mean())), float(np.median(angles))


def test_bundle_adjustment_finds_poses_that_were_wrong(colmap, filmed, tmp_path):
    """The observations know more than the poses that they were found with."""
    truth, wrong = poses_of(filmed), shaken(filmed)
    model = colmap.Reconstruction(str(model_of(wrong, tmp_path)))
    assert model.compute_mean_track_length() > 2.0
    config = colmap.BundleAdjustmentConfig()
    for image_id in model.images:
        config.add_image(image_id)
    for camera_id in model.cameras:
        config.set_constant_cam_intrinsics(camera_id)
    config.fix_gauge(colmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    options = colmap.BundleAdjustmentOptions(print_summary=False)
    colmap.create_default_bundle_adjuster(options, config, model).solve()
    found = np.stack([
        rigid.inverse(np.vstack([model.images[id_].cam_from_world().matrix(), [0, 0, 0, 1]]))
        for id_ in sorted(model.images)])
    position_before, turn_before = pose_errors(poses_of(wrong), truth)
    position_after, turn_after = pose_errors(found, truth)
    assert turn_after < turn_before / 3.0
    assert position_after < position_before


def test_spots_are_measured_in_the_image_that_is_shown(filmed, tmp_path):
    """At the camera's size they are finer, and so is the camera; points are the same."""
    large = replace(filmed, keyframes=tuple(
        replace(keyframe, camera_image=_twice(keyframe)) for keyframe in filmed.keyframes))
    model = ColmapModel(model_of(large, tmp_path))
    (seen_by,) = model.cameras.values()
    assert (seen_by.width, seen_by.height) == (480, 360)
    assert len(model.points) > 300
    for image in model.images.values():
        positions = np.stack([model.points[id_].position for id_ in image.point_ids])
        pixels, _ = model.project(image, positions)
        assert np.median(np.linalg.norm(pixels - image.pixels, axis=1)) < 0.6
        assert image.pixels.max() > 240.0


def _twice(keyframe):
    """Return the image at twice its size."""
    image = cv2.resize(from_jpeg(keyframe.jpeg), (480, 360), interpolation=cv2.INTER_CUBIC)
    return CameraImage(to_jpeg(image, 95), 480, 360,
                       camera.rescale(keyframe.intrinsics, scale_x=2.0, scale_y=2.0))


def test_pictures_without_texture_have_no_points_but_a_start(filmed, tmp_path):
    """Nothing is invented."""
    grey = _grey(filmed)
    folder = model_of(grey, tmp_path)
    model = ColmapModel(folder)
    assert model.points == {}
    assert len(model.images) == NUM_KEYFRAMES
    vertices, _ = read_ply(folder / 'points3D.ply')
    assert len(vertices) > 10_000


def _grey(session):
    """Return the session with pictures that show nothing."""
    image = np.full((180, 240, 3), 90, np.uint8)
    return replace(session, keyframes=tuple(
        replace(keyframe, jpeg=to_jpeg(image, 90)) for keyframe in session.keyframes))


def test_only_spots_whose_depth_is_sure_are_points():
    """Not where it is unknown, not believed, sky, or changes from one pixel to the next."""
    random = np.random.default_rng(0)
    small = random.integers(0, 255, (30, 40, 3)).astype(np.uint8)
    image = cv2.resize(small, (160, 120), interpolation=cv2.INTER_CUBIC)
    depth = np.full((120, 160), 2.0, np.float32)
    depth[:, 80:] = 3.0
    depth[:20], depth[20:40] = np.nan, np.inf
    confidence = np.full_like(depth, 4.0)
    confidence[100:] = 1.0
    k = np.array([[120.0, 0, 79.5], [0, 120.0, 59.5], [0, 0, 1]])
    seen = PosedKeyframe(0, 0, 'camera', image, depth, confidence, k, np.eye(4), 0, True)
    found = find_features(seen, Shown(image, k), 2000, min_confidence=2.0)
    columns, rows = np.round(found.pixels).T
    assert len(found) > 100
    assert rows.min() > 40 and rows.max() < 100
    assert np.abs(columns - 79.5).min() > 1.0
    assert (columns < 79).any() and (columns > 80).any()
    np.testing.assert_array_equal(found.positions[:, 2], np.where(columns < 80, 2.0, 3.0))
    np.testing.assert_allclose(found.project(found.positions), found.pixels, atol=1e-9)


@pytest.mark.parametrize(('stretch', 'num_points'), [(1.0, 5), (1.05, 5), (3.0, 0)])
def test_what_looks_alike_at_another_depth_is_another_thing(stretch, num_points):
    """Seen from one place, where pixels alone cannot tell."""
    random = np.random.default_rng(0)
    k = np.array([[100.0, 0, 50.0], [0, 100.0, 50.0], [0, 0, 1]])
    pixels = random.uniform(10.0, 90.0, (5, 2))
    rays = camera.rays_of(pixels, k)
    looks = random.integers(0, 255, (5, 128)).astype(np.uint8)
    colours = np.zeros((5, 3), np.uint8)
    both = [Features(pixels, looks, colours, depth * rays, np.eye(4), k, (100, 100))
            for depth in (2.0, 2.0 * stretch)]
    tracks = find_tracks(both)
    assert len(tracks.positions) == num_points
    assert len(tracks.points) == 2 * num_points
