# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The benchmark of memory where the package of upstream is not installed."""

import sys

import memory


def test_what_cannot_be_built_is_a_row_that_says_why(monkeypatch):
    monkeypatch.setitem(sys.modules, 'depth_anything_3', None)
    monkeypatch.setitem(sys.modules, 'depth_anything_3.cfg', None)
    rows = list(memory.measure_all('upstream', 'da3-small', [2, 4], (28, 28), 0))
    assert [(row.num_views, row.seconds) for row in rows] == [(2, None)]
    assert 'depth_anything_3' in rows[0].error
    assert rows[0].error in memory.table(rows)
