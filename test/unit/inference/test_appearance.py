# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a view looks like: a property of the view, whatever else is in its window."""

from da3_ros.inference.branch import ExecutorOptions
from da3_ros.inference.chunks import Chunks
from da3_ros.inference.executor import WindowExecutor
import pytest
from reduced_networks import random_window
from test_executor import given_cameras, run
import torch


@pytest.mark.parametrize('name', ['da3-small', 'da3-giant', 'da3nested-giant-large'])
def test_it_does_not_depend_on_the_window(networks, name):
    window = random_window(5)
    together = run(networks(name), window).appearance
    config = getattr(networks(name), 'da3', networks(name)).config
    assert together.shape == (1, 5, 2 * config.embed_dim)
    assert together.dtype == torch.float32
    chunked = run(networks(name), window, chunks=Chunks(2, 3, 4)).appearance
    alone = run(networks(name), window[2:3]).appearance
    given = run(networks(name), window, given_cameras(5, window)).appearance
    for other, expected in ((chunked, together), (alone, together[:, 2:3]), (given, together)):
        torch.testing.assert_close(other, expected, rtol=1e-4, atol=1e-5)


def test_it_is_that_of_the_patches_alone(networks):
    """The class token is the same in every view where nothing is attended to."""
    network = networks('da3-small')
    backbone = network.backbone.pretrained
    with torch.no_grad():
        for block in backbone.blocks:
            block.ls1.gamma.zero_()
    window = random_window(2)
    before = run(network, window).appearance
    with torch.no_grad():
        backbone.cls_token.mul_(-5.0)
    assert torch.equal(run(network, window).appearance, before)


def test_it_tells_pictures_apart(networks):
    window = random_window(3)
    window[2] = window[1] // 2
    appearance = run(networks('da3-small'), window).appearance[0]
    distances = torch.cdist(appearance, appearance)
    assert (distances + torch.eye(3) > 1e-2).all()


@pytest.mark.parametrize('name', ['da3mono-large', 'da3metric-large'])
def test_networks_whose_views_see_nothing_of_each_other_have_none(networks, name):
    executor = WindowExecutor(networks(name), ExecutorOptions())
    assert executor.run(random_window(2)).appearance is None
