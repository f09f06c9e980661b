# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Metres per unit: right within what is claimed of them, and not claimed before they are known."""

from dataclasses import replace
import math

import bare_windows
from bare_windows import Drive, straight, true_scale
from da3_ros.geometry import rigid
from da3_ros.mapping.config import AlignmentConfig, ScaleConfig
from da3_ros.mapping.metres import has_motion, measure_scale, ScaleMeasurement, Unit
from da3_ros.mapping.world import World
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

TF = ScaleConfig(source='tf')


def window(truth, numbers, random, **options):
    return bare_windows.window(Drive(truth, **options), numbers, random)


def drive(truth, random, scale, **options):
    """Place a whole drive; return the last placement and published length over true length."""
    world = World(AlignmentConfig(), scale)
    for views in bare_windows.windows(Drive(truth, **options), random):
        placement = world.place(views, is_metric=False)
    return placement, placement.odom_S_window.scale * true_scale(views)


@pytest.mark.parametrize(('length_m', 'noise_m'), [(0.33, 0.02), (1.1, 0.05), (2.0, 0.03)])
def test_noise_of_the_windows_does_not_shorten_the_metre(length_m, noise_m):
    """Within two of its own sigma in 95 % of the draws, and not on one side."""
    truth = straight(length_m, 12)
    random = np.random.default_rng(0)
    off, sigmas = [], []
    for _ in range(60):
        placement, scale = drive(truth, random, TF, noise_m=noise_m, robot=truth)
        off.append(math.log(scale) / placement.scale.sigma)
        sigmas.append(placement.scale.sigma)
    assert np.mean(np.abs(off) < 2.0) >= 0.95
    assert abs(np.mean(off)) < 0.35
    # Honest, but not by claiming to know nothing.
    assert np.median(sigmas) < 3.0 * noise_m / length_m


def test_noise_of_the_robot_that_is_told_does_not_lengthen_it():
    truth = straight(0.6, 12)
    random = np.random.default_rng(1)
    logs = []
    for _ in range(100):
        robot = truth.copy()
        robot[:, :3, 3] += 0.02 * random.standard_normal((12, 3))
        views = window(truth, range(12), random, robot=robot)
        found = measure_scale(views, is_metric=False, config=replace(TF, tf_noise_m=0.02))
        logs.append(found.log_metres + math.log(true_scale(views)))
    # Without the correction it would be 3 % too long.
    assert abs(np.mean(logs)) < 0.015


@pytest.mark.parametrize('source', ['tf', 'pose'])
@pytest.mark.parametrize('noise_m', [0.0, 0.001])
@pytest.mark.parametrize('radius_m', [0.0, 0.05])
def test_a_robot_that_stands_or_turns_says_nothing(source, noise_m, radius_m):
    """Neither with noise of its odometry, nor with a camera off its axis."""
    random = np.random.default_rng(2)
    turns = [Rotation.from_euler('z', angle).as_matrix() for angle in np.linspace(0, 6.0, 24)]
    truth = np.stack([rigid.from_rotation_translation(
        turn, turn @ np.array([radius_m, 0.0, 0.0])) for turn in turns])
    robot = truth.copy()
    robot[:, :3, 3] += noise_m * random.standard_normal((24, 3))
    for seen_noise_m in (0.0, 0.01):
        placement, _ = drive(
            truth, random, ScaleConfig(source=source, min_motion_m=0.11), noise_m=seen_noise_m,
            robot=robot)
        assert not placement.scale.is_metric
        assert math.isinf(placement.scale.sigma)


def test_motion_that_the_window_does_not_see_says_nothing():
    """Wheels that spin: the robot claims a metre, the cameras stand."""
    random = np.random.default_rng(3)
    standing = np.tile(np.eye(4), (12, 1, 1))
    for noise_m in (0.0, 0.001, 0.05):
        views = window(standing, range(12), random, noise_m=noise_m, robot=straight(1.0, 12))
        assert measure_scale(views, is_metric=False, config=TF) is None


@pytest.mark.parametrize('count', [2, 3, 4])
def test_few_views_know_little(count):
    """Two cannot contradict each other; of three, agreement may be luck."""
    random = np.random.default_rng(4)
    truth = straight(1.0, count)
    off = []
    for _ in range(300):
        views = window(truth, range(count), random, noise_m=0.05, robot=truth)
        found = measure_scale(views, is_metric=False, config=TF)
        if found is None:
            continue
        seen = true_scale(views)
        off.append((found.log_metres + math.log(seen)) / found.sigma)
        assert count > 2 or found.sigma >= 0.2
    assert len(off) > 30
    assert np.mean(np.abs(off) < 2.0) >= 0.95


def test_poses_that_the_network_does_not_see_give_no_metres():
    """Given poses come back as they were: what the network saw of them tells."""
    random = np.random.default_rng(5)
    truth = straight(1.0, 12)
    config = ScaleConfig(source='pose')
    agreeing = window(truth, range(12), random, robot=truth)
    blind = [replace(
        view, own_T_camera=rigid.from_rotation_translation(np.eye(3), random.normal(size=3)))
        for view in agreeing]
    found = measure_scale(agreeing, is_metric=False, config=config)
    assert found.log_metres == pytest.approx(-math.log(true_scale(agreeing)), abs=1e-5)
    assert found.sigma == pytest.approx(config.model_sigma)
    assert measure_scale(blind, is_metric=False, config=config) is None


