# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""
The choice of the view whose camera is the window's origin.

The reference view gets a camera token of its own; nothing else tells it from the others.
"""

from typing import get_args, Literal

import torch
from torch import Tensor

ReferenceStrategy = Literal['first', 'middle', 'saddle_balanced', 'saddle_sim_range']

MIN_VIEWS = 3
"""Windows of fewer views take their first one."""


def check_strategy(strategy: str) -> None:
    """
    Check the name of a strategy.

    :raises ValueError: if it is none of ``ReferenceStrategy``.
    """
    if strategy not in get_args(ReferenceStrategy):
        expected = ', '.join(get_args(ReferenceStrategy))
        raise ValueError(f'ref_view_strategy: got {strategy!r}, expected one of {expected}')


def select_reference_view(
    class_tokens: Tensor,
    strategy: str = 'saddle_balanced',
    *,
    similarity_dtype: torch.dtype = torch.float32,
) -> Tensor:
    """
    Choose a reference view for every window.

    :param class_tokens: (B, N, C) fp32, class token of every view before the cameras come in.
    :param strategy: 'first', 'middle', 'saddle_balanced' (the view nearest to the middle of
        similarity, norm and variance) or 'saddle_sim_range' (the widest range of similarities).
    :param similarity_dtype: dtype of the similarities' products (that of the backbone).
    :returns: (B,) int64.
    :raises ValueError: if the strategy is unknown.
    """
    check_strategy(strategy)
    num_windows, num_views, _ = class_tokens.shape
    if strategy == 'first' or num_views < MIN_VIEWS:
        return torch.zeros(num_windows, dtype=torch.long, device=class_tokens.device)
    if strategy == 'middle':
        middle = num_views // 2
        return torch.full((num_windows,), middle, dtype=torch.long, device=class_tokens.device)

    norms = class_tokens.norm(dim=-1)
    directions = class_tokens / norms[..., None]
    rounded = directions.to(similarity_dtype)
    similarity: Tensor = rounded @ rounded.mT - torch.eye(num_views, device=norms.device)
    if strategy == 'saddle_sim_range':
        spread = similarity.amax(dim=-1) - similarity.amin(dim=-1)
        return spread.argmax(dim=1)
    metrics = (similarity.sum(dim=-1) / (num_views - 1), norms, directions.var(dim=-1))
    imbalance = torch.stack([(_stretch(metric) - 0.5).abs() for metric in metrics]).sum(dim=0)
    return imbalance.argmin(dim=1)


def take_views(x: Tensor, order: Tensor) -> Tensor:
    """
    Reorder the views of every window.

    :param x: (B, N, ...).
    :param order: (B, N) int64, which view comes to each place.
    """
    windows = torch.arange(len(x), device=x.device)[:, None]
    return x[windows, order]


def reference_first(reference: Tensor, num_views: int) -> Tensor:
    """
    Order views with the reference before all others, which keep their order.

    :param reference: (B,) int64.
    :returns: (B, N) int64, for ``take_views``; its argsort is the way back.
    """
    views = torch.arange(num_views, device=reference.device)
    return (views != reference[:, None]).long().argsort(dim=1, stable=True)


def _stretch(metric: Tensor) -> Tensor:
    """Map (B, N) to the range 0 to 1 over the views."""
    low = metric.amin(dim=1, keepdim=True)
    high = metric.amax(dim=1, keepdim=True)
    return (metric - low) / (high - low + 1e-8)
