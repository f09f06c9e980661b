# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The classical methods beside the network find cameras, or say that they do not."""

from itertools import combinations
from pathlib import Path

from accuracy import classical_rows
from classical import structure_from_motion, two_view_motions
from da3_ros.geometry import rigid
from da3_ros.mapping.keyframe import Frame
from da3_ros.simulation.generator import generate_scene
from da3_ros.simulation.lens import Lens
from da3_ros.simulation.sensor import capture, Sensor
from da3_ros.simulation.trajectory import Motion, plan_path
import numpy as np
import pytest
from streams import Stream, tum
import torch

from training.metrics import floor, score, score_motions, Truth

_RECORDED = Path(__file__).parents[4] / 'shared' / 'data' / 'tum_fr3_17'
_LENS = Lens(320, 240, 70.0)
_BLANK = [np.full((240, 320, 3), 128, np.uint8)] * 3


@pytest.fixture(scope='module')
def walk():
    """Return the images and true poses of four views of a room."""
    scene = generate_scene(11)
    path = plan_path(scene, 11, motion=Motion.ARC, num_frames=4, rate_hz=1.5)
    shots = [capture(scene, _LENS, path, i, sensor=Sensor(num_samples=1), seed=11)
             for i in range(4)]
    return [shot.image for shot in shots], np.stack([shot.world_T_camera for shot in shots])


def misfits(motions, poses):
    """Return the errors of rotations and directions [deg] of all pairs."""
    errors = []
    for motion, (first, second) in zip(motions, combinations(poses, 2), strict=True):
        true = rigid.inverse(first) @ second
        cosine = motion[:, 3] @ true[:3, 3] / np.linalg.norm(true[:3, 3])
        angles = rigid.rotation_angle(motion[:, :3].T @ true[:3, :3]), np.arccos(cosine)
        errors.append(np.degrees(angles))
    return np.array(errors).T


def test_two_views_give_the_motion(walk):
    rotation, direction = misfits(two_view_motions(walk[0], _LENS.intrinsics), walk[1])
    assert np.median(rotation) < 0.5 and np.median(direction) < 3.0


def test_images_that_show_nothing_give_no_motion():
    motions = two_view_motions(_BLANK, _LENS.intrinsics)
    np.testing.assert_array_equal(motions, np.tile(np.eye(3, 4), (3, 1, 1)))


@pytest.mark.skipif(not _RECORDED.is_dir(), reason=f'needs the recorded scenes in {_RECORDED}')
def test_two_recorded_views_give_what_motion_capture_saw():
    stream = tum(_RECORDED)
    motions = two_view_motions(
        [frame.image for frame in stream.frames[:2]], stream.frames[0].intrinsics)
    rotation, direction = misfits(motions, stream.poses[:2])
    assert rotation[0] < 1.0 and direction[0] < 4.0


def test_motions_and_poses_score_alike(walk):
    _, poses = walk
    truth = Truth(torch.full((1, 4, 6, 8), 3.0), torch.from_numpy(poses)[None])
    found = poses @ rigid.from_rotation_translation(np.eye(3), np.array([0.02, 0.0, 0.0]))
    found[1, :3, 3] += 0.3
    motions = np.stack([(rigid.inverse(a) @ b)[:3] for a, b in combinations(found, 2)])
    motions[..., 3] *= np.arange(1.0, 7.0)[:, None]
    pairs = score_motions(torch.from_numpy(motions)[None], truth)
    whole = score(truth.depth, torch.from_numpy(found)[None], truth)
    assert (pairs.rotation_deg, pairs.direction_deg, pairs.auc_5, pairs.auc_30) == pytest.approx(
        (whole.rotation_deg, whole.direction_deg, whole.auc_5, whole.auc_30), abs=1e-4)
    assert whole.auc_30 < 90.0 and np.isnan([pairs.abs_rel, pairs.ate_percent]).all()


def test_what_is_not_found_counts_as_no_motion(walk):
    """A stream that shows nothing gets the floor's scores, and says how little was found."""
    images = [np.full((60, 80, 3), 128, np.uint8)] * 4
    frames = tuple(Frame(i, image, _LENS.intrinsics) for i, image in enumerate(images))
    stream = Stream('blank', frames, walk[1], ())
    truth = Truth(torch.full((1, 4, 6, 8), 3.0), torch.from_numpy(walk[1])[None])
    still = floor(truth)
    rows = list(classical_rows(stream, truth, 4))
    assert rows[0].name == 'blank: OpenCV, two views (0% of the pairs)'
    assert all((row.scores.rotation_deg, row.scores.direction_deg, row.scores.auc_30) == (
        still.rotation_deg, 90.0, 0.0) for row in rows)
    assert all(np.isnan(row.scores.abs_rel) and row.num_windows == 1 for row in rows)
    if len(rows) > 1:
        assert rows[1].name == 'blank: COLMAP (0% of the images)'
        assert rows[1].scores.ate_percent == pytest.approx(still.ate_percent)


def test_colmap_places_a_walk(walk):
    pytest.importorskip('pycolmap', reason='COLMAP is not installed: pip install pycolmap')
    images, true = walk
    placed = structure_from_motion(images, _LENS.intrinsics)
    assert all(pose is not None for pose in placed)
    motions = [(rigid.inverse(a) @ b)[:3] for a, b in combinations(placed, 2)]
    motions = [np.column_stack([m[:, :3], m[:, 3] / np.linalg.norm(m[:, 3])]) for m in motions]
    rotation, direction = misfits(motions, true)
    assert np.median(rotation) < 0.5 and np.median(direction) < 3.0


def test_colmap_says_what_it_cannot_place():
    pytest.importorskip('pycolmap', reason='COLMAP is not installed: pip install pycolmap')
    assert structure_from_motion(_BLANK, _LENS.intrinsics) == [None, None, None]
