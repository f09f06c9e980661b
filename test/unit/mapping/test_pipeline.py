# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The whole product without ROS, against an engine that knows the truth."""

from dataclasses import replace
from itertools import islice
import tracemalloc

from da3_ros.geometry import camera, rigid
from da3_ros.mapping.config import WindowConfig
from da3_ros.mapping.frame_stream import FrameStream
from da3_ros.mapping.pipeline import DepthPipeline
import numpy as np
from paths import curve, length, PATHS, trajectory_error
from perfect_engine import frames, INTRINSICS, PerfectEngine
from pipeline_runs import EVERY_FRAME, indices, posed_keyframes, run
import pytest


@pytest.mark.parametrize('size, stride, min_views', [(12, 4, 3), (5, 1, 2), (1, 1, 1), (8, 7, 8)])
def test_every_keyframe_comes_out_exactly_once(size, stride, min_views):
    window = WindowConfig(size=size, stride=stride, min_views=min_views)
    engine = PerfectEngine(curve(41))
    pipeline = DepthPipeline(engine, replace(EVERY_FRAME, window=window))
    stream = list(frames(41))
    posed = posed_keyframes(run(pipeline, stream))
    assert [keyframe.stamp_ns for keyframe in posed] == [frame.stamp_ns for frame in stream]
    assert max(len(window) for window in engine.windows) == size


def test_exact_windows_in_random_gauges_give_the_exact_path():
    truth = curve(40)
    pipeline = DepthPipeline(PerfectEngine(truth), EVERY_FRAME)
    posed = posed_keyframes(run(pipeline, frames(40)))
    # The first window's unit is arbitrary; everything else follows from it.
    scale = np.linalg.norm(posed[-1].odom_T_camera[:3, 3]) / np.linalg.norm(truth[-1][:3, 3])
    for keyframe, true_pose in zip(posed, truth, strict=True):
        expected = true_pose.copy()
        expected[:3, 3] *= scale
        np.testing.assert_allclose(keyframe.odom_T_camera, expected, atol=1e-5)
    assert {keyframe.segment for keyframe in posed} == {0}


@pytest.mark.parametrize('drop_share', [0.0, 0.3])
@pytest.mark.parametrize('name', PATHS)
def test_noise_and_outliers_leave_the_path_within_a_thousandth(name, drop_share):
    truth = PATHS[name](60)
    pipeline = DepthPipeline(PerfectEngine(truth, noise=0.01, outliers=0.2), EVERY_FRAME)
    random = np.random.default_rng(7)
    stream = [frame for frame in frames(60) if random.random() >= drop_share]
    posed = posed_keyframes(run(pipeline, stream))
    true = [truth[index] for index in indices(posed)]
    error = trajectory_error([keyframe.odom_T_camera for keyframe in posed], true)
    assert len(posed) == len(stream)
    assert error < 1e-3 * length(truth)


def test_depth_points_and_pose_share_one_scale():
    truth = curve(30)
    engine = PerfectEngine(truth)
    posed = posed_keyframes(run(DepthPipeline(engine, EVERY_FRAME), frames(30)))
    true_origin = truth[0]
    scale = np.nanmedian(posed[0].depth) / np.median(engine.room.depth(truth[0]))
    for keyframe, true_pose in zip(posed, truth, strict=True):
        points = camera.unproject(keyframe.depth, keyframe.intrinsics).astype(np.float64)
        in_odom = rigid.transform_points(keyframe.odom_T_camera, points)
        exact = camera.unproject(engine.room.depth(true_pose).astype(np.float32), INTRINSICS)
        in_room = rigid.transform_points(true_pose, exact.astype(np.float64))
        expected = scale * rigid.transform_points(rigid.inverse(true_origin), in_room)
        expected = expected @ rigid.BODY_R_OPTICAL.T
        np.testing.assert_allclose(in_odom, expected, atol=1e-4 * scale * 10.0)


