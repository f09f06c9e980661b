# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The network as a whole: what must hold whatever its weights are."""

from da3_ros.model import MODELS
from da3_ros.model.camera_head import invert_rigid
from narrow_networks import build_narrow, narrow
import pytest
from random_weights import randomize
import torch

SIZE = (42, 56)


def build(name):
    config = narrow(MODELS[name], embed_dim=32, head_channels=(8, 8, 8, 8))
    network = build_narrow(config)
    randomize(network)
    return network


@pytest.fixture(scope='module')
def small():
    return build('da3-small')


def images_of(num_windows, num_views, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(num_windows, num_views, 3, *SIZE, generator=random)


@pytest.mark.parametrize('name', MODELS)
@torch.no_grad()
def test_shapes_and_ranges(name):
    network = build(name)
    output = network(images_of(2, 3))
    assert output.depth.shape == (2, 3, *SIZE)
    assert float(output.depth.min()) > 0.0
    config = network.config
    assert (output.sky is not None) == (config.head == 'dpt' or config.metric_branch is not None)
    if not config.has_cameras:
        assert output.confidence is output.extrinsics is output.intrinsics is None
        return
    assert output.confidence.shape == output.depth.shape
    assert float(output.confidence.min()) >= 1.0
    assert output.extrinsics.shape == (2, 3, 3, 4)
    rotation = output.extrinsics[..., :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).expand(2, 3, 3, 3))
    assert output.intrinsics.shape == (2, 3, 3, 3)
    centre = torch.tensor((SIZE[1] / 2, SIZE[0] / 2)).expand(2, 3, 2)
    assert torch.equal(output.intrinsics[..., :2, 2], centre)


