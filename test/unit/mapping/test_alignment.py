# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Two windows become one: every kind of motion and scene, noise, outliers, refusal."""

from da3_ros.errors import AlignmentError
from da3_ros.geometry import camera, rigid
from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.alignment import align, rejection
from da3_ros.mapping.config import AlignmentConfig
from da3_ros.mapping.keyframe import Keyframe
from da3_ros.mapping.samples import sample_view
from da3_ros.mapping.view import read_views
import numpy as np
from perfect_engine import frames, level_camera, PerfectEngine, Room
import pytest

CONFIG = AlignmentConfig()

MOTIONS = {
    'forward': [level_camera([0.1 * i, 0.0, 0.0], 0.0) for i in range(6)],
    'sideways': [level_camera([0.0, 0.1 * i, 0.0], 0.0) for i in range(6)],
    'rotation': [level_camera([0.0, 0.0, 0.0], 0.1 * i) for i in range(6)],
    'standing': [level_camera([0.0, 0.0, 0.0], 0.0) for i in range(6)],
    'single': [level_camera([0.0, 0.0, 0.0], 0.0)],
}
# A single wall fills the view: every point lies in one plane.
WALL = Room(lower=(-50.0, -50.0, -50.0), upper=(3.0, 50.0, 50.0))


def see(engine, count):
    """Infer the first views of a stream as one window."""
    stream = list(frames(count))
    keyframes = [Keyframe(i, frame) for i, frame in enumerate(stream)]
    intrinsics = camera.to_network(np.stack([frame.intrinsics for frame in stream]))
    return read_views(
        engine.infer([frame.image for frame in stream], intrinsics=intrinsics), keyframes
    )


def two_windows(poses, **engine_options):
    engine = PerfectEngine(poses, **engine_options)
    return tuple(
        tuple(sample_view(view, CONFIG.samples_per_view) for view in see(engine, len(poses)))
        for _ in range(2)
    )


def true_sim3(reference, window):
    """Read the relation off one camera and one pixel, which noise-free windows allow."""
    scale = float(np.nanmedian(reference[0].depth / window[0].depth))
    unscaled = Sim3.from_rigid(window[0].world_T_camera).inverse()
    return Sim3.from_rigid(reference[0].world_T_camera, scale=scale) @ unscaled


@pytest.mark.parametrize('room', [Room(), WALL], ids=['room', 'wall'])
@pytest.mark.parametrize('motion', MOTIONS)
def test_exact_windows_align_exactly(motion, room):
    reference, window = two_windows(MOTIONS[motion], room=room)
    alignment = align(reference, window, CONFIG)
    expected = true_sim3(reference, window)
    found = alignment.reference_S_window
    assert found.scale == pytest.approx(expected.scale, rel=1e-6)
    np.testing.assert_allclose(found.rotation, expected.rotation, atol=1e-6)
    np.testing.assert_allclose(found.translation, expected.translation, atol=1e-5)
    assert alignment.residual < 1e-5
    assert alignment.inlier_share == 1.0
    assert rejection(alignment, CONFIG) is None


@pytest.mark.parametrize('motion', MOTIONS)
def test_noise_and_outliers_leave_the_scale_within_a_thousandth(motion):
    reference, window = two_windows(MOTIONS[motion], seed=5, noise=0.01, outliers=0.2)
    alignment = align(reference, window, CONFIG)
    moved = [view.transformed(alignment.reference_S_window) for view in window]
    for ours, theirs in zip(moved, reference, strict=True):
        np.testing.assert_allclose(
            ours.world_T_camera[:3, :3], theirs.world_T_camera[:3, :3], atol=1e-6
        )
    ratio = np.log(np.concatenate([
        theirs.depth / ours.depth for theirs, ours in zip(reference, moved, strict=True)
    ]))
    assert abs(np.median(ratio[np.abs(ratio) < 0.05])) < 1e-3
    assert rejection(alignment, CONFIG) is None
    assert alignment.num_shared == len(reference)


def test_shared_points_agree_within_the_residual():
    reference, window = two_windows(MOTIONS['forward'], noise=0.01, outliers=0.2)
    alignment = align(reference, window, CONFIG)
    distances = np.concatenate([
        np.linalg.norm(
            theirs.points() - ours.transformed(alignment.reference_S_window).points(), axis=1
        ) / theirs.depth
        for theirs, ours in zip(reference, window, strict=True)
    ])
    assert np.median(distances) == pytest.approx(alignment.residual, rel=1e-2)
    assert 0.005 < alignment.residual < 0.03
    assert 0.5 < alignment.inlier_share < 0.8


def test_one_wrong_camera_does_not_move_the_others():
    reference, window = two_windows(MOTIONS['forward'])
    expected = true_sim3(reference, window)
    twist = rigid.from_rotation_translation(
        rigid.from_quaternion(np.array([0.0, 0.1, 0.0, 1.0])), np.array([0.3, 0.0, 0.0])
    )
    wrong = window[3].world_T_camera @ twist
    spoilt = list(window)
    spoilt[3] = type(window[3])(
        window[3].id, window[3].depth, window[3].weights, window[3].rays, wrong
    )
    found = align(reference, spoilt, CONFIG).reference_S_window
    np.testing.assert_allclose(found.rotation, expected.rotation, atol=2e-3)


def test_pixels_that_contradict_the_scale_say_nothing_about_the_cameras():
    """Those that one window sees right before the lens would leave only the centres to fit."""
    reference, window = two_windows(MOTIONS['forward'])
    expected = true_sim3(reference, window)
    random = np.random.default_rng(8)
    spread = np.linalg.norm(window[-1].world_T_camera[:3, 3] - window[0].world_T_camera[:3, 3])
    for view in window:
        view.world_T_camera[:3, 3] += 0.1 * spread * random.standard_normal(3)
        view.depth[::3] *= 1e-3
    found = align(reference, window, CONFIG).reference_S_window
    np.testing.assert_allclose(found.rotation, expected.rotation, atol=0.02)


def test_unknown_and_untrusted_pixels_do_not_count():
    reference, window = two_windows(MOTIONS['sideways'])
    expected = true_sim3(reference, window)
    for view in window:
        view.depth[::3] = np.nan
        view.depth[1::3] *= 7.0
        view.weights[1::3] = 0.0
    alignment = align(reference, window, CONFIG)
    assert alignment.reference_S_window.scale == pytest.approx(expected.scale, rel=1e-6)
    assert alignment.inlier_share == 1.0


def test_windows_of_different_places_are_refused():
    reference, _ = two_windows(MOTIONS['forward'])
    elsewhere = [level_camera([2.0, 3.0 * (-1) ** i, 0.0], 2.0 * i) for i in range(6)]
    _, window = two_windows(elsewhere)
    assert rejection(align(reference, window, CONFIG), CONFIG) is not None


def test_an_absurd_scale_is_refused():
    reference, window = two_windows(MOTIONS['forward'])
    tiny = [view.transformed(Sim3(1e-3, np.eye(3), np.zeros(3))) for view in window]
    alignment = align(reference, tiny, CONFIG)
    assert alignment.residual < 1e-5
    assert 'scale' in rejection(alignment, CONFIG)


def test_nothing_shared_is_an_error():
    reference, window = two_windows(MOTIONS['forward'])
    with pytest.raises(AlignmentError, match='share'):
        align(reference[:3], window[3:], CONFIG)
