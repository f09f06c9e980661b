# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Corrections move the map, never what is where the robot is in odom."""

from da3_ros.geometry import rigid
from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.frames import WorldFrames
import numpy as np
import pytest
from scipy.spatial.transform import Rotation


@pytest.fixture
def random():
    return np.random.default_rng(4)


def random_sim3(random):
    rotation = Rotation.random(random_state=random).as_matrix()
    return Sim3(float(np.exp(random.normal())), rotation, random.normal(size=3))


def in_map(frames, point):
    """Go from the chain to the map by way of odom, as a user of TF does."""
    in_odom = frames.odom_S_chain.transform_points(point)
    return rigid.transform_points(frames.map_T_odom, in_odom)


def test_map_is_odom_at_first(random):
    frames = WorldFrames(random_sim3(random))
    np.testing.assert_allclose(frames.map_T_odom, np.eye(4), atol=1e-12)


def test_a_new_unit_leaves_the_anchor_where_it_is(random):
    frames = WorldFrames(random_sim3(random))
    anchor = random.normal(size=3)
    before = frames.odom_S_chain.transform_points(anchor)
    frames.set_scale(2.5, anchor=anchor)
    np.testing.assert_allclose(frames.odom_S_chain.transform_points(anchor), before, atol=1e-12)
    assert frames.odom_S_chain.scale == pytest.approx(2.5)
    np.testing.assert_allclose(frames.map_T_odom, np.eye(4), atol=1e-12)


def test_a_correction_is_met_in_the_map_and_not_felt_in_odom(random):
    frames = WorldFrames(random_sim3(random))
    anchor, elsewhere = random.normal(size=(2, 3))
    before = frames.odom_S_chain
    corrected = random_sim3(random)
    frames.correct_map(corrected, anchor=anchor)
    after = frames.odom_S_chain
    np.testing.assert_allclose(
        after.transform_points(anchor), before.transform_points(anchor), atol=1e-12
    )
    np.testing.assert_allclose(after.rotation, before.rotation, atol=1e-12)
    for point in (anchor, elsewhere):
        np.testing.assert_allclose(
            in_map(frames, point), corrected.transform_points(point), atol=1e-11
        )


def test_a_moved_chain_keeps_the_window_in_odom_and_moves_it_in_the_map(random):
    frames = WorldFrames(random_sim3(random))
    old, new = random_sim3(random), random_sim3(random)
    in_window = random.normal(size=3)
    odom_before = (frames.odom_S_chain @ old).transform_points(in_window)
    map_S_chain = frames.map_S_chain
    frames.move_chain(old @ new.inverse())
    frames.set_scale(map_S_chain.scale, anchor=new.transform_points(in_window))
    odom_after = (frames.odom_S_chain @ new).transform_points(in_window)
    np.testing.assert_allclose(odom_after, odom_before, atol=1e-11)
    expected = (map_S_chain @ new).transform_points(in_window)
    np.testing.assert_allclose(
        in_map(frames, new.transform_points(in_window)), expected, atol=1e-11
    )
