# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
The executor beside the network's plain forward.

Every variant's block pattern at reduced width; every way to divide the work.
"""

from dataclasses import replace

from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.chunks import Chunks, view_slices
from da3_ros.inference.conditioning import condition_on
from da3_ros.inference.executor import WindowExecutor
from da3_ros.inference.preprocessing import normalize
from da3_ros.model import DepthAnything3, MODELS
from da3_ros.model.backbone import Backbone
from da3_ros.model.camera_head import Cameras
import numpy as np
import pytest
from reduced_networks import build_reduced, random_intrinsics, random_poses, random_window
import torch
import torch.nn.functional as F

MAIN = ['da3-small', 'da3-large', 'da3-giant', 'da3nested-giant-large']
VARIANTS = [*MAIN, 'da3metric-large', 'da3mono-large']
CHUNKS = [None, Chunks(1, 1, 1), Chunks(2, 3, 4), Chunks(4, 2, 3), Chunks(9, 9, 9)]


def plain(network, window, cameras=None, **options):
    given = (None, None) if cameras is None else (cameras.extrinsics, cameras.intrinsics)
    with torch.inference_mode():
        return network(normalize(torch.from_numpy(window))[None], *given, **options)


def run(network, window, cameras=None, *, chunks=None, **options):
    return WindowExecutor(network, ExecutorOptions(chunks=chunks), **options).run(window, cameras)


def assert_equal(found, expected, dense=1e-6, cameras=1e-5):
    """
    Compare against the size of each tensor.

    Kernels differ by processor and memory format in the order of their sums: 3e-7 of depth and
    confidence, 1.5e-6 of cameras. Sky is not an exponential but a sum itself, in which larger
    numbers cancel: 2.5e-6. Metres have the error of the focal length by which they are measured.
    """
    is_nested = expected.sky is not None and expected.extrinsics is not None
    for name, tolerance in (
        ('depth', cameras if is_nested else dense), ('confidence', dense), ('sky', 10 * dense),
        ('extrinsics', cameras), ('intrinsics', cameras),
    ):
        reference, value = getattr(expected, name), getattr(found, name)
        assert (value is None) == (reference is None), name
        if reference is not None:
            assert value.shape == reference.shape
            error = (value - reference).abs().max() / reference.abs().max()
            assert error <= tolerance, f'{name}: {error}'


def given_cameras(num_views, window):
    height, width = window.shape[1:3]
    conditioning = condition_on(
        random_poses(num_views), random_intrinsics(num_views, height, width)
    )
    return Cameras(
        torch.from_numpy(conditioning.extrinsics[None]).float(),
        torch.from_numpy(conditioning.intrinsics[None]).float(),
    )


@pytest.mark.parametrize('chunks', CHUNKS)
@pytest.mark.parametrize('name', VARIANTS)
def test_equal_to_the_plain_forward(networks, name, chunks):
    window = random_window(5)
    assert_equal(run(networks(name), window, chunks=chunks), plain(networks(name), window))


@pytest.mark.parametrize('num_views', [1, 2, 3, 7])
@pytest.mark.parametrize('name', ['da3-small', 'da3-giant'])
def test_any_number_of_views(networks, name, num_views):
    window = random_window(num_views, 56, 42)
    found = run(networks(name), window, chunks=Chunks(2, 2, 2))
    assert_equal(found, plain(networks(name), window))


@pytest.mark.parametrize('name', MAIN)
def test_with_given_cameras(networks, name):
    window = random_window(4)
    cameras = given_cameras(4, window)
    found = run(networks(name), window, cameras, chunks=Chunks(3, 2, 1))
    assert_equal(found, plain(networks(name), window, cameras))
    assert (found.depth - run(networks(name), window).depth).abs().max() > 1e-3


@pytest.mark.parametrize('strategy', ['first', 'middle', 'saddle_sim_range'])
def test_with_every_reference_strategy(networks, strategy):
    window = random_window(5, seed=1)
    network = networks('da3-large')
    found = run(network, window, chunks=Chunks(2, 2, 2), ref_view_strategy=strategy)
    assert_equal(found, plain(network, window, ref_view_strategy=strategy))


def test_ray_pose(networks):
    """Random rays hardly determine a camera, which magnifies rounding."""
    window = random_window(3, 112, 112)
    network = networks('da3-small')
    found = run(network, window, chunks=Chunks(2, 1, 2), use_ray_pose=True)
    assert_equal(found, plain(network, window, use_ray_pose=True), cameras=1e-3)


def test_last_level_wider_than_the_residual_stream():
    """Then it does not fit into the residual stream's memory."""
    network = build_reduced('da3-small')
    config = network.config
    assert config.head_channels[3] <= config.embed_dim
    wide = DepthAnything3(replace(config, head_channels=(8, 16, 32, 80))).eval()
    window = random_window(3)
    assert_equal(run(wide, window, chunks=Chunks(1, 2, 2)), plain(wide, window))


