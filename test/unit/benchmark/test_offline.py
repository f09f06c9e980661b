# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Long recordings need no more memory than those that fill what is kept."""

from da3_ros.offline import sessions
from offline import memory_of_many

# A fifth of what the images of the second half take.
MOST_MIB = 5.0


def test_memory_stays_where_it_is(monkeypatch):
    """From where as many keyframes are kept as ever are."""
    monkeypatch.setattr(sessions, 'MAX_KEYFRAMES', 50)
    measured = memory_of_many(3000, interval_s=0.95, size=(64, 96))
    assert len(measured) == 10
    assert measured[-1][1] - measured[4][1] < MOST_MIB
