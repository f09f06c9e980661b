# Copyright 2026 The da3_ros authors
# SPDX-License-Identifier: Apache-2.0

"""Depth Anything 3 for robots: joint multi-view geometry as a ROS 2 node."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from da3_ros.inference import InferenceEngine


def load(
    name: str = 'da3-small', *, weights: str | Path | None = None, device: str | None = None,
    size: int = 504,
) -> 'InferenceEngine':
    """
    Load a network that infers images together; needs no ROS.

    :param name: of a variant, see ``model.MODELS``.
    :param weights: a file, a folder or a hub id; None: the published ones.
    :param device: of torch; None: the first GPU, or the CPU where there is none.
    :param size: the longer side of what the network sees [px].
    :raises WeightsError: if the weights cannot be had.
    :raises ValueError: if there is no such variant.
    """
    # Imported here: torch takes its time, and the node's command is there before it.
    from da3_ros.inference import InferenceEngine
    from da3_ros.model import build_network, load_weights, MODELS
    if name not in MODELS:
        raise ValueError(f'name: got {name!r}, expected one of {", ".join(MODELS)}')
    network = build_network(name, device='meta')
    load_weights(network, weights)
    return InferenceEngine(network, device=device, size=size)
