# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
The network against upstream's own, on the same random weights, in fp32 on the CPU.

Upstream is called without autocast. Where a processor's kernels do both alike, everything but
cameras from rays is equal to the last bit; where they do not, sums of another order differ by a
few roundings of what is summed. So errors are held against the size of the tensor: against an
entry near zero, where large numbers cancel, they say nothing.
"""

from dataclasses import dataclass

from da3_ros.model import MODELS, NetworkOutput
from da3_ros.model.camera_head import build_intrinsics, quaternion_to_rotation
import pytest
import torch
from torch import Tensor

LANDSCAPE, PORTRAIT, SQUARE = (56, 84), (84, 56), (56, 56)
WINDOWS = ((1, LANDSCAPE), (2, PORTRAIT), (3, SQUARE), (5, LANDSCAPE))
STRATEGIES = ('first', 'middle', 'saddle_balanced', 'saddle_sim_range')

SMALL = ('da3-tiny', 'da3-small', 'da3-base')
LARGE = tuple(name for name in MODELS if name not in SMALL)
LARGE_WITH_CAMERAS = tuple(name for name in LARGE if MODELS[name].has_cameras)

DEPTH_TOLERANCE = 1e-6
CAMERA_TOLERANCE = 1e-5


@dataclass(frozen=True, eq=False)
class Window:
    """What both networks get."""

    images: Tensor
    extrinsics: Tensor
    intrinsics: Tensor


def random_window(num_views: int, size: tuple[int, int], *, num_windows: int = 1) -> Window:
    random = torch.Generator().manual_seed(num_views)
    shape = (num_windows, num_views)
    rotation = quaternion_to_rotation(torch.randn(*shape, 4, generator=random))
    translation = torch.randn(*shape, 3, 1, generator=random)
    focal = size[1] * (1.0 + 0.5 * torch.rand(*shape, 2, generator=random))
    bottom = torch.tensor((0.0, 0.0, 0.0, 1.0)).expand(*shape, 1, 4)
    centre = torch.tensor((size[1] / 2, size[0] / 2))
    return Window(
        images=torch.randn(*shape, 3, *size, generator=random),
        extrinsics=torch.cat((torch.cat((rotation, translation), dim=-1), bottom), dim=-2),
        intrinsics=build_intrinsics(focal, centre.expand(*shape, 2)),
    )


def assert_close(ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    """Compare relative to the largest value."""
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) <= tolerance * float(theirs.abs().max())


def assert_equal_outputs(
    ours: NetworkOutput, theirs: dict[str, Tensor], camera_tolerance: float = CAMERA_TOLERANCE
) -> None:
    assert_close(ours.depth, theirs['depth'], DEPTH_TOLERANCE)
    assert float(ours.depth.std() / ours.depth.mean()) > 0.02, 'a constant would prove nothing'
    if ours.confidence is None:
        assert ours.extrinsics is None
        assert ours.intrinsics is None
        assert_close(ours.sky, theirs['sky'], DEPTH_TOLERANCE)
        num_sky = int((ours.sky >= 0.3).sum())
        assert 10 < num_sky < ours.sky.numel() - 10, 'no sky to fill would prove nothing'
        return
    assert_close(ours.confidence, theirs['depth_conf'], DEPTH_TOLERANCE)
    assert_close(ours.extrinsics, theirs['extrinsics'], camera_tolerance)
    assert_close(ours.intrinsics, theirs['intrinsics'], camera_tolerance)


@torch.no_grad()
def compare(pair, window: Window, *, posed: bool = False, **options) -> None:
    cameras = (window.extrinsics, window.intrinsics) if posed else ()
    ours = pair.ours(window.images, *cameras, **options)
    assert_equal_outputs(ours, pair.theirs(window.images, *cameras, **options))


@pytest.mark.parametrize('full_size', SMALL, indirect=True)
@pytest.mark.parametrize(('num_views', 'size'), WINDOWS)
def test_full_size(full_size, num_views, size):
    compare(full_size, random_window(num_views, size))


@pytest.mark.parametrize('full_size', SMALL, indirect=True)
@pytest.mark.parametrize(('num_views', 'size'), WINDOWS)
def test_full_size_with_given_cameras(full_size, num_views, size):
    compare(full_size, random_window(num_views, size), posed=True)


@pytest.mark.parametrize('narrowed', LARGE, indirect=True)
@pytest.mark.parametrize(('num_views', 'size'), WINDOWS)
def test_block_pattern(narrowed, num_views, size):
    compare(narrowed, random_window(num_views, size))


@pytest.mark.parametrize('narrowed', LARGE_WITH_CAMERAS, indirect=True)
@pytest.mark.parametrize(('num_views', 'size'), WINDOWS)
def test_block_pattern_with_given_cameras(narrowed, num_views, size):
    compare(narrowed, random_window(num_views, size), posed=True)


@pytest.mark.parametrize('strategy', STRATEGIES)
@pytest.mark.parametrize('narrowed', ['da3-small', 'da3-giant'], indirect=True)
@pytest.mark.parametrize('num_views', [2, 7])
def test_reference_views(narrowed, num_views, strategy):
    compare(narrowed, random_window(num_views, SQUARE), ref_view_strategy=strategy)


@pytest.mark.parametrize('narrowed', ['da3-small'], indirect=True)
def test_strategies_choose_different_views(narrowed):
    network = narrowed.ours
    images = random_window(7, SQUARE).images
    with torch.no_grad():
        poses = [network(images, ref_view_strategy=strategy).extrinsics for strategy in STRATEGIES]
    differences = [float((pose - poses[0]).abs().max()) for pose in poses[1:]]
    assert sum(difference > 1e-3 for difference in differences) >= 2


@pytest.mark.parametrize('narrowed', ['da3-small'], indirect=True)
def test_position_embedding_of_the_trained_size(narrowed):
    """At 518 x 518 the position embedding is taken as it is, not resampled."""
    compare(narrowed, random_window(1, (518, 518)))


@pytest.mark.parametrize('narrowed', ['da3-small', 'da3-giant', 'da3-large'], indirect=True)
def test_several_windows_at_once(narrowed):
    windows = random_window(3, SQUARE, num_windows=2)
    compare(narrowed, windows)
    compare(narrowed, windows, posed=True)


@pytest.mark.parametrize('narrowed', ['da3metric-large', 'da3nested-giant-large'], indirect=True)
def test_several_windows_are_as_each_alone(narrowed):
    """Upstream mixes windows here, so that each is compared with upstream's answer to it alone."""
    windows = random_window(9, SQUARE, num_windows=2)
    with torch.no_grad():
        ours = narrowed.ours(windows.images)
        for i, images in enumerate(windows.images):
            theirs = narrowed.theirs(images[None])
            assert_close(ours.depth[i:i + 1], theirs['depth'], DEPTH_TOLERANCE)
            if ours.extrinsics is not None:
                assert_close(ours.extrinsics[i:i + 1], theirs['extrinsics'], CAMERA_TOLERANCE)


