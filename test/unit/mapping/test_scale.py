# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Metres: from the robot's motion, from the network, from the user, or honestly from nowhere."""

from dataclasses import replace
from itertools import pairwise
import math

from da3_ros.geometry import rigid
from da3_ros.mapping.config import ScaleConfig
from da3_ros.mapping.pipeline import DepthPipeline
import numpy as np
from paths import length, PATHS, trajectory_error
from perfect_engine import frames, level_camera, PerfectEngine
from pipeline_runs import EVERY_FRAME, posed_keyframes, published_scale, reports, run
import pytest
from scipy.spatial.transform import Rotation


def config(**scale):
    return replace(EVERY_FRAME, scale=ScaleConfig(**scale))


def odometry(poses, random, *, step_sigma=0.02, jitter_m=0.003):
    """Measure a path as wheels do: in a frame of their own, each step a little wrong."""
    origin = rigid.from_rotation_translation(
        Rotation.random(random_state=random).as_matrix(), random.normal(size=3)
    )
    measured = [origin]
    for last, pose in pairwise(poses):
        step = rigid.inverse(last) @ pose
        step[:3, 3] *= 1.0 + step_sigma * random.standard_normal()
        angle = Rotation.from_rotvec(1e-3 * random.standard_normal(3)).as_matrix()
        step[:3, :3] = step[:3, :3] @ angle
        measured.append(measured[-1] @ step)
    for pose in measured:
        pose[:3, 3] += jitter_m * random.standard_normal(3)
    return measured


def with_odometry(stream, measured):
    return [
        replace(frame, robot_T_camera=pose) for frame, pose in zip(stream, measured, strict=True)
    ]


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('name', ['forward', 'sideways', 'line', 'figure_of_eight'])
def test_robot_motion_gives_metres_within_a_percent_after_two_metres(name, seed):
    whole = PATHS[name](400)
    travelled = np.array([length(whole[:i]) for i in range(1, 401)])
    # A keyframe every 5 cm, over two metres.
    truth = [whole[int(np.searchsorted(travelled, 0.05 * i))] for i in range(41)]
    random = np.random.default_rng(seed)
    engine = PerfectEngine(truth, noise=0.01, outliers=0.2, seed=seed)
    stream = with_odometry(frames(41), odometry(truth, random))
    last = posed_keyframes(run(DepthPipeline(engine, config(source='tf')), stream))[-1]
    assert last.is_metric
    assert published_scale(last, engine) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize('turn_rad', [0.0, 0.05])
def test_standing_still_or_turning_on_the_spot_says_nothing_about_metres(turn_rad):
    truth = [level_camera([0.0, 0.0, 0.0], turn_rad * i) for i in range(40)]
    stream = with_odometry(frames(40), odometry(truth, np.random.default_rng(0)))
    updates = run(DepthPipeline(PerfectEngine(truth), config(source='tf')), stream)
    assert not any(keyframe.is_metric for keyframe in posed_keyframes(updates))
    assert all(math.isinf(report.placement.scale.sigma) for report in reports(updates))


def test_the_scale_is_held_while_the_robot_turns():
    moving = [level_camera([0.05 * i, 0.0, 0.0], 0.0) for i in range(60)]
    turning = [level_camera([2.95, 0.0, 0.0], 0.05 * i) for i in range(1, 61)]
    truth = moving + turning
    stream = with_odometry(frames(120), odometry(truth, np.random.default_rng(0)))
    updates = run(DepthPipeline(PerfectEngine(truth), config(source='tf')), stream)
    scales = [report.placement.scale for report in reports(updates)]
    held = {scale.metres_per_unit for scale in scales[-10:]}
    assert len(held) == 1
    assert scales[-1].is_metric
    assert scales[-1].sigma > scales[-10].sigma


@pytest.mark.parametrize('source', ['none', 'model', 'tf'])
def test_every_step_has_the_unit_of_its_depth_while_the_scale_changes(source):
    """The scale of depth, points and pose is one, for every keyframe that is published."""
    truth = PATHS['figure_of_eight'](80)
    stream = with_odometry(frames(80), odometry(truth, np.random.default_rng(0)))
    engine = PerfectEngine(truth, is_metric=True)
    posed = posed_keyframes(run(DepthPipeline(engine, config(source=source)), stream))
    scales = [published_scale(keyframe, engine) for keyframe in posed]
    assert (np.ptp(scales) > 1e-3) == (source != 'none')
    for last, new, scale in zip(posed, posed[1:], scales[1:], strict=False):
        step = np.linalg.norm(new.odom_T_camera[:3, 3] - last.odom_T_camera[:3, 3])
        true = np.linalg.norm(truth[new.id][:3, 3] - truth[last.id][:3, 3])
        assert step == pytest.approx(scale * true, rel=1e-3)


