# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0


"""A film that renders in a blink, for the demo's tests."""

from da3_ros.demo.film import Film
from da3_ros.demo.film_bag import film_bag
from da3_ros.simulation.lens import Lens
from da3_ros.simulation.sensor import Sensor
import pytest

SMALL_FILM = Film(
    num_frames=12, rate_hz=20.0, lens=Lens(64, 48, 75.0), sensor=Sensor(num_samples=1))


@pytest.fixture(scope='session')
def small_film():
    """Give the film."""
    return SMALL_FILM


@pytest.fixture(scope='session')
def small_bag(tmp_path_factory):
    """Give its bag."""
    return film_bag(SMALL_FILM, tmp_path_factory.mktemp('film'), say=[].append)
