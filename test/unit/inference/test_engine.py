# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The engine: user units in, user units out, and every refusal named."""

from da3_ros.errors import NonFiniteError, PredictionError
from da3_ros.geometry import rigid
from da3_ros.inference import InferenceEngine
from da3_ros.inference.executor import WindowExecutor
from da3_ros.inference.preprocessing import normalize
from da3_ros.model.camera_head import Cameras
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
    # Pixels that are not square: upstream takes the mean of both focal lengths.
    intrinsics[:, 1, 1] *= 1.5
    factors = engine.infer(images, intrinsics=intrinsics).depth / canonical.depth
    assert np.allclose(factors, 1.25 * expected[:, None, None], rtol=1e-5)


def test_metres_of_views_without_focal_length_are_unknown_and_the_others_stay(networks):
    engine = InferenceEngine(networks('da3metric-large'), device='cpu', size=56)
    images, intrinsics = list(random_window(3)), random_intrinsics(3)
    known = engine.infer(images, intrinsics=intrinsics)
    intrinsics[1] = np.nan
    mixed = engine.infer(images, intrinsics=intrinsics)
    assert mixed.is_metric
    assert np.array_equal(mixed.depth[[0, 2]], known.depth[[0, 2]])
    assert np.isnan(mixed.depth[1]).all() and np.isnan(mixed.intrinsics[1]).all()
    intrinsics[:] = np.nan
    unknown = engine.infer(images, intrinsics=intrinsics)
    assert not unknown.is_metric
    assert np.array_equal(unknown.depth, engine.infer(images).depth)


def test_nested_variant_is_metric_and_marks_sky(networks):
    network = networks('da3nested-giant-large')
    window = random_window(3)
    prediction = InferenceEngine(network, device='cpu', size=56).infer(list(window))
    with torch.inference_mode():
        expected = network(normalize(torch.from_numpy(window))[None])
    assert prediction.is_metric and prediction.sky.dtype == np.bool_
    share = np.mean(prediction.sky != (expected.sky[0] >= SKY_THRESHOLD).numpy())
    assert share < 1e-3 and 0.1 < prediction.sky.mean() < 0.9


@pytest.fixture
def nested(networks):
    """Give an engine of a nested network that takes all views for equally wide."""
    network = networks('da3nested-giant-large')
    field_of_view = network.da3.cam_dec.fc_fov[0]
    with torch.no_grad():
        field_of_view.weight.zero_()
        field_of_view.bias.fill_(1.0)
    return InferenceEngine(network, device='cpu', size=56)


def metres_of(engine, images, intrinsics):
    """Return the metres of a nested network per unit of its main branch."""
    found = engine.infer(images, intrinsics=intrinsics)
    assert found.is_metric
    ground = ~found.sky
    plain = engine.infer(images)
    ratios = found.depth[ground] / plain.depth[ground]
    assert np.allclose(ratios, ratios[0], rtol=1e-5)
    assert np.allclose(found.poses[:, :3, 3], ratios[0] * plain.poses[:, :3, 3], rtol=1e-4)
    assert np.array_equal(found.poses[:, :3, :3], plain.poses[:, :3, :3])
    return float(ratios[0])


def test_nested_variant_measures_by_the_known_focal_length(nested):
    """Its metric branch's answer is for a focal length of 300 pixels, so metres go with it."""
    images = list(random_window(3))
    estimated = nested.infer(images).intrinsics
    assert metres_of(nested, images, estimated) == pytest.approx(1.0, rel=1e-5)
    known = 1.7 * estimated
    assert metres_of(nested, images, known) == pytest.approx(1.7, rel=1e-4)
    # As the estimated ones, by the mean of both focal lengths.
    known[:, 1, 1] = estimated[:, 1, 1]
    factor = (1.7 * estimated[0, 0, 0] + estimated[0, 1, 1]) / estimated[0, [0, 1], [0, 1]].sum()
    assert metres_of(nested, images, known) == pytest.approx(factor, rel=1e-4)
    # Of one view only: between no view and all.
    known = np.full_like(estimated, np.nan)
    known[1] = 1.7 * estimated[1]
    assert 1.01 < metres_of(nested, images, known) < 1.69


