# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Several cameras in one world, against an engine that knows the truth."""

from dataclasses import replace

from da3_ros.geometry import rigid
from da3_ros.mapping.config import RigConfig, ScaleConfig, WindowConfig
from da3_ros.mapping.pipeline import DepthPipeline
import numpy as np
from perfect_engine import frames, INTRINSICS, level_camera, PerfectEngine, PERIOD_NS
from pipeline_runs import EVERY_FRAME, indices, posed_keyframes, reports, run
import pytest
from scipy.spatial.transform import Rotation

CAMERAS = ('front', 'left', 'right')
NUM_INSTANTS = 24
OFFSETS_NS = {'front': 0, 'left': 15_000_000, 'right': -20_000_000}


def mount(number):
    """Give base_T_camera of a camera, (4, 4)."""
    turn = Rotation.from_euler('y', [0.0, -50.0, 50.0][number], degrees=True).as_matrix()
    return rigid.from_rotation_translation(turn, np.array([0.15 * number, 0.0, 0.1]))


def rig_poses(step_m=0.05):
    """Give the cameras' poses at their stamps on a robot that moves, by index, (N, 4, 4)."""
    poses = []
    for index in range(NUM_INSTANTS * len(CAMERAS)):
        instant, number = divmod(index, len(CAMERAS))
        steps = instant + OFFSETS_NS[CAMERAS[number]] / PERIOD_NS
        base = level_camera([step_m * steps, 0.0, 0.0], 0.2 * step_m * steps)
        poses.append(base @ mount(number))
    return np.stack(poses)


def rig_frames():
    """Make the frames of all cameras in the order of their stamps."""
    stream = []
    for index, frame in enumerate(frames(NUM_INSTANTS * len(CAMERAS))):
        instant, number = divmod(index, len(CAMERAS))
        camera = CAMERAS[number]
        stream.append(replace(
            frame, camera=camera, frame_id=f'{camera}_optical',
            stamp_ns=10**12 + instant * PERIOD_NS + OFFSETS_NS[camera],
            base_T_camera=mount(number)))
    return sorted(stream, key=lambda frame: frame.stamp_ns)


def rig_pipeline(engine, *, scale='none', **window):
    sizes = {'size': 9, 'stride': 2, 'min_views': 3} | window
    return DepthPipeline(engine, replace(
        EVERY_FRAME, rig=RigConfig(CAMERAS), window=WindowConfig(**sizes, num_cameras=3),
        scale=ScaleConfig(source=scale)))


def assert_true(posed, truth):
    """Check that all poses agree with the truth after one similarity."""
    first = truth[indices(posed)[0]]
    expected = rigid.inverse(first) @ truth[indices(posed)]
    found = np.stack([keyframe.odom_T_camera for keyframe in posed])
    found = rigid.inverse(found[0]) @ found
    far = np.argmax(np.linalg.norm(expected[:, :3, 3], axis=1))
    found[:, :3, 3] *= np.linalg.norm(expected[far, :3, 3]) / np.linalg.norm(found[far, :3, 3])
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize('size, stride', [(9, 2), (6, 1), (12, 3), (11, 2)])
def test_all_cameras_are_seen_together_in_one_world(size, stride):
    truth = rig_poses()
    engine = PerfectEngine(truth)
    stream = rig_frames()
    posed = posed_keyframes(run(rig_pipeline(engine, size=size, stride=stride), stream))
    assert sorted(indices(posed)) == list(range(len(truth)))
    for keyframe, index in zip(posed, indices(posed), strict=True):
        assert keyframe.camera == CAMERAS[index % 3]
        assert keyframe.frame_id == f'{keyframe.camera}_optical'
    assert {keyframe.segment for keyframe in posed} == {0}
    assert_true(posed, truth)
    for window in engine.windows:
        # Whole instants, but for the oldest one where the size is no multiple.
        assert len(window) % 3 == 0 or len(window) == size
    assert max(len(window) for window in engine.windows) == size


def test_one_camera_that_stops_leaves_the_world_of_the_others():
    truth = rig_poses()
    stream = [
        frame for i, frame in enumerate(rig_frames()) if frame.camera != 'front' or i < 30]
    posed = posed_keyframes(run(rig_pipeline(PerfectEngine(truth)), stream))
    assert len(posed) == len(stream)
    assert {keyframe.segment for keyframe in posed} == {0}
    assert_true(posed, truth)


def test_a_camera_without_calibration_gets_the_networks_and_the_others_keep_theirs():
    given = INTRINSICS * [[1.1], [1.1], [1.0]]
    pipeline = rig_pipeline(PerfectEngine(rig_poses()))
    stream = [
        replace(frame, intrinsics=None if frame.camera == 'left' else given)
        for frame in rig_frames()]
    posed = posed_keyframes(run(pipeline, stream))
    assert len(posed) == len(stream)
    for keyframe in posed:
        expected = INTRINSICS if keyframe.camera == 'left' else given
        np.testing.assert_allclose(keyframe.intrinsics, expected)


def test_a_camera_that_changes_begins_a_session_for_all():
    truth = rig_poses()
    stream = [
        replace(frame, frame_id='other') if frame.camera == 'left' and i >= 36 else frame
        for i, frame in enumerate(rig_frames())]
    posed = posed_keyframes(run(rig_pipeline(PerfectEngine(truth)), stream))
    assert len(posed) == len(stream)
    segments = [k.segment for k in posed]
    assert segments == sorted(segments)
    # The other cameras go on while the first image of the new kind waits to be confirmed.
    assert 36 <= segments.count(0) <= 36 + 2 * (len(CAMERAS) - 1)
    assert {k.segment for k in posed if k.frame_id == 'other'} == {1}


@pytest.mark.parametrize('step_m', [0.0, 0.1])
@pytest.mark.parametrize('camera_noise', [0.0, 0.01])
def test_the_distances_between_the_cameras_give_metres(step_m, camera_noise):
    """Also while the robot stands, and when cameras that move do not look at the same time."""
    engine = PerfectEngine(rig_poses(step_m), camera_noise=camera_noise)
    posed = posed_keyframes(run(rig_pipeline(engine, scale='rig'), rig_frames()))
    last = posed[-1]
    true = engine.room.depth(engine.poses[indices([last])[0]])
    assert last.is_metric
    assert np.median(last.depth / true) == pytest.approx(1.0, abs=0.002 + 3.0 * camera_noise)


def test_a_network_that_does_not_see_the_distances_gives_no_metres():
    """Nor a unit that means nothing."""
    engine = PerfectEngine(rig_poses(), camera_noise=0.3)
    updates = run(rig_pipeline(engine, scale='rig'), rig_frames())
    scales = [report.placement.scale for report in reports(updates)]
    assert not any(scale.is_metric for scale in scales)
    assert {scale.metres_per_unit for scale in scales} == {1.0}


def test_without_the_mountings_there_are_no_metres():
    pipeline = rig_pipeline(PerfectEngine(rig_poses()), scale='rig')
    stream = [
        replace(frame, base_T_camera=None) if frame.camera != 'left' else frame
        for frame in rig_frames()]
    posed = posed_keyframes(run(pipeline, stream))
    assert len(posed) == len(stream)
    assert not any(keyframe.is_metric for keyframe in posed)
