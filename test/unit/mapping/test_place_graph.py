# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Which loops the graph of places takes, with priors in it and after many were forgotten."""

from itertools import pairwise
import math

from da3_ros.geometry import rigid
from da3_ros.geometry.sim3 import Sim3
from da3_ros.mapping.alignment import Alignment, Constraint
from da3_ros.mapping.correction import MapCorrection
from da3_ros.mapping.metres import ScaleMeasurement
from da3_ros.mapping.place import Place, PlaceView
from da3_ros.mapping.place_graph import PlaceGraph
from da3_ros.mapping.samples import ViewSamples
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

SIGMA = 0.01
FIT = Alignment(Sim3.identity(), 0.01, 1.0, SIGMA, SIGMA, 4)


def place(number):
    """Remember a window whose only keyframe has the same number."""
    samples = ViewSamples(
        number, np.ones(1), np.ones(1), np.array([[0.0, 0.0, 1.0]]), np.eye(4))
    view = PlaceView(number, b'', np.eye(3), samples)
    return Place(number, Sim3.identity(), (view,), np.zeros((1, 2), np.float32), 1.0)


def circle(count):
    """Return true poses on a circle."""
    return [Sim3.from_rigid(rigid.from_rotation_translation(
        Rotation.from_euler('z', angle).as_matrix(),
        np.array([3.0 * np.cos(angle), 3.0 * np.sin(angle), 0.0])))
        for angle in np.linspace(0.0, 2.0 * np.pi, count)]


def noisy(relation, random):
    """Measure a relation."""
    turn = Rotation.from_rotvec(SIGMA * random.standard_normal(3)).as_matrix()
    error = Sim3(math.exp(SIGMA * random.standard_normal()), turn,
                 SIGMA * random.standard_normal(3))
    return relation @ error


def grown(truth, random, *, prior_sigma=None, max_places=1000, unit=1.0):
    """Add places one after the other, each where the last one says."""
    graph = PlaceGraph(max_places)
    lies = Sim3.about(truth[0].translation, unit) @ truth[0]
    graph.add(place(0), lies, (), None)
    for number, (before, after) in enumerate(pairwise(truth), start=1):
        step = noisy(before.inverse() @ after, random)
        lies = lies @ step
        said = None if prior_sigma is None else ScaleMeasurement(
            prior_sigma * random.standard_normal(), prior_sigma)
        graph.add(place(number), lies, (Constraint(number - 1, step, FIT),), said)
    return graph


def close(graph, truth, *, wrong=None):
    """Tell that the newest place is near the first one, or somewhere else."""
    old, new = graph.places[0], graph.places[-1]
    relation = truth[old.window].inverse() @ truth[new.window]
    return graph.close_loop(old, new, relation if wrong is None else relation @ wrong, FIT)


WRONG = Sim3(1.0, Rotation.from_euler('z', 2.0).as_matrix(), np.array([2.5, 0.0, 0.0]))


@pytest.mark.parametrize('max_places', [1000, 24])
@pytest.mark.parametrize('prior_sigma', [None, 0.05])
@pytest.mark.parametrize('seed', range(3))
def test_right_loops_close_and_wrong_ones_do_not(seed, prior_sigma, max_places):
    """However many priors came since the last one, and whatever was forgotten."""
    random = np.random.default_rng(seed)
    truth = circle(160)
    graph = grown(truth, random, prior_sigma=prior_sigma, max_places=max_places)
    assert not close(graph, truth, wrong=WRONG)
    assert close(graph, truth)
    assert not close(graph, truth, wrong=WRONG)


def test_a_wrong_loop_that_was_refused_moves_nothing():
    random = np.random.default_rng(0)
    truth = circle(40)
    graph = grown(truth, random, prior_sigma=0.05)
    before = [graph.map_S_place(each).translation for each in graph.places]
    assert not close(graph, truth, wrong=WRONG)
    np.testing.assert_array_equal(
        before, [graph.map_S_place(each).translation for each in graph.places])


@pytest.mark.parametrize('is_guess_first', [True, False])
def test_a_tie_is_kept_when_places_are_forgotten(is_guess_first):
    """A place that a guess and a tie hold stays where the tie has it."""
    random = np.random.default_rng(1)
    truth = circle(120)
    graph = PlaceGraph(16)
    for number, lies in enumerate(truth):
        constraints = () if number == 0 else (Constraint(
            number - 1, truth[number - 1].inverse() @ lies, FIT),)
        if number in (3, 4):
            # The third window is a bad one: nothing is known about how it lies.
            guess = Constraint(number - 1, noisy(Sim3.identity(), random), None)
            tie = Constraint(2, truth[2].inverse() @ lies, FIT)
            both = (guess, tie) if is_guess_first else (tie, guess)
            constraints = (guess,) if number == 3 else both
        graph.add(place(number), lies, constraints, None)
    assert len(graph.places) <= 16
    assert not close(graph, truth, wrong=WRONG)
    assert close(graph, truth)


def test_loops_are_kept_when_places_are_forgotten():
    """What closed once holds the map together for ever."""
    random = np.random.default_rng(2)
    truth = circle(60) + circle(60)[1:]
    graph = PlaceGraph(24)
    lies = truth[0]
    graph.add(place(0), lies, (), None)
    for number in range(1, len(truth)):
        step = noisy(truth[number - 1].inverse() @ truth[number], random)
        lies = graph.map_S_place(graph.places[-1]) @ step
        graph.add(place(number), lies, (Constraint(number - 1, step, FIT),), None)
        if number == 59:
            assert close(graph, truth)
    first = truth[0].inverse() @ graph.map_S_place(graph.places[0])
    near = min(graph.places[1:], key=lambda each: abs(each.window - 59))
    expected = truth[near.window]
    found = graph.map_S_place(near) @ first.inverse()
    assert np.linalg.norm(found.translation - expected.translation) < 0.3