def test_nested_variant_standing_still_on_given_poses_measures_by_the_known_focal_length(nested):
    """Without a baseline only the metric branch knows the unit of the depth."""
    window, poses = random_window(2), np.tile(random_poses(1), (2, 1, 1))
    intrinsics = random_intrinsics(2)
    found = nested.infer(list(window), poses=poses, intrinsics=intrinsics)
    cameras = Cameras(
        torch.eye(4).expand(1, 2, 4, 4), torch.from_numpy(intrinsics)[None].float())
    by_estimate = WindowExecutor(nested._runner.network).run(window, cameras)
    estimated_px = float(by_estimate.intrinsics[0, :, [0, 1], [0, 1]].mean())
    expected = WindowExecutor(nested._runner.network).run(window, cameras, intrinsics[:, 0, 0])
    assert np.allclose(found.depth, expected.depth[0], rtol=1e-5)
    ratio = np.median(found.depth / by_estimate.depth[0].numpy())
    assert abs(ratio - 1.0) > 0.1
    low, high = sorted(intrinsics[:, 0, 0] / estimated_px)
    assert low < ratio < high


# Weights whose change spoils one kind of output: the index is of a channel.
SPOILT = {
    'translation': ('da3-small', 'cam_dec.fc_t.bias', 0, 'camera'),
    'rotation': ('da3-small', 'cam_dec.fc_qvec.bias', 1, 'camera'),
    'depth': ('da3-small', 'head.scratch.output_conv2.2.bias', 0, 'depth'),
    'confidence': ('da3-small', 'head.scratch.output_conv2.2.bias', 1, 'confidence'),
    'rays': ('da3-small', 'head.scratch.output_conv2_aux.3.5.bias', 2, 'rays'),
    'ray confidence': ('da3-small', 'head.scratch.output_conv2_aux.3.5.bias', 6, 'ray_conf'),
    'sky': ('da3mono-large', 'head.scratch.sky_output_conv2.2.bias', 0, 'sky'),
    'depth beside sky': ('da3mono-large', 'head.scratch.output_conv2.2.bias', 0, 'depth'),
    'nested confidence': (
        'da3nested-giant-large', 'da3.head.scratch.output_conv2.2.bias', 1, 'confidence'),
    'nested depth': ('da3nested-giant-large', 'da3.head.scratch.output_conv2.2.bias', 0, 'depth'),
    'nested sky': (
        'da3nested-giant-large', 'da3_metric.head.scratch.sky_output_conv2.2.bias', 0, 'sky'),
    'nested metres': (
        'da3nested-giant-large', 'da3_metric.head.scratch.output_conv2.2.bias', 0,
        'metric_depth'),
}


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
@pytest.mark.parametrize('kind', SPOILT)
def test_values_that_are_not_finite_are_one_kind_of_error_that_names_them(kind, value):
    """In the engine and in the network's own forward, whatever is computed from them."""
    name, where, channel, told = SPOILT[kind]
    network = build_reduced(name)
    with torch.no_grad():
        network.get_parameter(where)[channel] = value
    window = random_window(2)
    with_rays = 'ray' in kind
    with pytest.raises(NonFiniteError, match=f'^{told}.*%.*not finite'):
        network(normalize(torch.from_numpy(window))[None], use_ray_pose=with_rays)
    engine = InferenceEngine(network, device='cpu', size=56, use_ray_pose=with_rays)
    with pytest.raises(NonFiniteError, match=f'^{told}.*%.*not finite'):
        engine.infer(list(window))


def test_cameras_that_finite_values_do_not_make_are_another_kind():
    """No number format mends a rotation of zero length."""
    network = build_reduced('da3-small')
    with torch.no_grad():
        network.cam_dec.fc_qvec.weight.zero_()
        network.cam_dec.fc_qvec.bias.zero_()
    engine = InferenceEngine(network, device='cpu', dtype=torch.float16, size=56)
    with pytest.raises(PredictionError, match='poses: got values that are not finite') as caught:
        engine.infer(list(random_window(2)))
    assert not isinstance(caught.value, NonFiniteError)
    assert engine.dtype is torch.float16


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
