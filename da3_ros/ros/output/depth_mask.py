# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Which depth is published, and which is not to be believed."""

from da3_ros.ros.parameters.settings import DepthSettings
import numpy as np
from numpy.typing import NDArray


def mask_depth(
    depth: NDArray[np.float32], confidence: NDArray[np.float32] | None, settings: DepthSettings
) -> NDArray[np.float32]:
    """
    Mark what is not to be believed, as REP-118 says: NaN unknown, +Inf beyond range.

    :param depth: (H, W), NaN unknown, +Inf sky.
    :param confidence: (H, W), or None.
    :param settings: limits.
    """
    masked = depth.copy()
    if confidence is not None:
        masked[np.isfinite(depth) & (confidence < settings.min_confidence)] = np.nan
    masked[masked > settings.limit_m] = np.inf
    return masked
