# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The picture of the depth says near and far, steadily."""

from da3_ros.ros.output.depth_preview import DepthPreview
import numpy as np
import pytest

HEIGHT, WIDTH = 40, 60


def ramp(near=1.0, far=5.0):
    """Give depth that grows from left to right."""
    return np.tile(np.linspace(near, far, WIDTH, dtype=np.float32), (HEIGHT, 1))


@pytest.mark.parametrize('unit', [1e-3, 1.0, 1e3])
def test_near_is_red_and_far_is_blue(unit):
    """In whatever unit the depth is."""
    picture = DepthPreview().draw(ramp() * np.float32(unit)).astype(int)
    assert picture.shape == (HEIGHT, WIDTH, 3)
    red, _, blue = picture[5].T
    assert red[1] > 100 > blue[1]
    assert blue[-12] > red[-12]


def test_unknown_is_black_and_sky_is_as_far_as_it_gets():
    """So that a hole is not taken for a distance."""
    depth = ramp()
    depth[:10], depth[10:20], depth[30:32] = np.nan, np.inf, 0.0
    picture = DepthPreview().draw(depth)
    assert not picture[:10].any()
    assert not picture[30:32].any()
    assert picture[10:20].any(axis=-1).all()
    assert (picture[10:20] == picture[15, 0]).all()
    assert (picture[25, -1] == picture[15, 0]).all()


def test_colours_stay_when_something_comes_near():
    """A hand in front of the camera moves the range by a part, and it comes back."""
    preview = DepthPreview()
    before = preview.draw(ramp()).astype(int)
    with_hand = ramp()
    with_hand[:, :20] = 0.2
    during = preview.draw(with_hand).astype(int)
    assert np.abs(during - before)[:, 20:].mean() < np.abs(
        DepthPreview().draw(with_hand).astype(int) - before)[:, 20:].mean() / 1.5
    for _ in range(30):
        after = preview.draw(ramp()).astype(int)
    assert np.abs(after - before).max() <= 12
    assert np.abs(after - before).mean() < 0.5


@pytest.mark.parametrize('value', [np.nan, np.inf, 2.0])
def test_pictures_of_nothing_and_of_a_wall(value):
    """No range at all, or one without a span."""
    picture = DepthPreview().draw(np.full((HEIGHT, WIDTH), value, np.float32))
    assert (picture == picture[0, 0]).all()
    assert bool(picture.any()) == (not np.isnan(value))