def test_relations_without_any_residual_are_not_believed_beyond_measure():
    """Drift is no noise: a loop that is off by a little more than nothing closes."""
    exact = Alignment(Sim3.identity(), 0.0, 1.0, 0.0, 0.0, 4)
    graph, truth = PlaceGraph(100), circle(20)
    for number, lies in enumerate(truth):
        constraints = () if number == 0 else (Constraint(
            number - 1, truth[number - 1].inverse() @ lies, exact),)
        graph.add(place(number), lies, constraints, None)
    off = Sim3(1.002, np.eye(3), np.array([0.001, 0.0, 0.0]))
    old, new = graph.places[0], graph.places[-1]
    assert graph.close_loop(old, new, truth[0].inverse() @ truth[-1] @ off, exact)
    assert all(np.isfinite(graph.map_S_place(each).translation).all() for each in graph.places)


def test_places_whose_last_window_is_not_remembered_hang_on_the_one_before():
    """They are thinned out, and a loop moves all of them."""
    graph, truth = PlaceGraph(8), circle(30)
    for number, lies in enumerate(truth):
        graph.add(place(number), lies, (Constraint(-7, Sim3.identity(), FIT),), None)
    assert len(graph.places) <= 8
    shift = Sim3(1.0, np.eye(3), np.array([0.0, 0.0, 0.3]))
    old, new = graph.places[0], graph.places[-1]
    assert graph.close_loop(old, new, truth[0].inverse() @ shift @ truth[-1], FIT)
    heights = [graph.map_S_place(each).translation[2] for each in graph.places]
    assert heights[0] == 0.0 and min(heights[-3:]) > 0.1


def test_places_of_loops_are_forgotten_last():
    graph, truth = PlaceGraph(8), circle(80)
    for number, lies in enumerate(truth):
        constraints = () if number == 0 else (Constraint(
            number - 1, truth[number - 1].inverse() @ lies, FIT),)
        graph.add(place(number), lies, constraints, None)
        if number == 7:
            old = graph.places[3]
            assert graph.close_loop(
                old, graph.places[7], truth[3].inverse() @ truth[7], FIT)
        assert number < 7 or {3, 7} <= {each.window for each in graph.places}
    assert len(graph.places) <= 8


def test_the_number_of_relations_is_bounded_as_that_of_places_is():
    """A robot that goes around and around, and closes loops as often as it can."""
    random, truth = np.random.default_rng(5), circle(13)[:-1]
    graph, most = PlaceGraph(24), 0
    for number in range(400):
        lies, before = truth[number % 12], truth[(number - 1) % 12]
        constraints = () if number == 0 else (Constraint(
            number - 1, before.inverse() @ lies, FIT),)
        graph.add(place(number), lies, constraints, None)
        if number > 8 and number % 3 == 0:
            old = graph.places[random.integers(len(graph.places) - 2)]
            relation = truth[old.window % 12].inverse() @ lies
            assert graph.close_loop(old, graph.places[-1], relation, FIT)
        most = max(most, len(graph._links))
    assert most < 2 * 24


def test_what_a_loop_tells_outlives_its_places():
    """It is led around them: without it, the guess would tell again."""
    truth, graph = circle(12)[:6], PlaceGraph(5)
    steps = [before.inverse() @ after for before, after in pairwise(truth)]
    wrong = steps[2] @ Sim3(1.0, np.eye(3), np.array([0.0, 0.0, 0.5]))
    lies = truth[0]
    graph.add(place(0), lies, (), None)
    for number, step in enumerate(steps, start=1):
        # A bad window: of the third place nothing is known but a guess, and that is wrong.
        constraint = Constraint(number - 1, wrong, None) if number == 3 else Constraint(
            number - 1, step, FIT)
        lies = graph.map_S_place(graph.places[-1]) @ constraint.reference_S_window
        if number == 5:
            for old, new in ((2, 4), (1, 3)):
                assert graph.close_loop(
                    graph.places[old], graph.places[new], truth[old].inverse() @ truth[new], FIT)
            lies = graph.map_S_place(graph.places[-1]) @ step
        graph.add(place(number), lies, (constraint,), None)
    assert [each.window for each in graph.places] == [0, 2, 3, 4, 5]
    # What moves the graph again says nothing about the bad window.
    assert graph.close_loop(
        graph.places[2], graph.places[4], truth[3].inverse() @ truth[5], FIT)
    for each in graph.places:
        np.testing.assert_allclose(
            graph.map_S_place(each).translation, truth[each.window].translation, atol=0.01)


def test_places_move_with_a_tie():
    """Those of the segment that was tied, and no others."""
    truth = circle(10)
    graph = grown(truth, np.random.default_rng(3))
    before = [graph.map_S_place(each).translation for each in graph.places]
    graph.move(MapCorrection.of(
        [(5, Sim3.identity()), (6, Sim3(1.0, np.eye(3), np.array([0.0, 0.0, 1.0])))]))
    moved = np.subtract([graph.map_S_place(each).translation for each in graph.places], before)
    np.testing.assert_allclose(moved[:, 2], [0.0] * 6 + [1.0] * 4, atol=1e-12)


def test_what_is_known_of_metres_sets_the_unit_of_the_map():
    truth = circle(40)
    graph = grown(truth, np.random.default_rng(4), prior_sigma=0.05, unit=1.3)
    assert close(graph, truth)
    scales = [graph.map_S_place(each).scale for each in graph.places]
    assert np.median(scales) == pytest.approx(1.0, abs=0.05)
