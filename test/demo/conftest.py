# Copyright 2026 The da3_ros authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.


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
