# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Windows whose views come again: the same as if each were the first one."""

from dataclasses import replace

from da3_ros.errors import NonFiniteError
from da3_ros.inference import InferenceEngine
from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.chunks import Chunks
from da3_ros.inference.executor import WindowExecutor
from da3_ros.inference.kept_views import KeptViews
from da3_ros.inference.launching import Launcher
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from reduced_networks import random_intrinsics, random_poses, random_window
from test_executor import assert_equal, given_cameras, plain
import torch
from torch.overrides import TorchFunctionMode

VARIANTS = ['da3-small', 'da3-large', 'da3-giant', 'da3metric-large']
ANEW = ExecutorOptions(small_window=0)


@pytest.fixture
def embedded(monkeypatch):
    """Count the views that a network embeds."""
    counts = []

    def spy_on(network):
        vit = network.backbone.pretrained
        embed = vit.embed

        def spy(images, position_embedding):
            counts.append(len(images))
            return embed(images, position_embedding)

        monkeypatch.setattr(vit, 'embed', spy)
        return counts

    return spy_on


@pytest.mark.parametrize('name', VARIANTS)
def test_views_that_come_again_are_not_run_again(networks, embedded, name):
    network, views = networks(name), random_window(9)
    executor, anew = WindowExecutor(network), WindowExecutor(network, ANEW)
    counts = embedded(network)
    for start, num_new in ((0, 5), (2, 2), (2, 0), (4, 2)):
        window, keys = views[start:start + 5], list(range(start, start + 5))
        counts.clear()
        found = executor.run(window, keys=keys)
        assert sum(counts) == num_new
        assert_equal(found, anew.run(window))


@pytest.mark.parametrize('name', ['da3-small', 'da3-giant'])
def test_given_cameras_come_and_go(networks, name):
    network, window = networks(name), random_window(4)
    executor, cameras = WindowExecutor(network), given_cameras(4, window)
    expected = {
        given: plain(network, window, cameras if given else None) for given in (False, True)
    }
    for is_given in (True, False, True, True, False):
        found = executor.run(window, cameras if is_given else None, keys=range(4))
        assert_equal(found, expected[is_given])


def assert_only_wanted(network, window, options, **strategy):
    executor = WindowExecutor(network, options, **strategy)
    expected = plain(network, window, **strategy)
    for wanted in ([4], [3, 0, 2]):
        found = executor.run(window, keys=range(5), wanted=wanted)
        maps = {
            part: None if getattr(expected, part) is None else getattr(expected, part)[:, wanted]
            for part in ('depth', 'confidence', 'sky')
        }
        assert_equal(found, replace(expected, **maps), dense=2e-6)


@pytest.mark.parametrize('small_window', [0, 32])
@pytest.mark.parametrize('name', VARIANTS)
def test_only_the_maps_that_are_wanted(networks, name, small_window):
    """Cameras are those of all views."""
    options = ExecutorOptions(chunks=Chunks(2, 2, 2), small_window=small_window)
    assert_only_wanted(networks(name), random_window(5), options)


@pytest.mark.parametrize('small_window', [0, 32])
@pytest.mark.parametrize('strategy', ['first', 'middle', 'saddle_sim_range'])
def test_the_reference_is_chosen_in_the_windows_own_order(networks, strategy, small_window):
    options = ExecutorOptions(small_window=small_window)
    window = random_window(5, seed=1)
    assert_only_wanted(networks('da3-large'), window, options, ref_view_strategy=strategy)


def test_one_image_twice_in_a_window(networks):
    network, window = networks('da3-small'), random_window(4)
    window[2] = window[1]
    found = WindowExecutor(network).run(window, keys=[0, 1, 1, 3])
    assert_equal(found, plain(network, window))


def test_wanted_views_must_be_there(networks):
    for wanted in ([], [5], [1, 1], [-1]):
        with pytest.raises(ValueError, match='wanted'):
            WindowExecutor(networks('da3-small')).run(random_window(3), wanted=wanted)


def test_nothing_is_copied_from_the_host_while_a_window_runs(networks, monkeypatch):
    """Each such copy is a wait on a GPU, and stands in the way of a graph."""
    waits = {'tensor', 'new_tensor', 'item', 'tolist', 'cpu', 'nonzero', '__bool__', '__float__'}
    called = []

    class Watch(TorchFunctionMode):

        def __torch_function__(self, function, types, args=(), kwargs=None):
            called.append(getattr(function, '__name__', ''))
            return function(*args, **(kwargs or {}))

    run = Launcher.run

    def watched(self, key, work, inputs):
        with Watch():
            return run(self, key, work, inputs)

    network, window = networks('da3-large'), random_window(4)
    executor = WindowExecutor(network)
    for posed in (None, given_cameras(4, window)):
        executor.run(window, posed)
        with monkeypatch.context() as patch:
            patch.setattr(Launcher, 'run', watched)
            executor.run(window, posed)
    assert len(called) > 200
    assert waits.isdisjoint(called)