@pytest.mark.parametrize('narrowed', ['da3-small'], indirect=True)
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('num_views', [1, 4])
def test_rounded_matrices_are_autocast(narrowed, dtype, num_views):
    """The rounding of every single operation is the one that upstream's autocast does on a GPU."""
    rounded = type(narrowed.ours)(narrowed.ours.config).eval()
    rounded.load_state_dict(narrowed.ours.state_dict())
    rounded.set_compute_dtype(dtype)
    # Autocast runs layer norms in fp32 on GPUs, but not on CPUs.
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
        for name, module in narrowed.theirs.named_modules()
        if name.endswith(('q_norm', 'k_norm'))
    ]
    images = random_window(num_views, LANDSCAPE).images
    with torch.no_grad():
        ours, exact = rounded(images), narrowed.ours(images)
        with torch.autocast('cpu', dtype=dtype):
            theirs = narrowed.theirs(images)
    for hook in hooks:
        hook.remove()
    assert_equal_outputs(ours, theirs)
    assert float((ours.depth / exact.depth - 1.0).abs().max()) > 1e-4


@pytest.mark.parity_full
@pytest.mark.parametrize('full_size', LARGE, indirect=True)
def test_full_size_of_large_variants(full_size):
    compare(full_size, random_window(3, LANDSCAPE))
    if full_size.ours.config.has_cameras:
        compare(full_size, random_window(2, PORTRAIT), posed=True)
