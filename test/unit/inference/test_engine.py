# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The engine: user units in, user units out, and every refusal named."""

from da3_ros.errors import PredictionError
from da3_ros.geometry import rigid
from da3_ros.inference import InferenceEngine
from da3_ros.inference.preprocessing import normalize
from da3_ros.model.sky import SKY_THRESHOLD
import numpy as np
import pytest
from reduced_networks import build_reduced, random_intrinsics, random_poses, random_window
import torch


@pytest.fixture
def engine(networks):
    return InferenceEngine(networks('da3-small'), device='cpu', size=56)


def test_a_prediction_is_complete_and_at_process_resolution(engine):
    images = list(random_window(3, 90, 120))
    prediction = engine.infer(images)
    assert prediction.num_views == 3
    assert prediction.images.shape == (3, 42, 56, 3) and prediction.images.dtype == np.uint8
    assert prediction.depth.shape == (3, 42, 56) and prediction.depth.dtype == np.float32
    assert prediction.confidence.shape == (3, 42, 56) and prediction.confidence.min() >= 1.0
    assert prediction.intrinsics.shape == (3, 3, 3) and prediction.intrinsics.dtype == np.float64
    assert prediction.poses.shape == (3, 4, 4) and prediction.poses.dtype == np.float64
    assert prediction.sky is None and not prediction.is_metric


def test_poses_are_the_inverse_of_the_networks_extrinsics(networks):
    network = networks('da3-small')
    window = random_window(4)
    prediction = InferenceEngine(network, device='cpu', size=56).infer(list(window))
    with torch.inference_mode():
        expected = network(normalize(torch.from_numpy(window))[None])
    product = expected.extrinsics[0].double().numpy() @ prediction.poses
    assert np.allclose(product, np.eye(4)[:3], atol=1e-4)
    rotations = prediction.poses[:, :3, :3]
    assert np.allclose(rotations @ np.swapaxes(rotations, 1, 2), np.eye(3), atol=1e-5)


def test_given_intrinsics_replace_the_estimated_ones_and_change_nothing_else(engine):
    images, intrinsics = list(random_window(3)), random_intrinsics(3)
    known = engine.infer(images, intrinsics=intrinsics)
    estimated = engine.infer(images)
    assert np.allclose(known.intrinsics, intrinsics)
    assert not np.allclose(estimated.intrinsics, intrinsics)
    assert np.array_equal(known.depth, estimated.depth)
    assert np.array_equal(known.poses, estimated.poses)


def test_intrinsics_may_be_known_of_some_views_only(engine):
    """A rig in which one camera has no CameraInfo."""
    images, intrinsics = list(random_window(3, 90, 120)), random_intrinsics(3)
    mixed = intrinsics.copy()
    mixed[1] = np.nan
    known = engine.infer(images, intrinsics=intrinsics).intrinsics
    estimated = engine.infer(images).intrinsics
    found = engine.infer(images, intrinsics=mixed).intrinsics
    assert np.array_equal(found[[0, 2]], known[[0, 2]])
    assert np.array_equal(found[1], estimated[1])
    with pytest.raises(ValueError, match='expected those of all images'):
        engine.infer(images, intrinsics=mixed, poses=random_poses(3))


def test_given_poses_come_back_and_set_the_unit(engine):
    """The same scene with poses in another unit and world: the depth scales, nothing else."""
    images = list(random_window(4))
    poses, intrinsics = random_poses(4), random_intrinsics(4)
    poses[:, :3, 3] *= 5.0
    plain = engine.infer(images, poses=poses, intrinsics=intrinsics)
    assert np.array_equal(plain.poses, poses)
    assert np.allclose(plain.intrinsics, intrinsics)

    rng = np.random.default_rng(9)
    moved = rigid.from_rotation_translation(
        rigid.from_quaternion(rng.normal(size=4)), rng.normal(size=3)
    ) @ poses
    moved[:, :3, 3] *= 3.0
    scaled = engine.infer(images, poses=moved, intrinsics=intrinsics)
    assert np.array_equal(scaled.poses, moved)
    assert np.allclose(scaled.depth, 3.0 * plain.depth, rtol=1e-3)
    assert np.abs(plain.depth - engine.infer(images).depth).max() > 1e-3


@pytest.mark.parametrize('num_views', [1, 2, 5, 11])
def test_standing_still_is_no_failure(engine, num_views):
    """Upstream's alignment fails where all given poses are one."""
    poses = np.tile(random_poses(1), (num_views, 1, 1))
    images = list(random_window(num_views))
    prediction = engine.infer(images, poses=poses, intrinsics=random_intrinsics(num_views))
    assert np.isfinite(prediction.depth).all() and (prediction.depth > 0.0).all()


def test_metric_variant_needs_the_focal_length_for_metres(networks):
    engine = InferenceEngine(networks('da3metric-large'), device='cpu', size=56)
    images = list(random_window(2))
    intrinsics = random_intrinsics(2)
    canonical = engine.infer(images)
    metric = engine.infer(images, intrinsics=intrinsics)
    assert not canonical.is_metric and canonical.intrinsics is None and canonical.poses is None
    assert metric.is_metric and np.allclose(metric.intrinsics, intrinsics)
    factors = metric.depth / canonical.depth
    expected = intrinsics[:, 0, 0] / 300.0
    assert np.allclose(factors, expected[:, None, None], rtol=1e-5)


def test_nested_variant_is_metric_and_marks_sky(networks):
    network = networks('da3nested-giant-large')
    window = random_window(3)
    prediction = InferenceEngine(network, device='cpu', size=56).infer(list(window))
    with torch.inference_mode():
        expected = network(normalize(torch.from_numpy(window))[None])
    assert prediction.is_metric and prediction.sky.dtype == np.bool_
    share = np.mean(prediction.sky != (expected.sky[0] >= SKY_THRESHOLD).numpy())
    assert share < 1e-3 and 0.1 < prediction.sky.mean() < 0.9


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
@pytest.mark.parametrize('where', ['cam_dec.fc_t.bias', 'head.scratch.output_conv2.2.bias'])
def test_values_that_are_not_finite_are_an_error(value, where):
    network = build_reduced('da3-small')
    with torch.no_grad():
        network.get_parameter(where).fill_(value)
    with pytest.raises(PredictionError, match='not finite'):
        InferenceEngine(network, device='cpu', size=56).infer(list(random_window(2)))


def test_bad_arguments_are_named(engine, networks):
    images, poses, intrinsics = list(random_window(3)), random_poses(3), random_intrinsics(3)
    with pytest.raises(ValueError, match='images'):
        engine.infer([])
    with pytest.raises(ValueError, match='intrinsics'):
        engine.infer(images, poses=poses)
    with pytest.raises(ValueError, match='poses'):
        engine.infer(images, poses=poses[:2], intrinsics=intrinsics)
    with pytest.raises(ValueError, match='poses'):
        engine.infer(images, poses=2.0 * poses, intrinsics=intrinsics)
    metric = InferenceEngine(networks('da3metric-large'), device='cpu', size=56)
    with pytest.raises(ValueError, match='da3metric-large takes none'):
        metric.infer(images, poses=poses, intrinsics=intrinsics)
    with pytest.raises(ValueError, match='use_ray_pose'):
        InferenceEngine(networks('da3metric-large'), device='cpu', use_ray_pose=True)
    with pytest.raises(ValueError, match='ref_view_strategy'):
        InferenceEngine(networks('da3-small'), device='cpu', ref_view_strategy='last')
