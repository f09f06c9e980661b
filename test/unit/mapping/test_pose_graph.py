# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Sim3 graphs: exact where measurements agree, spreading errors where they do not."""

from itertools import pairwise

from da3_ros.geometry import rigid
from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.pose_graph import Edge, optimise, ScalePrior
import numpy as np
import pytest
from scipy.spatial.transform import Rotation


@pytest.fixture
def random():
    return np.random.default_rng(2)


def small_sim3(random, sigma):
    rotation = Rotation.from_rotvec(sigma * random.standard_normal(3)).as_matrix()
    return Sim3(
        float(np.exp(sigma * random.standard_normal())), rotation,
        sigma * random.standard_normal(3),
    )


def ring(count):
    """Return nodes on a circle, looking outwards, in different units."""
    nodes = {}
    for i, angle in enumerate(np.linspace(0.0, 2.0 * np.pi, count, endpoint=False)):
        rotation = Rotation.from_euler('z', angle).as_matrix() @ rigid.BODY_R_OPTICAL
        position = np.array([5.0 * np.cos(angle), 5.0 * np.sin(angle), 0.3 * i])
        nodes[10 * i] = Sim3(float(np.exp(0.3 * np.sin(5.0 * angle))), rotation, position)
    return nodes


def edge(nodes, first, second, error=None):
    measured = nodes[first].inverse() @ nodes[second]
    measured = measured if error is None else measured @ error
    return Edge(first, second, measured, 1.0, 0.01, 0.01)


def chained(nodes, edges):
    """Integrate edges from the first node."""
    estimate = {edges[0].first: nodes[edges[0].first]}
    for link in edges:
        estimate[link.second] = estimate[link.first] @ link.first_S_second
    return estimate


def distance(a, b):
    return max(
        float(np.linalg.norm(a[number].translation - b[number].translation)) for number in a
    )


def test_consistent_measurements_are_met_exactly_from_a_bad_start(random):
    truth = ring(12)
    numbers = list(truth)
    edges = [edge(truth, a, b) for a, b in zip(numbers, numbers[1:] + numbers[:1], strict=True)]
    start = {number: node @ small_sim3(random, 0.2) for number, node in truth.items()}
    start[0] = truth[0]
    solved = optimise(start, edges).nodes
    for number, node in truth.items():
        assert solved[number].scale == pytest.approx(node.scale, rel=1e-6)
        np.testing.assert_allclose(solved[number].rotation, node.rotation, atol=1e-6)
        np.testing.assert_allclose(solved[number].translation, node.translation, atol=1e-5)


def test_a_loop_takes_the_drift_out(random):
    truth = ring(60)
    numbers = list(truth)
    edges = [
        edge(truth, a, b, small_sim3(random, 0.01))
        for a, b in pairwise(numbers)
    ]
    start = chained(truth, edges)
    closed = optimise(start, [*edges, edge(truth, numbers[0], numbers[-1])])
    assert closed.cost < 50.0
    last = numbers[-1]
    before = np.linalg.norm(start[last].translation - truth[last].translation)
    after = np.linalg.norm(closed.nodes[last].translation - truth[last].translation)
    assert after < 0.1 * before
    assert distance(closed.nodes, truth) < 0.7 * distance(start, truth)


def test_a_wrong_loop_costs_far_more_than_a_right_one(random):
    truth = ring(40)
    numbers = list(truth)
    edges = [
        edge(truth, a, b, small_sim3(random, 0.01))
        for a, b in pairwise(numbers)
    ]
    right = edge(truth, numbers[0], numbers[-1])
    wrong = edge(truth, numbers[10], numbers[30], Sim3(1.5, np.eye(3), np.full(3, 4.0)))
    start = chained(truth, edges)
    assert optimise(start, edges).cost < 1e-6
    assert optimise(start, [*edges, right]).cost < 50.0
    assert optimise(start, [*edges, right, wrong]).cost > 500.0


def test_priors_set_the_unit_of_everything(random):
    truth = ring(20)
    numbers = list(truth)
    edges = [edge(truth, a, b) for a, b in pairwise(numbers)]
    wrong_unit = Sim3.about(truth[0].translation, 1.7)
    start = {number: wrong_unit @ node for number, node in truth.items()}
    priors = [
        ScalePrior(number, np.log(node.scale) + 0.02 * random.standard_normal(), 0.02)
        for number, node in truth.items()
    ]
    solved = optimise(start, edges, priors).nodes
    ratio = [solved[number].scale / truth[number].scale for number in numbers]
    assert ratio == pytest.approx(np.ones(20), abs=0.03)
    assert optimise(start, edges).nodes[0].scale == pytest.approx(start[0].scale)


def test_one_prior_that_is_wrong_altogether_moves_little(random):
    truth = ring(20)
    numbers = list(truth)
    edges = [edge(truth, a, b) for a, b in pairwise(numbers)]
    priors = [
        ScalePrior(number, np.log(node.scale) + 0.02 * random.standard_normal(), 0.02)
        for number, node in truth.items()
    ]
    priors[7] = ScalePrior(numbers[7], np.log(truth[numbers[7]].scale) + 3.0, 0.02)
    solved = optimise(truth, edges, priors).nodes
    ratio = [solved[number].scale / truth[number].scale for number in numbers]
    assert ratio == pytest.approx(np.ones(20), abs=0.03)


def test_an_edge_is_the_same_from_both_ends(random):
    truth = ring(5)
    link = edge(truth, 0, 10, small_sim3(random, 0.1))
    start = {0: truth[0], 10: truth[10]}
    other = {10: truth[10], 0: truth[0]}
    assert optimise(other, [link.reversed()]).cost == pytest.approx(0.0, abs=1e-6)
    there, back = optimise(start, [link]).nodes, optimise(other, [link.reversed()]).nodes
    np.testing.assert_allclose(
        (there[0].inverse() @ there[10]).translation, (back[0].inverse() @ back[10]).translation,
        atol=1e-6)