def test_a_slipping_wheel_does_not_move_the_scale():
    truth = [level_camera([0.05 * i, 0.0, 0.0], 0.0) for i in range(120)]
    measured = odometry(truth, np.random.default_rng(0))
    for pose in measured[80:]:
        pose[0, 3] += 3.0
    stream = with_odometry(frames(120), measured)
    engine = PerfectEngine(truth)
    for keyframe in posed_keyframes(run(DepthPipeline(engine, config(source='tf')), stream))[60:]:
        assert published_scale(keyframe, engine) == pytest.approx(1.0, abs=0.02)


def test_odom_does_not_jump_when_metres_become_known():
    truth = [level_camera([0.05 * i, 0.0, 0.0], 0.0) for i in range(60)]
    stream = list(frames(60))
    stream[30:] = with_odometry(stream[30:], odometry(truth[30:], np.random.default_rng(0)))
    engine = PerfectEngine(truth)
    posed = posed_keyframes(run(DepthPipeline(engine, config(source='tf')), stream))
    steps = np.linalg.norm(np.diff([k.odom_T_camera[:3, 3] for k in posed], axis=0), axis=1)
    scales = [published_scale(keyframe, engine) for keyframe in posed]
    assert steps.max() <= 0.05 * max(scales) * 1.2
    assert not posed[0].is_metric and posed[-1].is_metric


@pytest.mark.parametrize('jitter', [0.0, 0.05])
def test_a_metric_network_is_believed_and_filtered(jitter):
    class Metric(PerfectEngine):
        """Know metres, but not quite the same ones in every window."""

        def _gauge(self):
            _, frame = super()._gauge()
            return float(np.exp(jitter * self.random.standard_normal())), frame

    truth = PATHS['figure_of_eight'](120)
    engine = Metric(truth, is_metric=True)
    posed = posed_keyframes(run(DepthPipeline(engine, config(source='model')), frames(120)))
    assert all(keyframe.is_metric for keyframe in posed)
    scales = np.array([published_scale(keyframe, engine) for keyframe in posed])
    assert scales[60:] == pytest.approx(1.0, abs=0.5 * jitter + 1e-4)
    # Smoother than the windows by far: the steps within the settled part are small.
    assert np.abs(np.diff(scales[60:])).max() <= 0.15 * jitter + 1e-4


@pytest.mark.parametrize('source', ['none', 'model', 'tf', 'pose'])
def test_without_anything_metric_nothing_is_called_metres(source):
    truth = PATHS['forward'](30)
    updates = run(DepthPipeline(PerfectEngine(truth), config(source=source)), frames(30))
    assert not any(keyframe.is_metric for keyframe in posed_keyframes(updates))
    assert all(report.placement.scale.metres_per_unit == 1.0 for report in reports(updates))


def test_source_none_does_not_claim_metres_even_for_a_metric_network():
    engine = PerfectEngine(PATHS['forward'](9), is_metric=True, random_gauge=False)
    updates = run(DepthPipeline(engine, config(source='none')), frames(9))
    assert not any(keyframe.is_metric for keyframe in posed_keyframes(updates))


def test_a_fixed_factor_multiplies_depth_and_path():
    truth = PATHS['forward'](60)
    engine = PerfectEngine(truth, random_gauge=False)
    updates = run(DepthPipeline(engine, config(source='fixed', fixed_factor=2.5)), frames(60))
    posed = posed_keyframes(updates)
    assert all(keyframe.is_metric for keyframe in posed)
    assert published_scale(posed[-1], engine) == pytest.approx(2.5, rel=1e-4)
    assert length([k.odom_T_camera for k in posed]) == pytest.approx(2.5 * length(truth), rel=1e-3)


def test_given_poses_condition_the_network_and_give_metres():
    class Conditioned(PerfectEngine):
        """Remember the given poses and give them back."""

        given = ()

        def infer(self, images, *, poses=None, intrinsics=None):
            self.given = (*self.given, poses)
            prediction = super().infer(images, poses=poses, intrinsics=intrinsics)
            return prediction if poses is None else replace(prediction, poses=poses)

    truth = PATHS['forward'](40)
    stream = with_odometry(frames(40), truth)
    stream[20] = replace(stream[20], robot_T_camera=None)
    engine = Conditioned(truth, random_gauge=False)
    updates = run(DepthPipeline(engine, config(source='pose')), stream)
    posed = posed_keyframes(updates)
    conditioned = [report.is_conditioned for report in reports(updates)]
    assert conditioned == [poses is not None for poses in engine.given]
    assert conditioned[0] and not all(conditioned)
    assert all(keyframe.is_metric for keyframe in posed)
    assert trajectory_error([k.odom_T_camera for k in posed], truth) < 1e-4 * length(truth)
