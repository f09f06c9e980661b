# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Sky, and the metric scale of the nested network."""

from da3_ros.errors import PredictionError
from da3_ros.model import MODELS, NetworkOutput
from da3_ros.model import sky as sky_module
from da3_ros.model.camera_head import build_intrinsics
from da3_ros.model.nested import to_metres
from da3_ros.model.sky import fill_sky, quantile
import pytest
import torch

SHAPE = (2, 3, 20, 30)
METRIC = MODELS['da3metric-large']


def uniform(low, high, *shape, seed=0):
    random = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(shape, generator=random)


@pytest.mark.parametrize('fraction', [0.0, 0.31, 0.5, 0.99, 1.0])
@pytest.mark.parametrize('size', [1, 2, 1001])
def test_quantile(size, fraction):
    values = uniform(-1.0, 1.0, size)
    found = quantile(values, fraction, without=torch.zeros(size, dtype=torch.bool))
    torch.testing.assert_close(found, torch.quantile(values, fraction))


def test_quantile_of_few_different_values_leaves_out_what_does_not_count():
    values = torch.tensor([-torch.inf, -2.0, -0.0, 0.0, 0.0, 3.0, 3.0, 3e38, torch.inf, 5.0])
    without = values == 5.0
    for index, expected in enumerate(values[:-1]):
        assert quantile(values, index / 8, without=without) == expected
    assert quantile(values, 4.5 / 8, without=without) == 1.5


def test_quantile_of_more_values_than_are_counted_at_once(monkeypatch):
    monkeypatch.setattr(sky_module, 'VALUES_AT_ONCE', 7)
    values = uniform(0.0, 1.0, 5, 20)
    without = uniform(0.0, 1.0, 5, 20, seed=1) < 0.3
    found = quantile(values, 0.7, without=without)
    torch.testing.assert_close(found, torch.quantile(values[~without], 0.7))


def test_sky_gets_a_far_depth_of_its_own_window():
    depth, sky = uniform(1.0, 2.0, *SHAPE), torch.zeros(SHAPE)
    depth[1] *= 10.0
    sky[:, 0, :5] = 0.4
    filled = fill_sky(depth, sky)
    is_sky = sky >= 0.3
    assert torch.equal(filled[~is_sky], depth[~is_sky])
    for window in (0, 1):
        far = torch.quantile(depth[window][~is_sky[window]], 0.99)
        torch.testing.assert_close(filled[window][is_sky[window]], far.expand(150))


@pytest.mark.parametrize('num_sky', [0, 5, 20 * 30 * 3 - 5, 20 * 30 * 3])
def test_windows_without_sky_or_without_ground_stay(num_sky):
    depth = uniform(1.0, 2.0, 1, *SHAPE[1:])
    sky = torch.zeros(1, *SHAPE[1:])
    sky.view(-1)[:num_sky] = 1.0
    assert torch.equal(fill_sky(depth, sky), depth)


def output_of(depth, confidence=None):
    focal = torch.tensor((200.0, 250.0)).expand(*SHAPE[:2], 2)
    centre = torch.tensor((15.0, 10.0)).expand(*SHAPE[:2], 2)
    return NetworkOutput(
        depth=depth,
        confidence=uniform(1.0, 3.0, *SHAPE, seed=1) if confidence is None else confidence,
        extrinsics=uniform(-1.0, 1.0, *SHAPE[:2], 3, 4, seed=2),
        intrinsics=build_intrinsics(focal, centre),
    )


def metric_of(metres):
    """Return what a metric branch would say: its answer is for a focal length of 300 pixels."""
    return metres * 300.0 / 225.0


def test_every_window_gets_its_own_scale():
    depth = uniform(1.0, 2.0, *SHAPE)
    factors = torch.tensor((2.5, 0.4))[:, None, None, None]
    output = output_of(depth)
    metres = to_metres(output, metric_of(factors * depth), torch.zeros(SHAPE), METRIC)
    torch.testing.assert_close(metres.depth, factors * depth)
    translation = factors[..., 0] * output.extrinsics[..., 3]
    torch.testing.assert_close(metres.extrinsics[..., 3], translation)
    assert torch.equal(metres.extrinsics[..., :3], output.extrinsics[..., :3])
    assert torch.equal(metres.confidence, output.confidence)