def test_the_first_camera_looks_along_x_with_z_up():
    pipeline = DepthPipeline(PerfectEngine(curve(3)), EVERY_FRAME)
    first = posed_keyframes(run(pipeline, frames(3)))[0]
    forward, up = first.odom_T_camera[:3, 2], -first.odom_T_camera[:3, 1]
    np.testing.assert_allclose(forward, [1.0, 0.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(up, [0.0, 0.0, 1.0], atol=1e-9)
    np.testing.assert_allclose(first.odom_T_camera[:3, 3], 0.0, atol=1e-9)


def test_given_intrinsics_win_and_a_frame_without_takes_its_neighbours():
    given = INTRINSICS * [[1.1], [1.1], [1.0]]
    stream = list(frames(3, intrinsics=given))
    stream[1] = replace(stream[1], intrinsics=None)
    pipeline = DepthPipeline(PerfectEngine(curve(3)), EVERY_FRAME)
    for keyframe in posed_keyframes(run(pipeline, stream)):
        np.testing.assert_allclose(keyframe.intrinsics, given)
    pipeline = DepthPipeline(PerfectEngine(curve(3)), EVERY_FRAME)
    posed = posed_keyframes(run(pipeline, frames(3, intrinsics=None)))
    np.testing.assert_allclose(posed[0].intrinsics, INTRINSICS)


def test_sky_is_infinite_and_unknown_depth_is_nan():
    class Outdoors(PerfectEngine):
        """See sky above and nothing in the middle."""

        def infer(self, images, *, poses=None, intrinsics=None):
            prediction = super().infer(images, poses=poses, intrinsics=intrinsics)
            prediction.depth[:, 20] = np.nan
            prediction.depth[:, 21] = -1.0
            sky = np.zeros(prediction.depth.shape, dtype=bool)
            sky[:, :10] = True
            return replace(prediction, sky=sky)

    posed = posed_keyframes(run(DepthPipeline(Outdoors(curve(9)), EVERY_FRAME), frames(9)))
    for keyframe in posed:
        assert np.isposinf(keyframe.depth[:10]).all()
        assert np.isnan(keyframe.depth[20:22]).all()
        assert np.isfinite(keyframe.depth[22:]).all()
        assert keyframe.segment == 0


def test_a_network_without_cameras_gives_depth_alone():
    class Monocular(PerfectEngine):
        """Estimate no cameras."""

        def infer(self, images, *, poses=None, intrinsics=None):
            prediction = super().infer(images, poses=poses, intrinsics=intrinsics)
            return replace(prediction, poses=None, confidence=None)

    engine = Monocular(curve(9), random_gauge=False, is_metric=True)
    posed = posed_keyframes(run(DepthPipeline(engine, EVERY_FRAME), frames(9)))
    assert len(posed) == 9
    for keyframe, pose in zip(posed, engine.poses, strict=True):
        assert not keyframe.has_pose
        assert keyframe.is_metric
        np.testing.assert_allclose(keyframe.odom_T_camera[:3, :3], rigid.BODY_R_OPTICAL)
        np.testing.assert_allclose(keyframe.depth, engine.room.depth(pose), rtol=1e-6)


@pytest.mark.parametrize('is_metric', [False, True])
def test_windows_of_one_view_give_depth_at_once_and_claim_no_poses(is_metric):
    engine = PerfectEngine(curve(9), random_gauge=not is_metric, is_metric=is_metric)
    window = WindowConfig(size=1, stride=1, min_views=1)
    config = replace(EVERY_FRAME, window=window)
    pipeline, stream = DepthPipeline(engine, config), FrameStream(config)
    units = set()
    for index, frame in enumerate(frames(9)):
        (instant,) = stream.take(frame).instants
        update = pipeline.add(instant)
        (keyframe,) = update.keyframes
        assert keyframe.stamp_ns == frame.stamp_ns
        assert (keyframe.has_pose, keyframe.is_metric) == (False, is_metric)
        assert update.windows[0].report.placement.rejection is None
        np.testing.assert_array_equal(keyframe.odom_T_camera[:3, 3], 0.0)
        ratio = keyframe.depth / engine.room.depth(engine.poses[index])
        np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-5)
        units.add(round(float(ratio[0, 0]), 4))
    assert len(units) == 1 if is_metric else len(units) == 9
    assert not is_metric or units == {1.0}


def test_memory_stays_flat():
    engine = PerfectEngine(curve(160, step_m=0.01))
    pipeline, stream = DepthPipeline(engine, EVERY_FRAME), FrameStream(EVERY_FRAME)
    images = frames(160)
    tracemalloc.start()
    try:
        held = []
        for _ in range(2):
            for frame in islice(images, 80):
                (instant,) = stream.take(frame).instants
                pipeline.add(instant)
            engine.windows.clear()
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    one_keyframe = 48 * 64 * (3 + 4 + 4)
    assert held[1] < held[0] + one_keyframe