def test_features_on_the_host_are_exact(networks):
    network = networks('da3-large')
    window = random_window(4)
    options = ExecutorOptions(chunks=Chunks(2, 2, 2), features='host')
    assert_equal(WindowExecutor(network, options).run(window), plain(network, window))


def test_reduced_is_near_but_not_exact():
    network = build_reduced('da3-small')
    window = random_window(4)
    expected = plain(network, window)
    network.set_compute_dtype(torch.bfloat16)
    found = WindowExecutor(network, ExecutorOptions(reduced=True)).run(window)
    error = (found.depth - expected.depth).norm() / expected.depth.norm()
    assert 1e-4 < error < 0.1


def test_global_attention_sees_every_token(networks, monkeypatch):
    """Every query of a block over all views meets the keys of the whole window."""
    calls = []
    attention = F.scaled_dot_product_attention

    def spy(queries, keys, values, **kwargs):
        calls.append((queries.shape, keys.shape))
        return attention(queries, keys, values, **kwargs)

    monkeypatch.setattr(F, 'scaled_dot_product_attention', spy)
    num_views, tokens = 5, 3 * 4 + 1
    network = networks('da3-large')
    run(network, random_window(num_views), chunks=Chunks(2, 2, 2))
    across = [(queries, keys) for queries, keys in calls if keys[2] == num_views * tokens]
    within = [(queries, keys) for queries, keys in calls if keys[2] == tokens]
    assert len(across) + len(within) == len(calls)
    num_global = sum(network.config.is_global(i) for i in range(network.config.depth))
    num_local = network.config.depth - num_global
    assert sum(queries[2] for queries, _ in across) == num_global * num_views * tokens
    # The reference view passes through the block that gives cameras once more.
    assert sum(queries[0] for queries, _ in within) == num_local * num_views + 1


def test_the_backbone_runs_once_for_a_window(networks, monkeypatch):
    """Neither twice nor on parts of the window: every view is embedded exactly once."""
    network = networks('da3-small')
    embedded = []
    embed = network.backbone.pretrained.embed

    def spy(images, position_embedding):
        embedded.append(len(images))
        return embed(images, position_embedding)

    monkeypatch.setattr(network.backbone.pretrained, 'embed', spy)
    selections = []
    select = Backbone.select_reference

    def spy_selection(self, class_tokens, strategy):
        selections.append(class_tokens.shape[:2])
        return select(self, class_tokens, strategy)

    monkeypatch.setattr(Backbone, 'select_reference', spy_selection)
    run(network, random_window(7), chunks=Chunks(3, 2, 2))
    assert sum(embedded) == 7
    assert selections == [(1, 7)]


def test_a_view_changes_the_others(networks):
    """The windows are joint: no executor may drop the exchange between views."""
    window = random_window(4)
    other = window.copy()
    other[3] = 255 - other[3]
    chunks = Chunks(1, 1, 1)
    first = run(networks('da3-small'), window, chunks=chunks, ref_view_strategy='first').depth
    second = run(networks('da3-small'), other, chunks=chunks, ref_view_strategy='first').depth
    assert (first[0, 0] - second[0, 0]).abs().max() > 1e-4


