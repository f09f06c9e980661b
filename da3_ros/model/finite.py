# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""NaN and infinity in what a network predicts: found before anything is computed from them."""

from da3_ros.errors import NonFiniteError
import torch
from torch import Tensor


def check_finite(**values: Tensor | None) -> None:
    """
    Refuse what is NaN or infinite, in no memory beside the values.

    Quantiles, medians and decompositions of such values fail in ways of their own, or give
    numbers that look like any other.

    :param values: by their names; None: the variant has none.
    :raises NonFiniteError: if any value is not finite.
    """
    for name, value in values.items():
        if value is None:
            continue
        # Both are NaN if any value is.
        extremes = torch.stack(torch.aminmax(value))
        if not bool(torch.isfinite(extremes).all()):
            # On the host: a full GPU has no room for the question.
            share = float((~torch.isfinite(value.cpu())).float().mean())
            raise NonFiniteError(f"{name}: {share:.1%} of the network's values are not finite")
