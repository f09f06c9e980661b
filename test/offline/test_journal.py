# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The engine's answers on the disk: all of them, to the last bit, in little room."""

from dataclasses import fields

from da3_ros import errors
from da3_ros.errors import MemoryBudgetError, PredictionError
from da3_ros.inference.prediction import WindowPrediction
from da3_ros.inference.preprocessing import Preprocessor
from da3_ros.offline.journal import JournaledEngine, JournalFault
import numpy as np
import pytest
from short_recording import SteadyEngine

IMAGES = [np.random.default_rng(i).integers(0, 255, (28, 42, 3), np.uint8) for i in range(12)]


class FullEngine:
    """Answers with everything that there is, in numbers of all kinds."""

    def infer(self, images, *, poses=None, intrinsics=None):
        """Answer."""
        del poses, intrinsics
        random, n = np.random.default_rng(len(images)), len(images)
        shape = (n, 14, 28)
        depth = random.normal(size=shape).astype(np.float32)
        depth[0, 0, :4] = [np.nan, np.inf, -0.0, 1e-42]
        return WindowPrediction(
            images=random.integers(0, 255, (*shape, 3), np.uint8), depth=depth,
            confidence=random.random(shape, np.float32), sky=random.random(shape) > 0.5,
            intrinsics=random.normal(size=(n, 3, 3)), poses=random.normal(size=(n, 4, 4)),
            is_metric=True, appearance=random.random((n, 8), np.float32),
            own_poses=random.normal(size=(n, 4, 4)))


class NoEngine:
    """Must not be asked."""

    def infer(self, images, **_):
        """Fail."""
        raise AssertionError(len(images))


def journaled(engine, folder, *, resume=False, **options):
    """Give an engine that remembers."""
    return JournaledEngine(engine, folder, identity={'is': 'a test'}, resume=resume, **options)


@pytest.mark.parametrize('wanted', [None, (2, 0)])
def test_every_field_of_an_answer_comes_back_bit_by_bit(tmp_path, wanted):
    """Also those that are added one day."""
    first = journaled(FullEngine(), tmp_path).infer(IMAGES[:3], wanted=wanted)
    again = journaled(NoEngine(), tmp_path, resume=True).infer(IMAGES[:3], wanted=wanted)
    for field in fields(WindowPrediction):
        a, b = getattr(first, field.name), getattr(again, field.name)
        assert a is not None, field.name
        if isinstance(a, np.ndarray):
            assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()), field.name
        else:
            assert a == b


@pytest.mark.parametrize('wanted', [None, (2, 0)])
def test_what_the_network_sees_is_made_again_and_not_kept(tmp_path, wanted):
    """Where it is what preprocessing makes of the images, and not where it is not."""
    sizes, process = [], Preprocessor(28)

    class Seeing(FullEngine):
        """Gives the images as it saw them."""

        def infer(self, images, **_):
            """Answer."""
            answer = super().infer(images)
            seen = Preprocessor(28).process(images).images
            return WindowPrediction(**vars(answer) | {'images': seen})

    for number, make in enumerate((lambda images: process.process(images).images, None)):
        folder = tmp_path / str(number)
        first = journaled(Seeing(), folder, process=make).infer(IMAGES[:3], wanted=wanted)
        again = journaled(NoEngine(), folder, resume=True, process=make).infer(
            IMAGES[:3], wanted=wanted)
        np.testing.assert_array_equal(first.images, again.images)
        sizes.append((folder / '000001.zip').stat().st_size)
    assert sizes[0] < sizes[1] - first.images.nbytes // 2


def test_smooth_depth_takes_less_room_than_it_has_bytes(tmp_path):
    y, x = np.mgrid[:140, :280].astype(np.float32)
    depth = np.stack([2.0 + np.sin(x / 40 + i) * np.cos(y / 30) for i in range(4)])
    answer = FullEngine().infer(IMAGES[:4])

    class Smooth:
        """Sees a wall with waves."""

        def infer(self, images, **_):
            """Answer."""
            return WindowPrediction(**vars(answer) | {
                'images': np.zeros((len(images), 140, 280, 3), np.uint8), 'depth': depth,
                'confidence': depth, 'sky': depth > 9.0})

    journaled(Smooth(), tmp_path).infer(IMAGES[:4])
    assert (tmp_path / '000001.zip').stat().st_size < 0.7 * 2 * depth.nbytes


@pytest.mark.parametrize('error', [
    PredictionError('no camera has such rays'), MemoryBudgetError('too many', max_views=3)])
def test_errors_come_again_as_they_were(tmp_path, error):
    class Failing:
        """Cannot answer."""

        def infer(self, *_, **__):
            """Answer."""
            raise error

    for engine, resume in ((Failing(), False), (NoEngine(), True)):
        with pytest.raises(type(error), match=str(error)) as raised:
            journaled(engine, tmp_path, resume=resume).infer(IMAGES[:2])
        assert getattr(raised.value, 'max_views', None) == getattr(error, 'max_views', None)
    assert issubclass(errors.MemoryBudgetError, errors.Da3Error)


@pytest.mark.parametrize('damage', ['cut', 'flip', 'empty'])
def test_a_damaged_answer_ends_the_run_with_its_name(tmp_path, damage):
    journaled(FullEngine(), tmp_path).infer(IMAGES[:3])
    path = tmp_path / '000001.zip'
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes({'cut': data[:-30], 'flip': data, 'empty': b''}[damage])
    with pytest.raises(JournalFault, match=r'resume: .*000001\.zip cannot be read'):
        journaled(NoEngine(), tmp_path, resume=True).infer(IMAGES[:3])


class KeepingEngine(SteadyEngine):
    """What it makes of a view depends, in the last bits, on which others were new with it."""

    def __init__(self):
        """Know no view."""
        self.kept = {}

    def infer(self, images, *, poses=None, intrinsics=None):
        """Answer by what is kept of the views of the last window."""
        new = [image for image in images if id(image) not in self.kept]
        self.kept = {id(image): (self.kept.get(id(image)) or (image, len(new)))
                     for image in images}
        answer = super().infer(images, poses=poses, intrinsics=intrinsics)
        noise = np.array([self.kept[id(image)][1] for image in images], np.float32)
        return WindowPrediction(
            **vars(answer) | {'depth': answer.depth + noise[:, None, None] * 1e-3})


@pytest.mark.parametrize('num_done', range(1, 6))
def test_an_engine_that_keeps_views_is_shown_the_last_ones_again(tmp_path, num_done):
    """Whatever the window that it goes on from, and a loop's among them."""
    windows = [(0, 1), (0, 1, 2, 3), (2, 3, 4, 5), (0, 5), (3, 4, 5, 6, 7), (6, 7, 8, 9),
               (7, 8, 9, 10, 11)]

    def run(engine, count):
        return [engine.infer([IMAGES[i] for i in window]) for window in windows[:count]]

    expected = run(journaled(KeepingEngine(), tmp_path / 'a'), len(windows))
    run(journaled(KeepingEngine(), tmp_path / 'b'), num_done)
    engine = journaled(KeepingEngine(), tmp_path / 'b', resume=True)
    for found, answer in zip(run(engine, len(windows)), expected, strict=True):
        np.testing.assert_array_equal(found.depth, answer.depth)
    assert engine.num_repeated == num_done
