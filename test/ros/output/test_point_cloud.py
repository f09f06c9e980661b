# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Point clouds hold the points of the published depth, and no others."""

from da3_ros.geometry import camera, rigid
from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.ros.conversions import to_header
from da3_ros.ros.output.point_cloud import to_point_cloud
from da3_ros.ros.parameters.settings import PointSettings
import numpy as np
import pytest
from sensor_msgs_py import point_cloud2

K = np.array([[20.0, 0.0, 7.5], [0.0, 22.0, 5.5], [0.0, 0.0, 1.0]])
HEADER = to_header(1, 'camera')
HEIGHT, WIDTH = 12, 16


@pytest.fixture
def keyframe():
    """Give a keyframe with unknown, infinite and doubtful pixels."""
    random = np.random.default_rng(3)
    depth = random.uniform(0.5, 4.0, (HEIGHT, WIDTH)).astype(np.float32)
    depth[2, 3], depth[4, 4] = np.nan, np.inf
    confidence = random.uniform(1.0, 9.0, (HEIGHT, WIDTH)).astype(np.float32)
    image = random.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    return PosedKeyframe(0, 1, 'camera', image, depth, confidence, K, np.eye(4), 0, True)


def read(cloud):
    """Read all fields."""
    return point_cloud2.read_points(cloud, ['x', 'y', 'z', 'rgb', 'confidence'])


def positions(cloud):
    """Read the positions, (P, 3)."""
    return point_cloud2.read_points_numpy(cloud, ['x', 'y', 'z'])


def test_dense_cloud_has_every_known_pixel(keyframe):
    """Position, colour and confidence of each."""
    cloud = to_point_cloud(keyframe, keyframe.depth, PointSettings(), HEADER)
    known = np.isfinite(keyframe.depth)
    assert (cloud.height, cloud.width, cloud.is_dense) == (1, known.sum(), True)
    np.testing.assert_allclose(
        positions(cloud), camera.unproject(keyframe.depth, K)[known], rtol=1e-6)
    points = read(cloud)
    np.testing.assert_array_equal(points['confidence'], keyframe.confidence[known])
    colours = points['rgb'].view(np.uint32)
    rgb = np.stack([colours >> 16 & 255, colours >> 8 & 255, colours & 255], axis=1)
    np.testing.assert_array_equal(rgb, keyframe.image[known])


def test_organized_cloud_has_the_shape_of_the_image(keyframe):
    """Row by row, with NaN where nothing is known."""
    cloud = to_point_cloud(keyframe, keyframe.depth, PointSettings(organized=True), HEADER)
    assert (cloud.height, cloud.width) == (HEIGHT, WIDTH)
    assert cloud.row_step == WIDTH * cloud.point_step
    assert not cloud.is_dense
    grid = np.frombuffer(cloud.data, np.float32).reshape(HEIGHT, WIDTH, -1)
    known = np.isfinite(keyframe.depth)
    np.testing.assert_array_equal(np.isfinite(grid[..., :3]).all(axis=-1), known)
    np.testing.assert_allclose(
        grid[known][:, :3], camera.unproject(keyframe.depth, K)[known], rtol=1e-6)


def test_stride_range_and_confidence_thin_the_cloud(keyframe):
    """Exactly the pixels that pass remain."""
    settings = PointSettings(stride=2, max_m=2.0, min_confidence=4.0)
    cloud = to_point_cloud(keyframe, keyframe.depth, settings, HEADER)
    thinned = np.s_[::2, ::2]
    depth, confidence = keyframe.depth[thinned], keyframe.confidence[thinned]
    kept = (depth <= 2.0) & (confidence >= 4.0)
    assert 0 < kept.sum() < kept.size
    np.testing.assert_allclose(
        positions(cloud), camera.unproject(keyframe.depth, K)[thinned][kept], rtol=1e-6)


def test_voxels_thin_the_cloud_to_their_means(keyframe):
    """One point in each cube, in the frame of the cloud; nothing that the full cloud lacks."""
    voxel = 0.5
    full = to_point_cloud(keyframe, keyframe.depth, PointSettings(stride=2), HEADER)
    thin = to_point_cloud(
        keyframe, keyframe.depth, PointSettings(stride=2, voxel_m=voxel), HEADER)
    cells = np.floor(positions(full) / voxel)
    unique = np.unique(cells, axis=0)
    assert thin.width == len(unique) < full.width
    assert (thin.height, thin.is_dense, thin.fields) == (1, True, full.fields)
    thinned = {tuple(np.floor(p / voxel)): i for i, p in enumerate(positions(thin))}
    assert thinned.keys() == {tuple(cell) for cell in unique}
    confidence = read(full)['confidence']
    for cell, index in thinned.items():
        inside = (cells == cell).all(axis=1)
        assert read(thin)['confidence'][index] == pytest.approx(confidence[inside].mean())
        np.testing.assert_allclose(positions(thin)[index], np.average(
            positions(full)[inside], axis=0, weights=confidence[inside] - 1.0), atol=1e-4)
    bare = PosedKeyframe(**vars(keyframe) | {'confidence': None})
    cloud = to_point_cloud(bare, bare.depth, PointSettings(voxel_m=voxel), HEADER)
    assert np.isnan(read(cloud)['confidence']).all()


def test_world_points_are_moved(keyframe):
    """They lie where the pose puts them."""
    world_T_camera = rigid.from_rotation_translation(
        rigid.BODY_R_OPTICAL, np.array([1.0, 2.0, 3.0]))
    in_camera = to_point_cloud(keyframe, keyframe.depth, PointSettings(), HEADER)
    in_world = to_point_cloud(
        keyframe, keyframe.depth, PointSettings(), HEADER, frame_T_camera=world_T_camera)
    np.testing.assert_allclose(
        positions(in_world), rigid.transform_points(world_T_camera, positions(in_camera)),
        atol=1e-5)


def test_without_confidence_the_field_is_unknown(keyframe):
    """The fields stay the same for every network."""
    bare = PosedKeyframe(**vars(keyframe) | {'confidence': None})
    points = read(to_point_cloud(bare, bare.depth, PointSettings(min_confidence=5.0), HEADER))
    assert np.isnan(points['confidence']).all()
    assert len(points) == np.isfinite(bare.depth).sum()


def test_nothing_known_is_an_empty_cloud(keyframe):
    """No points, no error."""
    cloud = to_point_cloud(
        keyframe, np.full_like(keyframe.depth, np.nan), PointSettings(), HEADER)
    assert cloud.width == 0
    assert len(cloud.data) == 0