def known(sigma=0.02, metres=2.0):
    return Unit.of_first(TF).measured(ScaleMeasurement(math.log(metres), sigma), window_scale=1.0)


def says(metres, sigma=0.01):
    return ScaleMeasurement(math.log(metres), sigma)


def test_the_filter_weighs_by_uncertainty():
    unit = known(sigma=0.1).measured(says(3.0), window_scale=3.0)
    assert unit.estimate.sigma == pytest.approx(0.01, rel=0.01)
    assert unit.estimate.metres_per_unit == pytest.approx(2.0)


def test_what_contradicts_is_refused_unless_it_agrees_with_itself_for_long():
    # What was refused for other reasons before does not keep them from being believed.
    unit = known().measured(says(40.0), window_scale=2.0).measured(says(9.0), window_scale=2.0)
    for _ in range(4):
        # Every window is one join farther.
        unit = unit.drifted(0.0).measured(says(5.0), window_scale=2.0)
        assert unit.estimate.metres_per_unit == 2.0
        assert unit.refused and unit.is_metric
    unit = unit.drifted(0.0).measured(says(5.0), window_scale=2.0)
    assert unit.estimate.metres_per_unit == pytest.approx(5.0)
    assert not unit.refused
    unit, random = known(), np.random.default_rng(6)
    for _ in range(50):
        unit = unit.measured(says(2.0 * np.exp(random.uniform(0.5, 3.0))), window_scale=2.0)
    assert unit.estimate.metres_per_unit == 2.0 and unit.is_metric


def test_what_is_believed_after_all_is_known_as_well_as_it_agrees():
    """And is called metres as if for the first time."""
    unit = known()
    for offset in (-0.05, 0.05, -0.05, 0.05, -0.05):
        unit = unit.measured(says(5.0 * math.exp(offset), sigma=0.03), window_scale=2.0)
    assert not unit.refused
    assert unit.estimate.sigma == pytest.approx(math.hypot(0.03, 0.049), rel=0.01)
    assert TF.max_sigma < unit.estimate.sigma < 1.5 * TF.max_sigma
    assert not unit.is_metric


def test_every_join_costs_certainty():
    assert known().drifted(0.0).estimate.sigma > known().estimate.sigma
    assert known().drifted(0.1).estimate.sigma == pytest.approx(math.hypot(0.02, 0.1))


def test_a_window_is_not_better_than_what_it_is_compared_with():
    """Whatever it sees itself: the robot's distances and places have errors of their own."""
    random = np.random.default_rng(7)
    truth = straight(0.6, 12)
    views = window(truth, range(12), random, robot=truth)
    for noise_m, sigma in ((1e-6, TF.tf_sigma), (0.02, math.hypot(TF.tf_sigma, 0.0308))):
        config = replace(TF, tf_noise_m=noise_m)
        found = measure_scale(views, is_metric=False, config=config)
        assert found.sigma == pytest.approx(sigma, rel=0.15)


def test_a_camera_that_was_seen_once_is_nowhere_else():
    """Where it was when the other one of its instant was exposed is not known."""
    random = np.random.default_rng(8)
    one, other = window(straight(1.0, 4), (0, 1), random, baseline_m=0.3)
    config = ScaleConfig(source='rig')
    assert measure_scale([one, other], is_metric=False, config=config) is not None
    later = replace(other, keyframe=replace(other.keyframe, frame=replace(
        other.keyframe.frame, stamp_ns=other.keyframe.frame.stamp_ns + 1)))
    assert measure_scale([one, later], is_metric=False, config=config) is None


@pytest.mark.parametrize(('moved_m', 'expected'), [
    (0.0, False), (0.1, False), (0.1 + 1e-9, False), (0.1001, True)])
def test_motion_is_more_than_it_takes_and_more_than_rounding(moved_m, expected):
    centres = np.array([[5.0, 0.0, 0.0], [5.0 + moved_m / 2, 0.0, 0.0], [5.0 + moved_m, 0.0, 0.0]])
    assert has_motion(centres, replace(TF, min_motion_m=0.1)) == expected


def test_the_claim_of_metres_does_not_flicker():
    unit = known(sigma=TF.max_sigma)
    assert unit.is_metric
    unit = unit.drifted(0.02)
    assert unit.estimate.sigma > TF.max_sigma and unit.is_metric
    lost = unit.drifted(0.06)
    assert not lost.is_metric
    # Once lost, it takes as much as in the beginning.
    assert not replace(unit, is_metric=False).drifted(0.0).is_metric
    assert lost.measured(says(2.0, 0.04), window_scale=2.0).is_metric


def test_a_loss_costs_certainty_and_value_together():
    """Nothing of a unit is remembered without the rest of it."""
    unit = known()
    assert math.isinf(unit.lost().variance) and not unit.lost().is_metric
    assert unit.rescaled(1.5).estimate.metres_per_unit == pytest.approx(3.0)
    refused = unit.measured(says(5.0), window_scale=2.0)
    assert refused.rescaled(1.5).refused == pytest.approx([math.log(7.5)])
