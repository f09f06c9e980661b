# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""The choice of the reference view."""

from da3_ros.model.reference_view import reference_first, select_reference_view, take_views
import numpy as np
import pytest
import torch

SADDLES = ('saddle_balanced', 'saddle_sim_range')


def class_tokens(num_windows, num_views, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(num_windows, num_views, 64, generator=random)


@pytest.mark.parametrize('strategy', ['first', 'middle', *SADDLES])
@pytest.mark.parametrize('num_views', [1, 2])
def test_few_views_take_the_first(strategy, num_views):
    assert select_reference_view(class_tokens(3, num_views), strategy).tolist() == [0, 0, 0]


def test_places():
    assert select_reference_view(class_tokens(2, 5), 'first').tolist() == [0, 0]
    assert select_reference_view(class_tokens(2, 5), 'middle').tolist() == [2, 2]
    assert select_reference_view(class_tokens(2, 6), 'middle').tolist() == [3, 3]


@pytest.mark.parametrize('strategy', SADDLES)
def test_the_choice_moves_with_the_views(strategy):
    tokens = class_tokens(8, 7)
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    chosen = select_reference_view(tokens, strategy)
    assert len(set(chosen.tolist())) > 2
    reordered = select_reference_view(tokens[:, order], strategy)
    assert torch.equal(order[reordered], chosen)


@pytest.mark.parametrize('strategy', SADDLES)
def test_windows_are_chosen_for_alone(strategy):
    tokens = class_tokens(5, 6)
    alone = [select_reference_view(window[None], strategy) for window in tokens]
    assert torch.equal(select_reference_view(tokens, strategy), torch.cat(alone))


def test_balanced_takes_the_view_nearest_to_the_middle_of_three_metrics():
    for window in class_tokens(20, 5):
        tokens = window.double().numpy()
        directions = [token / np.linalg.norm(token) for token in tokens]
        metrics = np.array([
            [sum(other @ one for other in directions) - 1.0 for one in directions],
            [np.linalg.norm(token) for token in tokens],
            [np.var(one) for one in directions],
        ])
        low, high = metrics.min(axis=1)[:, None], metrics.max(axis=1)[:, None]
        imbalance = np.abs((metrics - low) / (high - low) - 0.5).sum(axis=0)
        assert select_reference_view(window[None]).tolist() == [int(imbalance.argmin())]


def test_range_takes_the_view_that_is_like_some_and_unlike_others():
    views = torch.eye(64)[:4].clone()
    # View 1 points along view 2 and against view 3.
    views[1] = views[2] - views[3] + 0.1 * torch.eye(64)[10]
    assert select_reference_view(views[None], 'saddle_sim_range').tolist() == [1]


def test_unknown_strategy():
    with pytest.raises(ValueError, match="ref_view_strategy: got 'best', expected one of first"):
        select_reference_view(class_tokens(1, 3), 'best')


def test_reference_comes_first_and_goes_back():
    x = torch.arange(8).view(2, 4, 1)
    order = reference_first(torch.tensor([2, 0]), 4)
    assert order.tolist() == [[2, 0, 1, 3], [0, 1, 2, 3]]
    assert take_views(x, order)[0].flatten().tolist() == [2, 0, 1, 3]
    assert torch.equal(take_views(take_views(x, order), order.argsort(dim=1)), x)