@pytest.mark.parametrize(('images', 'message'), [
    (np.zeros((2, 43, 57, 3), np.uint8), r'images: got shape \(2, 43, 57, 3\)'),
    (np.zeros((2, 42, 57, 3), np.uint8), 'multiples of 14'),
    (np.zeros((0, 42, 56, 3), np.uint8), 'images: got shape'),
    (np.zeros((2, 0, 56, 3), np.uint8), 'images: got shape'),
    (np.zeros((42, 56, 3), np.uint8), 'images: got shape'),
    (np.zeros((2, 3, 42, 56), np.uint8), 'images: got shape'),
    (np.zeros((2, 42, 56, 3), np.float32), 'images: got float32, expected uint8'),
])
@pytest.mark.parametrize('name', ['da3-small', 'da3nested-giant-large', 'da3mono-large'])
def test_other_images_are_refused(networks, name, images, message):
    with pytest.raises(ValueError, match=message):
        run(networks(name), images)


def test_cameras_that_do_not_fit_are_refused(networks):
    window = random_window(3)
    cameras = given_cameras(3, window)
    for name in ('da3mono-large', 'da3metric-large'):
        with pytest.raises(ValueError, match=f'{name} takes none'):
            run(networks(name), window, cameras)
    for name in ('da3-small', 'da3nested-giant-large'):
        with pytest.raises(ValueError, match=r'extrinsics: got shape \(1, 3, 4, 4\)'):
            run(networks(name), window[:2], cameras)
        with pytest.raises(ValueError, match='intrinsics: got shape'):
            run(networks(name), window, replace(cameras, intrinsics=cameras.intrinsics[:, :2]))
        with pytest.raises(ValueError, match='intrinsics: got values that are not finite'):
            run(networks(name), window, replace(cameras, intrinsics=cameras.intrinsics * np.nan))


def test_focal_lengths_that_do_not_fit_are_refused(networks):
    window = random_window(2)
    with pytest.raises(ValueError, match='da3-small measures no metres'):
        WindowExecutor(networks('da3-small')).run(window, None, np.array([50.0, 60.0]))
    nested = WindowExecutor(networks('da3nested-giant-large'))
    for focal_px in ([50.0], [50.0, 0.0], [50.0, -3.0]):
        with pytest.raises(ValueError, match='focal_px: got'):
            nested.run(window, None, np.array(focal_px))


def test_options_that_the_variant_does_not_have_are_refused(networks):
    with pytest.raises(ValueError, match='use_ray_pose: got True, but da3mono-large'):
        WindowExecutor(networks('da3mono-large'), use_ray_pose=True)
    with pytest.raises(ValueError, match="ref_view_strategy: got 'last'"):
        WindowExecutor(networks('da3-small'), ref_view_strategy='last')


def test_weights_stay_as_they_are(networks):
    network = networks('da3-small')
    before = {key: value.clone() for key, value in network.state_dict().items()}
    run(network, random_window(2))
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


@pytest.mark.parametrize('num_views', [1, 2, 5, 16, 17, 100])
@pytest.mark.parametrize('chunk', [1, 3, 16, 22])
def test_slices_cover_the_views_once_and_evenly(num_views, chunk):
    slices = list(view_slices(num_views, chunk))
    sizes = [views.stop - views.start for views in slices]
    covered = np.concatenate([np.arange(num_views)[views] for views in slices])
    assert np.array_equal(covered, np.arange(num_views))
    assert max(sizes) <= chunk and max(sizes) - min(sizes) <= 1


def test_chunks_of_nothing_are_refused():
    with pytest.raises(ValueError, match='chunks'):
        Chunks(4, 0, 1)


def test_every_published_variant_is_covered():
    """Base is small at another width, tiny likewise."""
    assert set(MODELS) == {*VARIANTS, 'da3-base', 'da3-tiny'}
