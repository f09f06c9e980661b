# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""A short recording as a bag, and the parameters that make its processing quick."""

from da3_ros.demo.film import Film
from da3_ros.demo.film_bag import film_bag
from da3_ros.offline import process
from da3_ros.offline.exit_code import ExitCode
from da3_ros.simulation.lens import Lens
from da3_ros.simulation.sensor import Sensor
import pytest
from short_recording import load_steady_engine, NUM_FRAMES, PARAMETERS


@pytest.fixture(scope='session')
def short_bag(tmp_path_factory):
    """Give a bag of a rendered film with CameraInfo."""
    film = Film(num_frames=NUM_FRAMES, rate_hz=5.0, lens=Lens(84, 56, 75.0),
                sensor=Sensor(num_samples=1))
    return film_bag(film, tmp_path_factory.mktemp('film'), say=[].append)


@pytest.fixture
def arguments():
    """Give the command line's parameters."""
    return [word for each in PARAMETERS for word in ('-p', each)]


@pytest.fixture
def steady(monkeypatch):
    """Let the command run an engine that is quick and exact."""
    monkeypatch.setattr(process, 'load_engine', load_steady_engine)


@pytest.fixture
def processed(request, short_bag, tmp_path_factory, arguments):
    """Give the outputs of an uninterrupted run."""
    request.getfixturevalue('steady')
    out = tmp_path_factory.mktemp('processed') / 'out'
    assert process.main([str(short_bag), '--out', str(out), *arguments]) == ExitCode.WRITTEN
    return out