@pytest.mark.parametrize('name', ['da3-small', 'da3mono-large', 'da3nested-giant-large'])
@torch.no_grad()
def test_windows_of_a_batch_do_not_see_each_other(name):
    network = build(name)
    images = images_of(2, 4)
    both, alone = network(images), network(images[1:])
    torch.testing.assert_close(both.depth[1:], alone.depth, rtol=1e-5, atol=0.0)
    if both.extrinsics is not None:
        torch.testing.assert_close(both.extrinsics[1:], alone.extrinsics, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_views_of_a_window_see_each_other(small):
    images = images_of(1, 4)
    changed = images.clone()
    changed[:, 3] = images_of(1, 1, seed=1)[:, 0]
    difference = small(images).depth[:, 0] - small(changed).depth[:, 0]
    assert float(difference.abs().max()) > 1e-3


@pytest.mark.parametrize('name', ['da3-small', 'da3-giant'])
@torch.no_grad()
def test_only_the_reference_has_a_place(name):
    """Reordering the other views reorders the results and changes nothing else."""
    network = build(name)
    images = images_of(1, 4)
    order = [0, 3, 1, 2]
    output = network(images, ref_view_strategy='first')
    reordered = network(images[:, order], ref_view_strategy='first')
    torch.testing.assert_close(reordered.depth, output.depth[:, order], rtol=1e-5, atol=0.0)
    torch.testing.assert_close(
        reordered.extrinsics, output.extrinsics[:, order], rtol=1e-5, atol=1e-5
    )
    swapped = network(images[:, [1, 0, 2, 3]], ref_view_strategy='first')
    assert float((swapped.depth[:, [1, 0, 2, 3]] - output.depth).abs().max()) > 1e-3


@torch.no_grad()
def test_given_cameras_count(small):
    images = images_of(1, 3)
    plain = small(images)
    given = small(images, plain.extrinsics, plain.intrinsics)
    moved = small(images, plain.extrinsics + 0.1, plain.intrinsics)
    assert float((given.depth - plain.depth).abs().max()) > 1e-3
    assert float((given.depth - moved.depth).abs().max()) > 1e-4
    homogeneous = torch.cat(
        (plain.extrinsics, torch.tensor((0.0, 0.0, 0.0, 1.0)).expand(1, 3, 1, 4)), dim=-2
    )
    assert torch.equal(small(images, homogeneous, plain.intrinsics).depth, given.depth)


def test_everything_that_is_trained_gets_a_gradient(small):
    images = images_of(1, 2).requires_grad_()
    raw = small.raw(images)
    poses = invert_rigid(small(images).extrinsics.detach())
    given = small.raw(images, poses, small(images).intrinsics.detach())
    losses = (
        raw.depth, raw.confidence, raw.camera, raw.rays, raw.ray_confidence, given.depth
    )
    sum(values.square().mean() for values in losses).backward()
    # Of the ray outputs that the published weights hold for four levels, one is used.
    unused = {f'head.scratch.output_conv{i}_aux.{level}.' for i in (1, 2) for level in range(3)}
    for name, parameter in small.named_parameters():
        if not name.startswith(tuple(unused)):
            assert parameter.grad is not None, name
            assert float(parameter.grad.abs().max()) > 0.0, name
    assert float(images.grad.abs().max()) > 0.0
    small.zero_grad()


@pytest.mark.parametrize('name', ['da3-small', 'da3nested-giant-large'])
@torch.no_grad()
def test_equal_input_gives_equal_output_and_draws_no_random_numbers(name):
    network = build(name)
    images = images_of(1, 3)
    state = torch.get_rng_state()
    first = network(images, use_ray_pose=True)
    torch.manual_seed(99)
    second = network(images, use_ray_pose=True)
    torch.set_rng_state(state)
    for field in ('depth', 'confidence', 'extrinsics', 'intrinsics'):
        assert torch.equal(getattr(first, field), getattr(second, field))
    network(images, use_ray_pose=True)
    assert torch.equal(torch.get_rng_state(), state)


@torch.no_grad()
def test_inputs_stay_as_they_are(small):
    images = images_of(1, 3)
    output = small(images)
    given = (images, output.extrinsics, output.intrinsics)
    copies = [tensor.clone() for tensor in given]
    small(*given, use_ray_pose=True)
    assert all(torch.equal(tensor, copy) for tensor, copy in zip(given, copies, strict=True))


@torch.no_grad()
def test_cameras_from_rays_replace_those_of_the_decoder(small):
    images = images_of(1, 3)
    decoded, from_rays = small(images), small(images, use_ray_pose=True)
    assert torch.equal(decoded.depth, from_rays.depth)
    assert float((decoded.extrinsics - from_rays.extrinsics).abs().max()) > 1e-2
    assert small.raw(images, with_rays=False).rays is None


def test_compute_dtype_rounds_matrices_only(small):
    network = build('da3-small')
    network.set_compute_dtype(torch.bfloat16)
    rounded = {
        name for name, value in network.state_dict().items() if value.dtype == torch.bfloat16
    }
    expected = ('.qkv.', '.proj.', '.fc1.', '.fc2.')
    assert rounded == {
        name
        for name in network.state_dict()
        if name.startswith('backbone.') and any(part in name for part in expected)
    }
    with torch.no_grad():
        output, exact = network(images_of(1, 3)), small(images_of(1, 3))
    assert output.depth.dtype == output.extrinsics.dtype == torch.float32
    torch.testing.assert_close(output.depth, exact.depth, rtol=0.05, atol=0.0)


CAMERAS = (torch.eye(4)[:3].expand(1, 2, 3, 4), torch.eye(3).expand(1, 2, 3, 3))


@pytest.mark.parametrize(
    ('name', 'shape', 'options', 'message'),
    [
        ('da3-small', (2, 3, 42, 56), {}, r'images: got shape \(2, 3, 42, 56\), expected'),
        ('da3-small', (1, 2, 4, 42, 56), {}, 'images: got shape'),
        ('da3-small', (1, 2, 3, 42, 57), {}, 'images: .* multiples of 14'),
        ('da3-small', (1, 2, 3, 42, 56), {'extrinsics': CAMERAS[0]}, 'got one of them'),
        (
            'da3-small', (1, 3, 3, 42, 56),
            {'extrinsics': CAMERAS[0], 'intrinsics': CAMERAS[1]},
            r'extrinsics: got shape \(1, 2, 3, 4\)',
        ),
        (
            'da3-small', (1, 2, 3, 42, 56),
            {'extrinsics': CAMERAS[0], 'intrinsics': CAMERAS[0]},
            r'intrinsics: got shape \(1, 2, 3, 4\)',
        ),
        (
            'da3mono-large', (1, 2, 3, 42, 56),
            {'extrinsics': CAMERAS[0], 'intrinsics': CAMERAS[1]},
            'da3mono-large takes none',
        ),
        ('da3mono-large', (1, 2, 3, 42, 56), {'use_ray_pose': True}, 'predicts no rays'),
        (
            'da3-small', (1, 2, 3, 42, 56), {'ref_view_strategy': 'last'},
            "ref_view_strategy: got 'last', expected one of first, middle",
        ),
    ],
)
def test_arguments_that_do_not_fit(name, shape, options, message):
    with pytest.raises(ValueError, match=message):
        build(name)(torch.zeros(shape), **options)