class Stream:
    """
    Windows over few images in any order, as a stream whose keyframes are dropped makes them.

    :param network: that runs.
    """

    images = random_window(7, 28, 28)

    def __init__(self, network) -> None:
        self._executor = WindowExecutor(network)
        self._anew = WindowExecutor(network, ANEW)
        self._larger = random_window(7, 28, 42)
        self._cameras = given_cameras(7, self.images)

    def run(self, step: tuple) -> None:
        """Run one window, and compare it with one that knows nothing."""
        kind, chosen = step
        if kind == 'release':
            self._executor.release()
        images = (self._larger if kind == 'larger' else self.images)[chosen]
        cameras = None
        if kind == 'given':
            given = self._cameras
            cameras = type(given)(given.extrinsics[:, chosen], given.intrinsics[:, chosen])
        keys = [(images.shape, i) for i in chosen]
        wanted = [len(chosen) - 1] if kind == 'wanted' else None
        found = self._executor.run(images, cameras, keys=keys, wanted=wanted)
        assert_equal(found, self._anew.run(images, cameras, wanted=wanted), cameras=1e-4)


STEPS = st.tuples(
    st.sampled_from(['plain', 'plain', 'plain', 'given', 'wanted', 'larger', 'release']),
    st.lists(st.integers(0, 6), min_size=1, max_size=4),
)


@pytest.mark.parametrize('name', ['da3-small', 'da3-giant'])
def test_any_stream_of_windows_is_as_if_each_were_the_first(networks, name):
    """Keyframes that are dropped, other sizes, shrunk windows, given cameras and back."""
    network = networks(name)

    @settings(max_examples=12, deadline=None, derandomize=True)
    @given(st.lists(STEPS, min_size=4, max_size=8))
    def check(steps):
        stream = Stream(network)
        for step in steps:
            stream.run(step)

    check()


@given(st.lists(st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=5), max_size=20))
def test_a_row_is_one_views_until_it_is_seated_anew(windows):
    kept, content = KeptViews(6), {}
    for keys in windows:
        seats = kept.seat(keys)
        assert len(set(seats.rows)) == len(keys)
        for i, (key, row) in enumerate(zip(keys, seats.rows, strict=True)):
            if i in seats.new:
                content[row] = key
            assert content[row] == key
        kept.keep(keys, seats)


def test_the_views_of_the_last_window_are_kept():
    kept = KeptViews(5)
    for keys in ([1, 2, 3, 4], [3, 4, 5, None], [3, 4, 5, 6]):
        seats = kept.seat(keys)
        kept.keep(keys, seats)
    assert seats.new == (3,)


def test_the_view_that_was_not_seen_for_the_longest_time_goes_first():
    kept = KeptViews(3)
    for keys in ([1, 2, 3], [1, 2], [1, 4]):
        kept.keep(keys, kept.seat(keys))
    assert kept.seat([1, 2]).new == ()


def test_values_that_are_not_finite_are_found_in_every_map(networks, monkeypatch):
    network = networks('da3-small')
    maps = type(network.head).maps

    def spoil(self, x):
        dense = maps(self, x)
        dense.confidence[..., 0] = torch.inf
        return dense

    executor = WindowExecutor(network)
    monkeypatch.setattr(type(network.head), 'maps', spoil)
    with pytest.raises(NonFiniteError, match='confidence'):
        executor.run(random_window(2))


def test_a_window_that_failed_leaves_no_view_behind():
    kept = KeptViews(4)
    kept.keep([1, 2], kept.seat([1, 2]))
    kept.seat([1, 2, 3, 4])
    assert kept.seat([1, 2, 3, 4]).new == (2, 3)


def test_an_engine_answers_for_the_views_asked_for(networks):
    images = list(random_window(5, 56, 84))
    engine = InferenceEngine(networks('da3-large'), device='cpu', size=84)
    for known in ({}, {'poses': random_poses(5), 'intrinsics': random_intrinsics(5, 56, 84)}):
        whole = engine.infer(images, **known)
        some = engine.infer(images, **known, wanted=[4, 1])
        for name in ('images', 'depth', 'confidence', 'intrinsics', 'poses', 'appearance'):
            found, expected = getattr(some, name), getattr(whole, name)[[4, 1]]
            assert np.allclose(found, expected, rtol=1e-5, atol=1e-5), name


def test_an_engine_that_prepared_an_image_answers_the_same(networks):
    images = list(random_window(3, 60, 80))
    engine = InferenceEngine(networks('da3-small'), device='cpu', size=56)
    expected = engine.infer(images)
    other = InferenceEngine(networks('da3-small'), device='cpu', size=56)
    for image in images:
        other.prepare(image)
    assert np.array_equal(other.infer(images).depth, expected.depth)


def test_images_that_do_not_come_again_drive_nothing_out(networks, embedded):
    """Live frames between windows: those are as they would be without, and no view runs twice."""
    network, images = networks('da3-small'), list(random_window(8, 56, 84))
    passing = list(random_window(6, 56, 84, seed=1))
    engine = InferenceEngine(network, device='cpu', size=84)
    counts = embedded(network)
    engine.infer(images[:6])
    for image in passing:
        counts.clear()
        live = engine.infer([*images[3:6], image], wanted=[2, 3], keep=False)
        assert counts == [1]
    alone = InferenceEngine(networks('da3-small'), device='cpu', size=84)
    whole = alone.infer([*images[3:6], passing[-1]])
    assert np.allclose(live.depth, whole.depth[2:], rtol=1e-5, atol=1e-5)
    counts.clear()
    engine.infer(images[2:])
    assert sum(counts) == 2
