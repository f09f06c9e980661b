# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The page over a run: it stands by itself, and its plots show what they say."""

from html.parser import HTMLParser
import re
import xml.etree.ElementTree as ElementTree

from da3_ros.mapping.keyframe import PosedKeyframe
from da3_ros.mapping.session_record import SessionRecord
from da3_ros.offline.output.plots import plot
from da3_ros.offline.output.report import make_report, SessionPage
from da3_ros.offline.output.summary import Summary
import numpy as np
import pytest


def lines_of(svg):
    """Return the points of every line, and the texts, of a plot that is well-formed."""
    root = ElementTree.fromstring(svg)
    lines = [np.array([point.split(',') for point in each.get('points').split()], float)
             for each in root.iter('polyline')]
    return lines, [each.text for each in root.iter('text')]


def test_a_map_is_not_stretched_and_up_is_up():
    """A square stays one, inside of the picture; round numbers beside it."""
    x, y = np.array([[1.0, 3, 3, 1], [5.0, 5, 7, 7]])
    (line,), texts = lines_of(
        plot('A & B', {'path': (x, y)}, x_label='x [m]', y_label='y [m]', is_map=True))
    width, height = np.ptp(line, axis=0)
    assert width == pytest.approx(height, abs=0.2)
    assert line[0, 1] > line[2, 1]
    assert line.min() > 0.0 and (line.max(axis=0) < (640, 360)).all()
    assert {'A & B', 'x [m]', 'y [m]', '2', '6'} <= set(texts)


@pytest.mark.parametrize('values', [[], [2.0], [2.0, 2.0], [np.nan, np.nan], [1e-9, 2e9]])
def test_whatever_is_plotted_stays_inside(values):
    """Nothing at all, one point, what does not change, what is not known, any range."""
    times = np.arange(float(len(values)))
    lines, _ = lines_of(plot(
        'x', {'a': (times, np.array(values)), 'b': (times, np.array(values))}, x_label='time',
        y_label='x'))
    assert len(lines) == 2
    for line in lines:
        assert np.isfinite(line).all()
        assert not line.size or (line.min() >= 0.0 and (line.max(axis=0) <= (640, 360)).all())


def test_many_points_are_thinned_out_and_keep_their_ends():
    x = np.arange(100_000.0)
    (line,), _ = lines_of(plot('x', {'x': (x, x)}, x_label='', y_label=''))
    assert len(line) == 1000
    np.testing.assert_allclose(line[[0, -1], 0], [48, 592], atol=30)


def session():
    """Return two keyframes: a wall at 2 and at 4, the second mostly unknown."""
    record = SessionRecord()
    for number, distance in enumerate((2.0, 4.0)):
        depth = np.full((8, 12), distance, np.float32)
        depth[:, 6:] = distance + 1.0
        depth[0] = np.inf
        depth[1] = np.nan
        pose = np.eye(4)
        pose[:3, 3] = (3.0 * number, 4.0 * number, 0.0)
        record.add(PosedKeyframe(
            number, 10**9 * number, 'camera', np.full((8, 12, 3), 200, np.uint8), depth, None,
            np.eye(3), pose, 0, is_metric=bool(number)), np.eye(4), max_keyframes=10)
    return record.session()


class _Page(HTMLParser):
    """Collect what a page loads and says."""

    def __init__(self):
        super().__init__()
        self.sources, self.text, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ('src', 'href')]
        if tag not in ('meta', 'img', 'br'):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_has_pictures_plots_counts_and_plan_and_loads_nothing():
    """Whatever the recording is called."""
    summary = Summary(
        '<b>.bag', 'the topic <i> & more', 'da3-tiny', '0123abcd', 'cpu', 6,
        {'num_frames': 20, 'num_keyframes': 2, 'num_windows': 1, 'num_loops': 0},
        ('1 image lost: <script>',), {'window': {'size': 0, 'overlap': 2}, 'tf': {'mode': 'x'}})
    text = make_report(summary, [SessionPage.of('20231114T221320', session())])
    page = _Page()
    page.feed(text)
    assert page.open == []
    assert len(page.sources) == 2
    assert all(source.startswith('data:image/jpeg;base64,') for source in page.sources)
    words = ' '.join(page.text)
    for part in ('<b>.bag', 'the topic <i> & more', '1 image lost: <script>', '0123abcd',
                 'window.overlap', '2 poses in 1.0 s, a path of 5.00 m', 'keyframes'):
        assert part in words
    assert 'tf.mode' not in words
    plots = [lines_of(svg) for svg in re.findall('<svg.*?</svg>', text)]
    assert [len(lines) for lines, _ in plots] == [1, 3, 2]
    far, near = plots[2][0]
    # Upwards in the picture is less.
    assert (far[:, 1] < near[:, 1]).all() and near[0, 1] > near[1, 1]


def test_lengths_without_metres_are_not_called_so():
    page = SessionPage.of('x', session())
    assert page.is_metric
    unknown = SessionPage(page.name, False, page.times_s, page.path, page.depth, page.pictures)
    summary = Summary('a', 'b', 'da3-small', 'd', 'e', 1, {
        'num_frames': 1, 'num_keyframes': 1, 'num_windows': 1, 'num_loops': 0}, (), {})
    text = make_report(summary, [unknown])
    assert 'arbitrary unit' in text and '[m]' not in text