def test_the_scale_is_found_by_confident_ground():
    """What the branches say of sky, of unconfident and of invalid pixels does not count."""
    depth = uniform(1.0, 2.0, *SHAPE)
    confidence, sky = torch.full(SHAPE, 3.0), torch.zeros(SHAPE)
    answer = metric_of(2.0 * depth)
    confidence[..., :10, :] = 1.5
    answer[..., :10, :] = 100.0
    sky[..., :3] = 1.0
    answer[..., :3] = 100.0
    answer[..., 5] = 1e-3
    output = to_metres(output_of(depth, confidence), answer, sky, METRIC)
    is_sky = sky >= 0.3
    torch.testing.assert_close(output.depth[~is_sky], 2.0 * depth[~is_sky])
    assert torch.equal(output.sky, sky)


def test_the_scale_is_not_found_by_depth_that_the_main_branch_does_not_have():
    """So near that its own rounding is all there is, while the metric branch sees a wall."""
    depth = uniform(1.0, 2.0, *SHAPE)
    answer = metric_of(2.0 * depth)
    depth[..., :5] = 9e-4
    # Of a pixel so near, only an absurd answer weighs.
    answer[..., :5] = 1e7
    output = to_metres(output_of(depth), answer, torch.zeros(SHAPE), METRIC)
    torch.testing.assert_close(output.depth, 2.0 * depth)


def test_known_focal_lengths_go_before_estimated_ones():
    """Each view's, where it is known; metres go with the focal length."""
    depth = uniform(1.0, 2.0, *SHAPE)
    answer, sky = metric_of(2.0 * depth), torch.zeros(SHAPE)
    unknown = torch.full(SHAPE[:2], torch.nan)
    plain = to_metres(output_of(depth), answer, sky, METRIC, focal_px=unknown)
    assert torch.equal(plain.depth, to_metres(output_of(depth), answer, sky, METRIC).depth)
    known = torch.tensor((450.0, 675.0))[:, None].expand(SHAPE[:2])
    found = to_metres(output_of(depth), answer, sky, METRIC, focal_px=known)
    torch.testing.assert_close(found.depth[0], 4.0 * depth[0])
    torch.testing.assert_close(found.depth[1], 6.0 * depth[1])
    # Two views of three by the estimated one: answers that agree only with what is known of each.
    answer[:, 0] /= 2.0
    known = unknown.clone()
    known[:, 0] = 450.0
    mixed = to_metres(output_of(depth), answer, sky, METRIC, focal_px=known)
    torch.testing.assert_close(mixed.depth, 2.0 * depth)


def test_sky_is_far_and_certain():
    depth, sky = uniform(1.0, 2.0, *SHAPE), torch.zeros(SHAPE)
    sky[..., :3] = 1.0
    near = to_metres(output_of(depth), metric_of(2.0 * depth), sky, METRIC)
    assert torch.equal(near.confidence[..., :3], torch.ones(*SHAPE[:3], 3))
    far = torch.quantile(2.0 * depth[0][..., 3:], 0.99)
    torch.testing.assert_close(near.depth[0, ..., :3], far.expand(3, 20, 3))
    distant = to_metres(output_of(depth), metric_of(500.0 * depth), sky, METRIC)
    assert torch.equal(distant.depth[..., :3], torch.full((*SHAPE[:3], 3), 200.0))


def test_windows_without_ground_have_no_scale():
    depth = uniform(1.0, 2.0, *SHAPE)
    with pytest.raises(PredictionError, match='0 pixels are not sky'):
        to_metres(output_of(depth), depth, torch.ones(SHAPE), METRIC)
    with pytest.raises(PredictionError, match='no confident pixel has a depth in both'):
        to_metres(output_of(depth), torch.zeros(SHAPE), torch.zeros(SHAPE), METRIC)


def test_parts_that_do_not_belong_together():
    depth = torch.ones(SHAPE)
    with pytest.raises(ValueError, match='no confidence or cameras'):
        to_metres(NetworkOutput(depth), depth, depth, METRIC)
    with pytest.raises(ValueError, match='da3mono-large'):
        to_metres(output_of(depth), depth, depth, MODELS['da3mono-large'])
