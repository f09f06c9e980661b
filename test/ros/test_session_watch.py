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

"""A stream that is no longer the one it was begins a session."""

from dataclasses import replace

from da3_ros.ros.session_watch import Arrival, Observation, SessionWatch, StreamSignature
import pytest

STREAM = StreamSignature('camera', 'rgb8', 640, 480, True)
MS = 1_000_000


def observe(*arrivals):
    """Watch images, given as stamps or as stamps with signatures; return the last verdict."""
    watch = SessionWatch(max_gap_s=5.0)
    for arrival in arrivals:
        signature, stamp_ns = arrival if isinstance(arrival, tuple) else (STREAM, arrival)
        observation = watch.observe(signature, stamp_ns)
    return observation


def test_the_first_image_begins():
    """Whatever it is."""
    assert observe(0) == Observation(Arrival.BEGINS, 'the first image')


def test_a_steady_stream_continues():
    """Also with a gap that is allowed."""
    assert observe(0, 33 * MS).arrival is Arrival.CONTINUES
    assert observe(0, 5000 * MS).arrival is Arrival.CONTINUES


@pytest.mark.parametrize(('change', 'reason'), [
    ({'frame_id': 'other'}, "frame_id changed from 'camera' to 'other'"),
    ({'encoding': 'bgr8'}, "encoding changed from 'rgb8' to 'bgr8'"),
    ({'width': 320, 'height': 240}, 'width changed from 640 to 320, height changed from 480'),
    ({'is_calibrated': False}, 'is_calibrated changed from True to False'),
])
def test_another_stream_begins(change, reason):
    """The reason says what changed."""
    observation = observe(0, (replace(STREAM, **change), 33 * MS))
    assert observation.arrival is Arrival.BEGINS
    assert reason in observation.reason


def test_a_gap_begins():
    """Nothing is known about what happened meanwhile."""
    assert observe(0, 5100 * MS) == Observation(Arrival.BEGINS, 'no image for 5.1 s')


def test_time_that_goes_back_begins():
    """A bag that loops."""
    assert observe(10_000 * MS, 9_000 * MS) == Observation(
        Arrival.BEGINS, 'time went back by 1.000 s')
    assert observe(10_000 * MS, 9_000 * MS, 9_033 * MS).arrival is Arrival.CONTINUES


def test_stamps_that_are_equal_or_a_little_late_are_dropped():
    """They neither begin a session nor move the newest stamp."""
    assert observe(0, 100 * MS, 100 * MS).arrival is Arrival.DUPLICATE
    assert observe(0, 100 * MS, 50 * MS).arrival is Arrival.LATE
    assert observe(0, 100 * MS, 50 * MS, 75 * MS).arrival is Arrival.LATE
