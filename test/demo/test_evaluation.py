# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""The demo's scores: exact on exact outputs, and off by what was put in."""

from da3_ros.demo.evaluation import at_pixels_of, evaluate, score_depth
from da3_ros.demo.readback import Output, read_truth
from da3_ros.geometry import rigid
from da3_ros.geometry.sim3 import Sim3
import numpy as np
import pytest

UNIT_M = 2.5


def perfect_outputs(truth, odom_S_world):
    """Return what a node without errors would publish in a world and unit of its own."""
    return {
        stamp: Output(
            arrival_ns=stamp + 300_000_000,
            depth=np.float32(odom_S_world.scale) * at_pixels_of(view.depth, np.empty((24, 32))),
            intrinsics=view.intrinsics,
            odom_T_camera=odom_S_world.transform_pose(view.world_T_camera),
            points=np.empty((0, 3), np.float32),
            colours=np.empty((0, 3), np.uint8),
        )
        for stamp, view in truth.items()
    }


@pytest.fixture
def truth(small_bag):
    """Give the truth of the small film."""
    return read_truth(small_bag)


@pytest.fixture
def odom_S_world():
    """Give a world of the node's own."""
    return Sim3(
        1.0 / UNIT_M, rigid.from_quaternion(np.array([0.1, -0.3, 0.2, 0.9])),
        np.array([4.0, -1.0, 2.0]))


def test_perfect_outputs_have_no_error(truth, odom_S_world):
    result = evaluate(truth, perfect_outputs(truth, odom_S_world), {s: s for s in truth})
    assert result.depth_scale == pytest.approx(UNIT_M, rel=1e-6)
    assert result.world_S_odom.scale == pytest.approx(UNIT_M, rel=1e-9)
    assert result.ate_m < 1e-9
    assert result.depth.abs_rel < 1e-6
    assert result.depth.delta_1_25 == 1.0
    assert result.depth.coverage == 1.0
    assert [k.latency_s for k in result.keyframes] == pytest.approx([0.3] * len(truth))
    assert max(k.rotation_error_deg for k in result.keyframes) < 1e-5


def test_depth_errors_are_what_was_put_in(truth, odom_S_world):
    outputs = perfect_outputs(truth, odom_S_world)
    for output in outputs.values():
        output.depth[:12] *= np.float32(1.1)
        output.depth[0] = np.nan
    result = evaluate(truth, outputs, {s: s for s in truth})
    # 11 rows are 10 % too far, 12 rows right, one unknown: the median is right.
    assert result.depth.abs_rel == pytest.approx(0.1 * 11 / 23, rel=1e-4)
    assert result.depth.coverage == pytest.approx(23 / 24)


def test_pose_errors_are_what_was_put_in(truth, odom_S_world):
    outputs = perfect_outputs(truth, odom_S_world)
    half_rad = np.radians(2.0)
    turn = rigid.from_quaternion(np.array([0.0, np.sin(half_rad), 0.0, np.cos(half_rad)]))
    for output in outputs.values():
        output.odom_T_camera[:3, :3] = output.odom_T_camera[:3, :3] @ turn
    turned = evaluate(truth, outputs, {s: s for s in truth})
    assert turned.ate_m < 1e-9
    assert [k.rotation_error_deg for k in turned.keyframes] == pytest.approx([4.0] * len(truth))

    shift = 1e-3 * odom_S_world.rotation @ [0.0, 0.0, 1.0]
    for number, output in enumerate(outputs.values()):
        output.odom_T_camera[:3, 3] += shift * (-1.0) ** number
    shaken = evaluate(truth, outputs, {s: s for s in truth})
    # The fit can take little of a shaking up and down along a path on the ground.
    assert 0.8e-3 * UNIT_M < shaken.ate_m < 1.0001e-3 * UNIT_M


def test_floors_are_the_constant_guess_and_the_standing_camera(truth, odom_S_world):
    result = evaluate(truth, perfect_outputs(truth, odom_S_world), {s: s for s in truth})
    centres = np.stack([view.world_T_camera[:3, 3] for view in truth.values()])
    spread = np.sqrt(np.mean(np.sum((centres - centres.mean(axis=0)) ** 2, axis=1)))
    assert result.standing_still_m == pytest.approx(spread)
    depths = np.concatenate([k.true_depth.ravel() for k in result.keyframes])
    expected = np.mean(np.abs(np.median(depths) - depths) / depths)
    assert result.constant_depth.abs_rel == pytest.approx(expected, rel=1e-4)


def test_depth_is_compared_at_the_same_place_of_the_view():
    depth = np.arange(48 * 64, dtype=np.float32).reshape(48, 64)
    halved = at_pixels_of(depth, np.empty((24, 32)))
    assert halved.shape == (24, 32)
    np.testing.assert_array_equal(halved, depth[1::2, 1::2])
    np.testing.assert_array_equal(at_pixels_of(depth, depth), depth)


def test_score_ignores_sky_and_unknown_depth():
    truth = np.array([[1.0, 2.0, np.inf, 4.0]], np.float32)
    estimate = np.array([[1.0, np.nan, 3.0, 6.0]], np.float32)
    score = score_depth([truth], [estimate])
    assert score.abs_rel == pytest.approx(0.25)
    assert score.delta_1_25 == 0.5
    assert score.coverage == pytest.approx(2 / 3)


def test_too_few_or_unknown_keyframes_are_refused(truth, odom_S_world):
    outputs = perfect_outputs(truth, odom_S_world)
    stamps = list(outputs)
    with pytest.raises(ValueError, match='got 2'):
        evaluate(truth, {s: outputs[s] for s in stamps[:2]}, {s: s for s in truth})
    strange = {**outputs, stamps[-1] + 1: outputs[stamps[-1]]}
    with pytest.raises(ValueError, match='1 without truth'):
        evaluate(truth, strange, {s: s for s in truth})
